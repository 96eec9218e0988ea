"""Contents of a single file according to its header, compared with the JSON files that describe it; without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from composer.checkpoints.foreign import describe_foreign_file
from composer.checkpoints.index import component_kind
from composer.checkpoints.single_file_keys import (
    PREFIX,
    UNET_INPUT,
    has_keys,
    kinds,
    known_size,
    model_type,
    tensor_size,
)
from composer.errors import ComposerError

#: Models that diffusers never loads from a single file.
_NEVER_IN_FILE = ("safety_checker",)
#: Kinds of CLIP text encoders; diffusers regards any of them as present.
_CLIP_KINDS = ("clip", "clip_sd3", "open_clip", "open_clip_sdxl", "open_clip_sdxl_refiner", "open_clip_sd3")
#: Kinds of which a file may hold two, which differ in width.
_CLIP_KINDS_BY_WIDTH = ("clip_sdxl", "clip_sd3", "open_clip_sdxl", "open_clip_sd3")
_T5_KEY = "text_encoders.t5xxl.transformer.shared.weight"
_OLD_CLIP_PREFIX = "cond_stage_model.transformer.embeddings."
_VAE_PREFIXES = ("first_stage_model.", "vae.", "decoder.conv_in.")
#: Denoiser → end of a key, axis of its tensor, the config setting that this size must equal, and what the size is.
_SHAPES = {
    "unet": (
        ("input_blocks.0.0.weight", 1, "in_channels", "input channels"),
        ("attn2.to_k.weight", 1, "cross_attention_dim", "channels of prompt_embeds"),
    ),
    "transformer": (
        ("img_in.weight", 1, "in_channels", "input channels"),
        ("x_embedder.proj.weight", 1, "in_channels", "input channels"),
        ("txt_in.weight", 1, "joint_attention_dim", "channels of prompt_embeds"),
        ("context_embedder.weight", 1, "joint_attention_dim", "channels of prompt_embeds"),
    ),
}
#: Component → pattern of a key in a file of this component alone, in diffusers' layout or its authors'.
_KEY_OF_COMPONENT = {
    "unet": r"^(input_blocks\.0\.0|conv_in)\.weight$",
    "transformer": r"(^|_)(blocks|layers)\.\d+\.",
    "text_encoder": r"^(shared|encoder\.embed_tokens)\.weight$",
    "clip": r"^(text_model\.)?embeddings\.position_embedding\.weight$",
    "vae": r"^(first_stage_model\.|vae\.)?decoder\.(conv_in|conv1|middle|mid_block|mid)\.",
}
#: Input channels of a UNet → kind of model.
_MODEL_BY_CHANNELS = {
    4: "a plain model",
    5: "a depth model",
    7: "an upscaler",
    8: "an edit model, InstructPix2Pix",
    9: "an inpainting model",
}


def single_file_kind(key: str, source: str, table: Mapping[str, Any]) -> str:
    """Return diffusers' name for the kind of a single file.

    Args:
        key: Config key that named the file, for errors.
        source: The key's value.
        table: Header of the file.

    Returns:
        A key of ``kinds()``, such as ``xl_base``.

    Raises:
        ComposerError: No family reads this kind of file; the message describes it.
    """
    kind = model_type(table)
    if kind is None or kind not in kinds():
        raise ComposerError(key, source, describe_foreign_file(table))
    return kind


def check_described(table: Mapping[str, Any], denoiser: str, config: Mapping[str, Any], where: str) -> None:
    """Refuse a file whose denoiser has other sizes than the JSON files describe.

    Args:
        table: Header of the file.
        denoiser: Component name of the denoiser, ``unet`` or ``transformer``.
        config: JSON settings of the denoiser.
        where: Directory of the JSON files, for the error.

    Raises:
        ComposerError: The sizes differ.
    """
    for end, axis, setting, words in _SHAPES.get(denoiser, ()):
        described, size = config.get(setting), _first_size(table, end, axis)
        if isinstance(described, int) and size is not None and size != described:
            known = setting == "in_channels" and denoiser == "unet" and size in _MODEL_BY_CHANNELS
            model = f" ({_MODEL_BY_CHANNELS[size]})" if known else ""
            sizes = f"describes a {denoiser} of {described} {words}, and the file's has {size}{model}"
            raise ComposerError("model.config", where, f"{sizes}: name json files of such a model")


def check_complete(
    name: str,
    table: Mapping[str, Any],
    classes: Mapping[str, str],
    configs: Mapping[str, Mapping[str, Any]],
    overridden: set[str],
) -> None:
    """Refuse a file that lacks a component which is to be loaded from it.

    Args:
        name: Name of the file.
        table: Header of the file.
        classes: Component name → class name, according to the JSON files.
        configs: Component name → JSON settings.
        overridden: Components that come from elsewhere, which the file may lack.

    Raises:
        ComposerError: A component is missing.
    """
    missing = [
        component
        for component in _models(classes)
        if component not in overridden and not _holds(table, component, classes[component], configs.get(component, {}))
    ]
    if not missing:
        return
    first, others = missing[0], f" (nor {', '.join(missing[1:])})" * (len(missing) > 1)
    if first.startswith("text_encoder") and any(key.startswith(_OLD_CLIP_PREFIX) for key in table):
        old = f"{_OLD_CLIP_PREFIX}…, without text_model"
        why = f"{name} names its keys in an old way ({old}), which diffusers does not read"
    else:
        why = f"{name} holds no {first}{others}"
    raise ComposerError(f"model.components.{first}", None, f"{why}: name one, model.components.{first}=FOLDER")


def check_component_file(
    key: str, source: str, name: str, table: Mapping[str, Any], cls: str, config: Mapping[str, Any]
) -> None:
    """Refuse a file of one component that holds another one, or one of another size.

    Args:
        key: Config key that named the file, for errors.
        source: The key's value.
        name: Name of the component.
        table: Header of the file.
        cls: Class of the replaced component.
        config: JSON settings of the replaced component.

    Raises:
        ComposerError: The file does not hold this component.
    """
    pattern = _KEY_OF_COMPONENT[_pattern_name(name, cls)]
    matching = next((tensor for tensor in table if re.search(pattern, tensor.removeprefix(PREFIX))), None)
    if matching is None:
        raise ComposerError(key, source, f"holds no {name}: it {describe_foreign_file(table)}")
    required, width = config.get("d_model", config.get("hidden_size")), tensor_size(table, matching, -1)
    if name.startswith("text_encoder") and required is not None and width != required:
        reason = f"has {width} hidden states, and the {name} that it replaces has {required}"
        raise ComposerError(key, source, reason)


def _pattern_name(name: str, cls: str) -> str:
    for component in _KEY_OF_COMPONENT:
        if name.startswith(component) and (component != "text_encoder" or cls.startswith("T5")):
            return component
    return "clip"


def _models(classes: Mapping[str, str]) -> Iterator[str]:
    """Yield the components that are models, text encoders last."""
    for name in sorted(classes, key=lambda name: (name.startswith("text_encoder"), name)):
        if name not in _NEVER_IN_FILE and component_kind(name, classes[name]) == "model":
            yield name


def _holds(table: Mapping[str, Any], name: str, cls: str, config: Mapping[str, Any]) -> bool:
    """Whether diffusers finds a component's weights in a file."""
    if name in ("unet", "transformer"):
        return True  # the kind of the file was detected by it
    if name == "vae":
        return any(key.startswith(_VAE_PREFIXES) for key in table)
    if cls.startswith("CLIPText") and any(has_keys(table, kind) for kind in _CLIP_KINDS):
        width = config.get("hidden_size")
        return any(
            has_keys(table, kind) and (kind not in _CLIP_KINDS_BY_WIDTH or known_size(table, kind) == width)
            for kind in (*_CLIP_KINDS, "clip_sdxl")
        )
    return _T5_KEY in table and cls.startswith("T5")


def _first_size(table: Mapping[str, Any], end: str, axis: int) -> int | None:
    """Return the size of the first tensor whose key has this end."""
    prefixes = (PREFIX, "") if UNET_INPUT not in table else (PREFIX,)
    exact = [f"{prefix}{end}" for prefix in prefixes if f"{prefix}{end}" in table]
    similar = (key for key in table if key.startswith(PREFIX) and key.endswith(f".{end}"))
    key = exact[0] if exact else next(similar, None)
    return None if key is None else tensor_size(table, key, axis)
