"""Pictures and how they were made → files; every file appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image

from composer import __version__
from composer.errors import ComposerError
from composer.files import write
from composer.installed import provider
from composer.metadata import SCHEMA, saving
from composer.precision import dtype_of
from composer.shipped import choice, scheduler_choice
from composer.spec import OutputSpec, Request, RunSpec
from composer.stamp import are_pictures, fingerprint, model_stamp
from composer.usage import peak_memory

if TYPE_CHECKING:
    from composer.callbacks.base import StepCallback
    from composer.check import Checked
    from composer.pipeline import Pipeline, Result

SUFFIXES = {"png": "png", "webp": "webp", "jpeg": "jpg"}
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate")
#: Of PNG: PIL's own, 6, takes three times as long and saves 4 % of the bytes.
COMPRESSION = 4


def record(checked: Checked, pipeline: Pipeline, result: Result) -> dict[str, Any]:
    """All that is needed to make the pictures again, as plain data."""
    request, checkpoint = checked.request, checked.checkpoint
    return {
        "schema": SCHEMA,
        "composer": __version__,
        "images": pictures_of(request),
        "height": result.image.height,
        "width": result.image.width,
        "steps": request.steps,
        "steps_left_out": request.skip,
        "iterations": result.iterations,
        "batches": list(result.batches),
        "together": result.together,
        "pixels": [hashlib.sha256(image.tobytes()).hexdigest() for image in result.images],
        "inputs": {key: [fingerprint(each) for each in value] for key, value in request.inputs.items() if are_pictures(value)},
        "guidance": {"class": type(pipeline.guidance).__name__, **vars(pipeline.guidance)},
        "scheduler": _plain(pipeline.scheduler),
        "model": {
            "source": checkpoint.source,
            "family": checkpoint.family,
            "commit": checkpoint.commit,
            "components": {name: component.origin for name, component in checkpoint.swapped.items()},
            "safety_checker": checkpoint.safety_checker,
            "refiner": _refiner(checked),
        },
        "callbacks": {name: _callback(name, callback, checked.spec) for name, callback in pipeline.callbacks.items()},
        "memory": _options(pipeline, "memory"),
        "accel": _options(pipeline, "accel"),
        "precision": checked.spec.precision.dtype,
        "dtype": str(pipeline.family.dtype).removeprefix("torch."),
        "dtypes": _dtypes(pipeline),
        "device": str(pipeline.device),
        "threads": _threads(),
        "stamp": hashlib.sha256(json.dumps(model_stamp(checkpoint)).encode()).hexdigest(),
        "options": dict(checked.spec.chosen),
        "choices": _choices(checked.spec),
        "seconds": round(result.seconds, 3),
        "peak_memory": peak_memory(),
        "notes": list(result.told),
        "versions": {**versions(), **_plugins(checked.spec)},
        "config": dict(checked.spec.config),
    }


def pictures_of(request: Request) -> list[dict[str, Any]]:
    """What differs between the pictures of a request."""
    each = zip(request.seeds, request.prompts, request.negative_prompts, strict=True)
    return [{"seed": seed, "prompt": prompt, "negative_prompt": negative} for seed, prompt, negative in each]


def _options(pipeline: Pipeline, group: str) -> dict[str, Any]:
    """Those that were on, whoever chose them."""
    return {option.name: dict(vars(option)) for option in pipeline.options.values() if option.group == group}


def _dtypes(pipeline: Pipeline) -> dict[str, str]:
    """What each model really computed with."""
    found = {name: dtype_of(model) for name, model in pipeline.family.modules.items()}
    return {name: str(dtype).removeprefix("torch.") for name, dtype in found.items() if dtype}


def _threads() -> int:
    """On a CPU they have a say in the order of sums."""
    import torch

    return torch.get_num_threads()


def _refiner(checked: Checked) -> dict[str, Any] | None:
    """The second checkpoint, if one finished the pictures, and the share of the schedule after which it began."""
    if checked.refiner is None:
        return None
    return {"source": checked.refiner.source, "commit": checked.refiner.commit, "start": checked.spec.model.refiner.start}


def _choices(spec: RunSpec) -> list[dict[str, Any]]:
    """The options that are classes, by what they are known as."""
    several = (*spec.callbacks.values(), *spec.memory.values(), *spec.accel.values())
    return [choice(spec.task), scheduler_choice(spec.scheduler), choice(spec.guidance), *map(choice, several)]


def _callback(name: str, callback: StepCallback, spec: RunSpec) -> dict[str, Any]:
    """Who wrote a callback, and what it was told."""
    cls, whose = type(callback), provider(type(callback).__module__)
    told = dict(spec.callbacks[name].keywords) if name in spec.callbacks else None  # None: given from Python
    found: dict[str, Any] = {"class": cls.__qualname__, "config": told}
    return found | ({"distribution": whose.distribution, "version": whose.version} if whose else {})


def _plugins(spec: RunSpec) -> dict[str, str]:
    """Versions of the plugins whose classes the run is made of."""
    targets = (spec.task, spec.scheduler.target, spec.guidance, *spec.callbacks.values())
    used = filter(None, (provider(target.path) for target in targets if target))
    return {plugin.distribution: plugin.version for plugin in used}


def save(result: Result, folder: Path) -> list[Path]:
    """Write 000.png, …, a grid when there are several, config.yaml, and last run.json, which says that all is there."""
    files = {**files_of(result), "run.json": json.dumps(result.record, indent=1, ensure_ascii=False).encode()}
    written: list[Path] = []
    try:
        for name, data in files.items():
            write(folder / name, data)
            written.append(folder / name)
    except OSError as error:
        for file in written:  # without a record nobody could tell what they are
            file.unlink(missing_ok=True)
        raise ComposerError("output.folder", folder, f"can't be written to: {error.strerror}") from None
    return [folder / name for name in picture_names(result)]


def files_of(result: Result) -> dict[str, bytes]:
    """Name → contents of all that a run leaves beside its record."""
    config = result.record.get("config", {})
    output = OutputSpec(**config.get("output", {}))
    numbers = result.numbers or range(len(result.images))
    files = {
        name: encoded(image, output, saving(result.record, number, output.format))
        for name, image, number in zip(picture_names(result), result.images, numbers)
    }
    if len(files) > 1:
        files[f"grid.{SUFFIXES[output.format]}"] = encoded(grid(result.images), output, saving(result.record, None, output.format))
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's is ten times faster
    return files | {"config.yaml": yaml.dump(_literal(config), Dumper=dumper, sort_keys=False, allow_unicode=True).encode()}


def picture_names(result: Result) -> list[str]:
    suffix = SUFFIXES[result.record.get("config", {}).get("output", {}).get("format", "png")]
    return [f"{i:03d}.{suffix}" for i in result.numbers or range(len(result.images))]


def encoded(image: Image.Image, output: OutputSpec, more: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """A picture in the chosen format. more: keywords for PIL's save."""
    options = dict(more)
    if output.format == "png":
        options |= {"compress_level": COMPRESSION}
    elif output.format == "jpeg":
        options |= {"quality": output.quality, "subsampling": 0}
    elif output.format == "webp":
        options |= {"lossless": True} if output.quality == 100 else {"quality": output.quality}
    buffer = io.BytesIO()
    image.save(buffer, output.format, **options)
    return buffer.getvalue()


def grid(images: list[Image.Image]) -> Image.Image:
    """Pictures row by row on the squarest sheet that holds them, two pixels apart."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = (max(side) for side in zip(*(image.size for image in images)))
    gap = 2
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * (width + gap), i // columns * (height + gap)))
    return sheet


@cache
def versions() -> Mapping[str, str]:
    """Of Python and of every library that has a say in the pixels."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A diffusers config without its private keys; JSON has no infinities, so they are words."""
    endless = (float("inf"), float("-inf"))
    return {key: str(value) if value in endless else value for key, value in config.items() if not key.startswith("_")}


def _literal(node: Any) -> Any:
    """Escape interpolations: this config is already resolved, and `${` in a prompt is text."""
    if isinstance(node, Mapping):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_literal(value) for value in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node
