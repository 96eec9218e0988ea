"""What a pipeline's `__call__` is given of a request: one table, from what composer calls it to what diffusers'
pipelines do.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from composer.callbacks.request import Request
from composer.checks.pipeline_class import takes
from composer.sampling.guidance import ClassifierFree, Distilled, Guidance, Unguided
from composer.system.signatures import keywords_of

#: Key of a request or of its guidance → names of diffusers' arguments; the first that a pipeline takes is meant.
TABLE: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "negative_prompt": ("negative_prompt",),
    "steps": ("num_inference_steps",),
    "height": ("height",),
    "width": ("width",),
    "image": ("image", "control_image"),
    "mask": ("mask_image",),
    "strength": ("strength",),
    "depth": ("depth_map", "control_image"),
    "guidance.scale": ("true_cfg_scale", "guidance_scale"),
    "guidance.embedded": ("distilled_guidance_scale", "embedded_guidance_scale", "guidance_scale"),
    "guidance.rescale": ("guidance_rescale",),
}


def name_of(key: str, pipeline: type) -> str | None:
    """What a pipeline class calls a key, None where it does not take it."""
    return next((name for name in TABLE[key] if takes(pipeline, name)), None)


def arguments(pipeline: type, request: Request, guidance: Guidance) -> dict[str, Any]:
    """What the pipeline's `__call__` is given, of all that a request holds."""
    negative = guidance.do_classifier_free_guidance or any(request.negative_prompts)
    given = {
        "prompt": list(request.prompts),
        **({"negative_prompt": [text or "" for text in request.negative_prompts]} if negative else {}),
        "steps": request.steps,
        "height": request.height,
        "width": request.width,
        **{key: _listed(value) for key, value in request.inputs.items() if key in TABLE and value is not None},
    }
    named = {name: value for key, value in given.items() if (name := name_of(key, pipeline))}
    more = {"batch_size": request.batch} if "batch_size" in keywords_of(pipeline.__call__) else {}
    return {**dict(scales(pipeline, guidance)), **named, **more}


def scales(pipeline: type, guidance: Guidance) -> Iterator[tuple[str, float]]:
    """Arguments for the scale, for that which a distilled model takes as an input, and for the rescaling."""
    scale, embedded = name_of("guidance.scale", pipeline), name_of("guidance.embedded", pipeline)
    if isinstance(guidance, Distilled):
        if embedded:
            yield embedded, guidance.embedded
        return
    if scale:
        yield scale, guidance.scale
    if embedded not in (None, scale) and (guidance.embedded != 1 or default_of(pipeline, embedded) is not None):
        yield embedded, guidance.embedded
    rescale = name_of("guidance.rescale", pipeline)
    if rescale and getattr(guidance, "rescale", 0):
        yield rescale, guidance.rescale


def default_of(pipeline: type, name: str) -> Any:
    """The default of one of a pipeline's arguments."""
    return inspect.signature(pipeline.__call__).parameters[name].default


def liked(name: str, embeds: bool) -> dict[str, Any]:
    """Steps and guidance scale by a pipeline class's own defaults.

    Args:
        name: of the class, which diffusers may not have. embeds: whether the model takes the scale as an input.
    """
    import diffusers

    pipeline = getattr(diffusers, name, None)
    if pipeline is None:
        return {"steps": 1, "guidance": 1.0}
    keys = {"steps": "steps", "guidance": "guidance.embedded" if embeds else "guidance.scale"}
    named = {key: name_of(entry, pipeline) for key, entry in keys.items()}
    found = {key: None if argument is None else default_of(pipeline, argument) for key, argument in named.items()}
    return {"steps": found["steps"] or 1, "guidance": 1.0 if found["guidance"] is None else found["guidance"]}


def max_length(pipeline: type) -> int | None:
    """How many tokens of a prompt a pipeline class reads; None where its tokenizer alone decides."""
    found = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    return found.default if found is not None and isinstance(found.default, int) else None


def plain(guidance: Guidance) -> bool:
    """Whether a pipeline can do this guidance by itself, by numbers that it is given."""
    return type(guidance) in (ClassifierFree, Distilled, Unguided)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
