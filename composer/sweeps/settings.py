"""Readers of the config nodes about several runs: ``sweep``, ``sheet``, ``ray`` and ``search``."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig

from composer.config.read import build_spec, mapping, plain
from composer.errors import ComposerError
from composer.sweeps.spec import RaySpec, SearchSpec, SheetSpec, SweepSpec

NO_REFERENCE = 'needs an image to compare with: search.reference=FILE, or search.reference="steps=50"'
FOLDER_NAME = re.compile(r"\w[\w.-]{0,79}")


def read_sweep(config: DictConfig) -> tuple[SweepSpec, SheetSpec]:
    """Read the nodes ``sweep`` and ``sheet``.

    Args:
        config: Composed config.

    Returns:
        Settings of the sweep, and axes of its sheet.

    Raises:
        ComposerError: A key is unknown or a value is invalid.
    """
    node = _node(config, "sweep")
    name = node.get("name")
    changes = {"zip": tuple(node.get("zip") or ()), "name": str(name) if type(name) in (int, float) else name}
    spec = build_spec("sweep", SweepSpec, {**node, **changes})
    if spec.name is not None and not FOLDER_NAME.fullmatch(spec.name):
        reason = "must be letters, digits, dots, dashes and underscores: it names a folder"
        raise ComposerError("sweep.name", spec.name, reason)
    return spec, build_spec("sheet", SheetSpec, _node(config, "sheet"))


def read_ray(config: DictConfig) -> RaySpec:
    """Read the node ``ray``.

    Args:
        config: Composed config.

    Returns:
        Settings of ``hydra/launcher=ray``.

    Raises:
        ComposerError: A key is unknown or a value is invalid.
    """
    return build_spec("ray", RaySpec, _node(config, "ray"))


def read_search(config: DictConfig) -> SearchSpec:
    """Read the node ``search``.

    Args:
        config: Composed config.

    Returns:
        Settings of ``hydra/sweeper=optuna``.

    Raises:
        ComposerError: A key is unknown, a value is invalid, or `search.within` has no reference.
    """
    spec = build_spec("search", SearchSpec, _node(config, "search"))
    if not spec.metrics or len(set(spec.metrics)) < len(spec.metrics):
        raise ComposerError("search.metric", spec.metric, "must name at least one metric, and each once")
    if spec.reference is None and spec.within is not None:
        raise ComposerError("search.within", spec.within, NO_REFERENCE)
    return spec


def _node(config: DictConfig, name: str) -> dict[str, Any]:
    """One node as plain data."""
    return mapping(name, plain(config).get(name))
