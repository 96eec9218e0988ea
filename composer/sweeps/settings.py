"""Readers of the config nodes about several runs: ``sweep``, ``sheet``, ``ray`` and ``search``."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig

from composer.config.read import known, mapping, one_of, plain
from composer.errors import ComposerError
from composer.sweeps.spec import RaySpec, SearchSpec, SheetSpec, SweepSpec

FOLDER_NAME = re.compile(r"\w[\w.-]{0,79}")
METRICS = ("seconds", "peak_memory", "distance")


def read_sweep(config: DictConfig) -> tuple[SweepSpec, SheetSpec]:
    """Read the nodes ``sweep`` and ``sheet``.

    Args:
        config: Composed config.

    Returns:
        Settings of the sweep, and axes of its sheet.

    Raises:
        ComposerError: A key is unknown or a value is invalid.
    """
    node = _node(config, "sweep", SweepSpec)
    sheet = _node(config, "sheet", SheetSpec)
    spec = SweepSpec(**{**node, "zip": tuple(node.get("zip") or ())})
    for name in ("fresh", "fail_fast", "dry_run"):
        one_of(f"sweep.{name}", getattr(spec, name), (True, False))
    one_of("sweep.on_invalid", spec.on_invalid, ("error", "skip"))
    for name in ("limit", "shuffle"):
        if getattr(spec, name) is not None:
            _require_integer(f"sweep.{name}", getattr(spec, name), minimum=int(name == "limit"))
    _require_integer("sweep.retries", spec.retries, minimum=0)
    if spec.batch != "auto":
        _require_integer("sweep.batch", spec.batch, minimum=1, alternative=", or auto")
    if spec.name is not None and not FOLDER_NAME.fullmatch(str(spec.name)):
        reason = "must be letters, digits, dots, dashes and underscores: it names a folder"
        raise ComposerError("sweep.name", spec.name, reason)
    return spec, SheetSpec(**sheet)


def read_ray(config: DictConfig) -> RaySpec:
    """Read the node ``ray``.

    Args:
        config: Composed config.

    Returns:
        Settings of ``hydra/launcher=ray``.

    Raises:
        ComposerError: A key is unknown or a value is invalid.
    """
    spec = RaySpec(**_node(config, "ray", RaySpec))
    if spec.workers is not None:
        _require_integer("ray.workers", spec.workers, minimum=1)
    if isinstance(spec.num_cpus, bool) or not isinstance(spec.num_cpus, (int, float)) or spec.num_cpus <= 0:
        raise ComposerError("ray.num_cpus", spec.num_cpus, "must be a number above 0")
    return spec


def read_search(config: DictConfig) -> SearchSpec:
    """Read the node ``search``.

    Args:
        config: Composed config.

    Returns:
        Settings of ``hydra/sweeper=optuna``.

    Raises:
        ComposerError: A key is unknown, a value is invalid, or a distance is requested without a reference.
    """
    spec = SearchSpec(**_node(config, "search", SearchSpec))
    one_of("search.metric", spec.metric, METRICS)
    _require_integer("search.trials", spec.trials, minimum=1)
    _require_integer("search.seed", spec.seed, minimum=0)
    _require_finite_or_null("search.within", spec.within)
    _require_finite_or_null("search.timeout", spec.timeout)
    if spec.reference is None and (spec.within is not None or spec.metric == "distance"):
        key, value = ("within", spec.within) if spec.within is not None else ("metric", spec.metric)
        reason = 'needs an image to compare with: search.reference=FILE, or search.reference="steps=50"'
        raise ComposerError(f"search.{key}", value, reason)
    return spec


def _node(config: DictConfig, name: str, spec: type[SweepSpec | SheetSpec | RaySpec | SearchSpec]) -> dict[str, Any]:
    """One node as plain data, with no other keys than the spec has."""
    node = mapping(name, plain(config).get(name))
    known(name, node, [field.name for field in fields(spec)])
    return node


def _require_integer(key: str, value: object, minimum: int, alternative: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ComposerError(key, value, f"must be an integer, {minimum} or more{alternative}")


def _require_finite_or_null(key: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ComposerError(key, value, "must be a number, 0 or more, or null")
