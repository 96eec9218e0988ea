"""Tasks that a checkpoint's diffusers pipeline can do: its own class, or a sibling class with the same components.

Siblings are those of diffusers' auto pipelines, and classes of the same name with another word for the task.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import OPTIONAL_COMPONENTS, Checkpoint
from composer.checks.modular_blocks import workflows_of
from composer.checks.pipeline_arguments import name_of
from composer.checks.pipeline_class import output_kind, required_arguments
from composer.system.signatures import keywords_of

#: Kinds of tasks, in the order in which they are listed.
KINDS = (
    "text2img", "img2img", "inpaint", "edit", "control", "text2video", "image2video", "text2audio", "unconditional",
    "other",
)  # fmt: skip
#: Classes that can't run in diffusers 0.42: Chroma's transformer has no `guidance_embeds`, which this one reads.
BROKEN = ("ChromaInpaintPipeline",)
#: Words in names of classes that differ between siblings.
_WORDS = ("Img2Img", "Inpainting", "Inpaint", "ImageToVideo")
#: Stems of video classes whose variant for an image has the same weights; others have more input channels, such as
#: Wan's.
_SHARED_VIDEO_WEIGHTS = ("LTX", "LTX2")
#: Siblings whose names do not show it.
_OTHER_NAMES = {"SanaVideoPipeline": ("SanaImageToVideoPipeline",), "SanaImageToVideoPipeline": ("SanaVideoPipeline",)}
#: Words in names of classes whose `image` is a control image.
_CONTROL = ("Control", "Adapter")
#: Words in names of classes whose `image` is neither edited nor started from.
_OTHER_INPUT = (
    "Upscale",
    "SuperResolution",
    "Variation",
    "PaintByExample",
    "Depth",
    "UnCLIP",
    "Refiner",
    "ShapE",
    "Redux",
)


def tasks_of_pipeline(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Find the pipeline classes that do tasks with the components of a checkpoint.

    Args:
        checkpoint: A checkpoint of no native family.

    Returns:
        Kind of task → diffusers pipeline class; the checkpoint's own class comes first.
    """
    classes: dict[str, Any] = {}
    for pipeline in pipeline_classes(checkpoint):
        for kind in kinds_of(pipeline):
            classes.setdefault(kind, pipeline)
    return {kind: classes[kind] for kind in KINDS if kind in classes}


@cache
def kinds_of(pipeline: Any) -> frozenset[str]:
    """Return the kinds of tasks that a pipeline class does.

    Args:
        pipeline: diffusers pipeline class.
    """
    makes, required = output_kind(pipeline), required_arguments(pipeline)
    takes = {
        key: name_of(key, pipeline) for key in ("prompt", "image", "references", "mask", "strength", "control_image")
    }
    if makes == "image":
        kinds = frozenset(_image_kinds(pipeline, takes, required))
        return kinds or frozenset(["other"] * (takes["image"] is not None and not _is_control(pipeline)))
    free = not required - {"prompt"} and takes["prompt"]
    if makes == "clip":
        from_image = takes["image"] and not required - {"prompt", "image"} and not _is_control(pipeline)
        return frozenset([*["text2video"] * bool(free), *["image2video"] * bool(from_image)])
    return frozenset(["text2audio"] if makes == "sound" and free else [])


def _image_kinds(pipeline: Any, takes: Mapping[str, str | None], required: frozenset[str]) -> Iterator[str]:
    name, image = pipeline.__name__, takes["image"]
    prompt, mask, strength = takes["prompt"], takes["mask"], takes["strength"]
    if not required - {"prompt"}:
        yield "text2img" if prompt else "unconditional"
    if "control_image" in keywords_of(pipeline.__call__) or (image and _is_control(pipeline)):
        if not mask and not strength and "Inpaint" not in name:
            yield "control"
    elif image and mask:
        yield "inpaint"
    elif image and strength:
        yield "img2img"
    elif takes["references"] and prompt and not mask and not any(word in name for word in _OTHER_INPUT):
        yield "edit"


def _is_control(pipeline: Any) -> bool:
    return any(word in pipeline.__name__ for word in _CONTROL)


def pipeline_classes(checkpoint: Checkpoint) -> Iterator[Any]:
    """Yield the class of a checkpoint, and siblings for which its components suffice.

    Args:
        checkpoint: A checkpoint of no native family.

    Yields:
        diffusers pipeline classes; none if the installed diffusers does not have the checkpoint's.
    """
    import diffusers
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    if checkpoint.blocks:
        yield from workflows_of(checkpoint)
        return
    others = () if _takes_mask(checkpoint) else sibling_names(checkpoint.pipeline)
    for name in dict.fromkeys((checkpoint.pipeline, *others)):
        pipeline = getattr(diffusers, name, None)
        is_pipeline = isinstance(pipeline, type) and issubclass(pipeline, DiffusionPipeline)
        if is_pipeline and (name == checkpoint.pipeline or not _missing(pipeline, checkpoint)):
            yield pipeline


def _takes_mask(checkpoint: Checkpoint) -> bool:
    """Whether the weights were made for inpainting, and have input channels that no other class fills."""
    is_inpainting = "Inpaint" in checkpoint.pipeline
    return is_inpainting and ("controlnet" in checkpoint.classes or checkpoint.denoiser.get("in_channels") == 9)


def _missing(pipeline: Any, checkpoint: Checkpoint) -> frozenset[str]:
    """Components that a class needs and a checkpoint does not have."""
    from composer.compat.attributes import component_names

    required, optional = component_names(pipeline) or (frozenset(), frozenset())
    return required - optional - {*OPTIONAL_COMPONENTS, "safety_checker", *checkpoint.classes}


def sibling_names(name: str) -> tuple[str, ...]:
    """Return the names of pipeline classes that do other tasks with the same components.

    Args:
        name: Name of a diffusers pipeline class.
    """
    known, stem = _class_names(), re.sub("|".join(_WORDS), "", name.removesuffix("Pipeline"))
    words = [word for word in ("", *_WORDS) if word != "ImageToVideo" or stem in _SHARED_VIDEO_WEIGHTS]
    alike = [f"{stem}{word}Pipeline" for word in words] if _is_shared(name, stem) else []
    same_key = [other for keyed in _auto_tables() if name in keyed for other in keyed]
    candidates = dict.fromkeys((*same_key, *alike, *_OTHER_NAMES.get(name, ())))
    return tuple(other for other in candidates if other in known and other not in (name, *BROKEN))


def _is_shared(name: str, stem: str) -> bool:
    return "ImageToVideo" not in name or stem in _SHARED_VIDEO_WEIGHTS


@cache
def _auto_tables() -> tuple[tuple[str, ...], ...]:
    """Read diffusers' tables of auto pipelines: classes that share a key there, whatever they do."""
    keyed: dict[str, dict[str, None]] = {}
    for node in ast.walk(ast.parse(_diffusers_source("pipelines/auto_pipeline.py"))):
        if not (isinstance(node, ast.Tuple) and len(node.elts) == 2):
            continue
        if isinstance(key := node.elts[0], ast.Constant) and isinstance(cls := node.elts[1], ast.Name):
            keyed.setdefault(str(key.value), {})[cls.id] = None
    return tuple(map(tuple, keyed.values()))


@cache
def _class_names() -> frozenset[str]:
    return frozenset(re.findall(r'"(\w+Pipeline)"', _diffusers_source("__init__.py")))


def _diffusers_source(path: str) -> str:
    spec = find_spec("diffusers")
    return (Path(spec.origin).parent / path).read_text("utf-8") if spec and spec.origin else ""
