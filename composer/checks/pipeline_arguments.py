"""Arguments of a pipeline's ``__call__`` for a request: a table from composer's names to those of diffusers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from composer.callbacks.request import Request
from composer.checks.pipeline_class import output_kind, read_call, takes
from composer.sampling.guidance import ClassifierFree, Distilled, Guidance, Unguided
from composer.system.signatures import keywords_of
from composer.tasks.base import ARGUMENTS

#: Key of a request or its guidance → names of diffusers' arguments, of which the first that a pipeline has is used.
TABLE: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "negative_prompt": ("negative_prompt",),
    "steps": ("num_inference_steps",),
    "height": ("height",),
    "width": ("width",),
    "image": ("image",),
    "references": ("image", "images", "input_images", "reference_images"),
    "control_image": ("control_image", "image"),
    "last_image": ("last_image",),
    "control_scale": ("controlnet_conditioning_scale", "adapter_conditioning_scale"),
    "mask": ("mask_image",),
    "strength": ("strength",),
    "depth": ("depth_map", "control_image"),
    "frames": ("num_frames", "frames", "video_length"),
    "fps": ("frame_rate", "fps"),
    "seconds": ("audio_length_in_s", "audio_end_in_s", "audio_duration", "audio_duration_s", "duration"),
    "guidance.scale": ("true_cfg_scale", "guidance_scale"),
    "guidance.embedded": ("distilled_guidance_scale", "embedded_guidance_scale", "guidance_scale"),
    "guidance.rescale": ("guidance_rescale",),
}
#: Argument of pipelines that scale height and width to this number of pixels: FLUX.1 Kontext's.
AREA = "max_area"


def name_of(key: str, pipeline: Any) -> str | None:
    """Return the name of a pipeline class's argument for a key.

    Args:
        key: A key of ``TABLE``.
        pipeline: diffusers pipeline class.

    Returns:
        The name; None if the pipeline has no such argument.
    """
    return next((name for name in TABLE[key] if takes(pipeline, name)), None)


def arguments(pipeline: Any, request: Request, guidance: Guidance) -> dict[str, Any]:
    """Return the arguments of a pipeline's ``__call__`` for a request.

    Args:
        pipeline: diffusers pipeline class.
        request: The request.
        guidance: The guidance, for scales and whether a negative prompt is passed.

    Returns:
        Name → value, of those that the pipeline takes.
    """
    given = {
        **_texts(pipeline, request, guidance),
        "steps": request.steps,
        **{side: getattr(request, side) for side in request.sides},
        **{
            key: _passed(key, value, pipeline)
            for key, value in request.inputs.items()
            if key in TABLE and value is not None
        },
    }
    named = {name: value for key, value in given.items() if (name := name_of(key, pipeline))}
    return {
        **dict(scales(pipeline, guidance)),
        **named,
        **_more(pipeline, request),
        **request.inputs.get(ARGUMENTS, {}),
    }


def _texts(pipeline: Any, request: Request, guidance: Guidance) -> dict[str, Any]:
    """The prompts and negative prompts; the texts themselves for a pipeline that takes no list."""
    texts = {"prompt": list(request.prompts), "negative_prompt": _negative(pipeline, request, guidance)}
    one = read_call(pipeline).takes_text
    return {key: values[0] if one else values for key, values in texts.items() if values}


def _negative(pipeline: Any, request: Request, guidance: Guidance) -> list[str]:
    """The negative prompts; none where nothing was typed and the pipeline guides by what it has for that: by zeros, as
    SDXL and Stable Audio do, or by a text of its own.
    """
    texts = request.negative_prompts
    is_typed = any(text is not None for text in texts) or read_call(pipeline).needs_negative
    passed = any(texts) or (is_typed and guidance.do_classifier_free_guidance)
    return [text or "" for text in texts] if passed else []


def _more(pipeline: Any, request: Request) -> dict[str, Any]:
    """Arguments that follow from several keys."""
    known = keywords_of(pipeline.__call__)
    batch = {"batch_size": request.batch} if "batch_size" in known else {}
    sized = AREA in known and set(request.sides) == {"height", "width"}
    return batch | ({AREA: request.height * request.width} if sized else {})


def _passed(key: str, value: Any, pipeline: Any) -> Any:
    """The value of an input as the pipeline takes it, in a list of its own: some pipelines change the lists they
    get.
    """
    name = name_of(key, pipeline)
    if key == "references" and name == "input_images":  # OmniGen's: a list for each prompt
        return [list(references) for references in value]
    if key == "references":
        return list(value[0]) if name in read_call(pipeline).references or len(value[0]) > 1 else value[0][0]
    if key in ("image", "last_image") and output_kind(pipeline) == "clip":  # one at a time: not all take a list
        return value[0]
    return list(value) if isinstance(value, tuple) else value


def scales(pipeline: Any, guidance: Guidance) -> Iterator[tuple[str, float]]:
    """Yield the arguments for the guidance scale, the scale that a distilled model takes as input, and the rescaling.

    Args:
        pipeline: diffusers pipeline class.
        guidance: The guidance.

    Yields:
        Name and value of each argument.
    """
    scale, embedded = name_of("guidance.scale", pipeline), name_of("guidance.embedded", pipeline)
    if isinstance(guidance, Distilled):
        if embedded:
            yield embedded, guidance.embedded
        return
    if scale:
        yield scale, guidance.scale
    has_own_scale = embedded is not None and embedded != scale
    if (
        embedded is not None
        and has_own_scale
        and (guidance.embedded != 1 or default_of(pipeline, embedded) is not None)
    ):
        yield embedded, guidance.embedded
    rescale = name_of("guidance.rescale", pipeline)
    if rescale and (factor := getattr(guidance, "rescale", 0)):
        yield rescale, factor


def default_of(pipeline: Any, name: str) -> Any:
    """Return the default of an argument of a pipeline class.

    Args:
        pipeline: diffusers pipeline class.
        name: Name of the argument.
    """
    return inspect.signature(pipeline.__call__).parameters[name].default


def default_settings(name: str, embeds_scale: bool) -> dict[str, Any]:
    """Return the default steps and guidance scale of a pipeline class.

    Args:
        name: Name of the class, which diffusers may not have.
        embeds_scale: Whether the model takes the guidance scale as an input.

    Returns:
        ``steps`` and ``guidance``.
    """
    import diffusers

    pipeline = getattr(diffusers, name, None)
    if pipeline is None:
        return {"steps": 1, "guidance": 1.0}
    keys = {"steps": "steps", "guidance": "guidance.embedded" if embeds_scale else "guidance.scale"}
    names = {key: name_of(entry, pipeline) for key, entry in keys.items()}
    values = {key: None if argument is None else default_of(pipeline, argument) for key, argument in names.items()}
    return {"steps": values["steps"] or 1, "guidance": 1.0 if values["guidance"] is None else values["guidance"]}


def max_length(pipeline: Any) -> int | None:
    """Return the number of tokens of a prompt that a pipeline class reads.

    Args:
        pipeline: diffusers pipeline class.

    Returns:
        Number of tokens; None if its tokenizer alone limits it.
    """
    parameter = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    return parameter.default if parameter is not None and isinstance(parameter.default, int) else None


def plain(guidance: Guidance) -> bool:
    """Whether a pipeline can apply a guidance itself, from scales.

    Args:
        guidance: The guidance.
    """
    return type(guidance) in (ClassifierFree, Distilled, Unguided)
