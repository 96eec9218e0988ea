"""The nodes of a config that are about several runs: sweep, sheet, ray and search."""

from __future__ import annotations

import re
from dataclasses import fields

from omegaconf import DictConfig

from composer.config.read import known, mapping, one_of, plain
from composer.errors import ComposerError
from composer.sweeps.spec import RaySpec, SearchSpec, SheetSpec, SweepSpec

FOLDER = re.compile(r"\w[\w.-]{0,79}")
METRICS = ("seconds", "peak_memory", "distance")


def read_sweep(config: DictConfig) -> tuple[SweepSpec, SheetSpec]:
    """The nodes that say how a multirun goes about its jobs."""
    tree = plain(config)
    sweep, sheet = (mapping(node, tree.get(node)) for node in ("sweep", "sheet"))
    known("sweep", sweep, [f.name for f in fields(SweepSpec)])
    known("sheet", sheet, [f.name for f in fields(SheetSpec)])
    spec = SweepSpec(**sweep | {"zip": tuple(sweep.get("zip") or ())})
    for name in ("fresh", "fail_fast", "dry_run"):
        one_of(f"sweep.{name}", getattr(spec, name), (True, False))
    one_of("sweep.on_invalid", spec.on_invalid, ("error", "skip"))
    for name, least in {"limit": 1, "shuffle": 0, "retries": 0, "batch": 1}.items():
        value = getattr(spec, name)
        if (
            value is not None
            and value != "auto"
            and (isinstance(value, bool) or not isinstance(value, int) or value < least)
        ):
            raise ComposerError(
                f"sweep.{name}", value, f"must be a whole number, {least} or more{', or auto' * (name == 'batch')}"
            )
    if spec.name is not None and not FOLDER.fullmatch(str(spec.name)):
        raise ComposerError(
            "sweep.name", spec.name, "must be letters, digits, dots, dashes and underscores: it is a folder's name"
        )
    return spec, SheetSpec(**sheet)


def read_ray(config: DictConfig) -> RaySpec:
    """The node that says where hydra/launcher=ray runs."""
    node = mapping("ray", plain(config).get("ray"))
    known("ray", node, [f.name for f in fields(RaySpec)])
    spec = RaySpec(**node)
    if spec.workers is not None and (
        isinstance(spec.workers, bool) or not isinstance(spec.workers, int) or spec.workers < 1
    ):
        raise ComposerError("ray.workers", spec.workers, "must be a whole number, 1 or more")
    if isinstance(spec.num_cpus, bool) or not isinstance(spec.num_cpus, (int, float)) or spec.num_cpus <= 0:
        raise ComposerError("ray.num_cpus", spec.num_cpus, "must be a number above 0")
    return spec


def read_search(config: DictConfig) -> SearchSpec:
    """The node that says what hydra/sweeper=optuna looks for."""
    node = mapping("search", plain(config).get("search"))
    known("search", node, [f.name for f in fields(SearchSpec)])
    spec = SearchSpec(**node)
    one_of("search.metric", spec.metric, METRICS)
    for name, least in {"trials": 1, "seed": 0}.items():
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ComposerError(f"search.{name}", value, f"must be a whole number, {least} or more")
    for name in ("within", "timeout"):
        value = getattr(spec, name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf")
        ):
            raise ComposerError(f"search.{name}", value, "must be a number, 0 or more, or null")
    if spec.reference is None and (spec.within is not None or spec.metric == "distance"):
        key, value = ("within", spec.within) if spec.within is not None else ("metric", spec.metric)
        reason = 'needs an image to compare with: search.reference=FILE, or search.reference="steps=50"'
        raise ComposerError(f"search.{key}", value, reason)
    return spec
