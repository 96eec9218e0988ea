"""Records of how images were generated, as plain data that suffices to generate them again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol

from composer.callbacks.request import Request
from composer.checkpoints.fingerprints import are_images, checkpoint_fingerprint, image_fingerprint
from composer.config.choices import choice, scheduler_choice
from composer.config.plugins import provider
from composer.config.spec import RunSpec
from composer.loading.precision import dtype_of
from composer.media.medium import digest, facts
from composer.records.metadata import SCHEMA
from composer.system.memory import peak_memory
from composer.system.processor import processor_name
from composer.version import __version__

if TYPE_CHECKING:
    from composer.callbacks.base import StepCallback
    from composer.checks.compatibility import Checked
    from composer.records.result import Result

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate")


class Composed(Protocol):
    """The attributes of a pipeline that a record reads."""

    @property
    def family(self) -> Any: ...
    @property
    def guidance(self) -> Any: ...
    @property
    def scheduler(self) -> Mapping[str, Any]: ...
    @property
    def callbacks(self) -> Mapping[str, StepCallback]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def device(self) -> Any: ...


def record(checked: Checked, pipeline: Composed, result: Result) -> dict[str, Any]:
    """Describe a run as plain data that suffices to generate its images again.

    Args:
        checked: The checked settings.
        pipeline: The pipeline that ran.
        result: Its result.

    Returns:
        The content of ``run.json``.
    """
    request, checkpoint = checked.request, checked.checkpoint
    return {
        "schema": SCHEMA,
        "composer": __version__,
        "images": image_entries(request),
        **_size(result),
        "steps": request.steps,
        "steps_left_out": request.steps_skipped,
        "iterations": result.iterations,
        "batches": list(result.batches),
        "together": result.together,
        "pixels": [digest(medium) for medium in result.media],
        "inputs": {
            key: [image_fingerprint(image) for image in value]
            for key, value in request.inputs.items()
            if are_images(value)
        },
        "guidance": {"class": type(pipeline.guidance).__name__, **vars(pipeline.guidance)},
        "scheduler": _plain(pipeline.scheduler),
        "engine": checkpoint.engine,
        "findings": result.findings,
        "model": {
            "source": checkpoint.source,
            "family": checkpoint.family,
            "commit": checkpoint.commit,
            "components": {name: component.origin for name, component in checkpoint.component_overrides.items()},
            "safety_checker": checkpoint.safety_checker,
            "refiner": _refiner(checked),
        },
        "callbacks": {name: _callback(name, callback, checked.spec) for name, callback in pipeline.callbacks.items()},
        "lora": pipeline.options["lora.lora"].describe() if "lora.lora" in pipeline.options else {},
        **_adapters(pipeline, "embedding", "ip_adapter", "control"),
        "memory": _options(pipeline, "memory"),
        "accel": _options(pipeline, "accel"),
        "precision": checked.spec.precision.dtype,
        "dtype": str(pipeline.family.dtype).removeprefix("torch."),
        "dtypes": _dtypes(pipeline),
        "device": str(pipeline.device),
        "threads": _threads(),
        "processor": processor_name(pipeline.device),
        "stamp": hashlib.sha256(json.dumps(checkpoint_fingerprint(checkpoint)).encode()).hexdigest(),
        "options": dict(checked.spec.options),
        "choices": _choices(checked.spec),
        "seconds": round(result.seconds, 3),
        "peak_memory": peak_memory(),
        "notes": list(result.notes),
        "versions": {**versions(), **_plugins(checked.spec)},
        "config": dict(checked.spec.config),
    }


def _adapters(pipeline: Composed, *kinds: str) -> dict[str, Any]:
    """What a run had of kinds of adapters, without those that it had none of."""
    options = {kind: pipeline.options.get(f"{kind}.{kind}") for kind in kinds}
    return {kind: option.describe() for kind, option in options.items() if option is not None}


def _size(result: Result) -> dict[str, Any]:
    """Height and width in pixels, None for sounds; and what clips and sounds have besides: rates and durations."""
    described = [facts(medium) for medium in result.media]
    size = {side: described[0].get(side) for side in ("height", "width")}
    return size if result.kind == "image" else size | {"media": described}


def image_entries(request: Request) -> list[dict[str, Any]]:
    """Return what differs between the images of a request.

    Args:
        request: The request.

    Returns:
        Seed, prompt and negative prompt of each image.
    """
    images = zip(request.seeds, request.prompts, request.negative_prompts, strict=True)
    return [{"seed": seed, "prompt": prompt, "negative_prompt": negative} for seed, prompt, negative in images]


def _options(pipeline: Composed, group: str) -> dict[str, Any]:
    """Return the active options of a group with their settings, including those that another option chose."""
    return {option.name: dict(vars(option)) for option in pipeline.options.values() if option.group == group}


def _dtypes(pipeline: Composed) -> dict[str, str]:
    """Return the dtype that each model computed in."""
    dtypes = {name: dtype_of(model) for name, model in pipeline.family.modules.items()}
    return {name: str(dtype).removeprefix("torch.") for name, dtype in dtypes.items() if dtype}


def _threads() -> int:
    """Return the number of threads, which affects the order of additions on a CPU."""
    import torch

    return torch.get_num_threads()


def _refiner(checked: Checked) -> dict[str, Any] | None:
    """Describe the refiner and the part of the schedule after which it began."""
    refiner = checked.spec.model.refiner
    if checked.refiner is None or refiner is None:
        return None
    return {
        "source": checked.refiner.source,
        "commit": checked.refiner.commit,
        "start": refiner.start,
    }


def _choices(spec: RunSpec) -> list[dict[str, Any]]:
    """Describe the options that are classes."""
    several = (*spec.callbacks.values(), *spec.memory.values(), *spec.accel.values(), *spec.metrics.values())
    return [choice(spec.task), scheduler_choice(spec.scheduler), choice(spec.guidance), *map(choice, several)]


def _callback(name: str, callback: StepCallback, spec: RunSpec) -> dict[str, Any]:
    """Describe a callback: its class, its settings, and the plugin that provides it."""
    cls, whose = type(callback), provider(type(callback).__module__)
    settings = dict(spec.callbacks[name].keywords) if name in spec.callbacks else None  # None: given from Python
    described: dict[str, Any] = {"class": cls.__qualname__, "config": settings}
    return described | ({"distribution": whose.distribution, "version": whose.version} if whose else {})


def _plugins(spec: RunSpec) -> dict[str, str]:
    """Return the versions of plugins whose classes took part."""
    targets = (spec.task, spec.scheduler.target, spec.guidance, *spec.callbacks.values(), *spec.metrics.values())
    used = filter(None, (provider(target.path) for target in targets if target))
    return {plugin.distribution: plugin.version for plugin in used}


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of Python and of the libraries that affect the pixels.

    Returns:
        Name → version, ``unknown`` for one that is not installed.
    """
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "unknown"
    return installed


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a diffusers config without private keys; infinities become words, since JSON has none."""
    endless = (float("inf"), float("-inf"))
    return {key: str(value) if value in endless else value for key, value in config.items() if not key.startswith("_")}
