"""What a single file holds and lacks, from its header, held against the json files that describe it. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from composer.checkpoints.foreign import what_is
from composer.checkpoints.index import kind_of as component_kind
from composer.checkpoints.single_file_keys import PREFIX, UNET, has, kinds, model_type, size, width
from composer.errors import ComposerError

#: Models that diffusers never takes from a single file.
_NEVER = ("safety_checker",)
#: Keys of CLIP text encoders by which diffusers takes one for present, whichever it is.
_CLIPS = ("clip", "clip_sd3", "open_clip", "open_clip_sdxl", "open_clip_sdxl_refiner", "open_clip_sd3")
#: Those of which there may be two in a file, told apart by how wide they are.
_BY_WIDTH = ("clip_sdxl", "clip_sd3", "open_clip_sdxl", "open_clip_sd3")
_T5 = "text_encoders.t5xxl.transformer.shared.weight"
_OLD_CLIP = "cond_stage_model.transformer.embeddings."
_VAE = ("first_stage_model.", "vae.", "decoder.conv_in.")
#: By denoiser: the end of a key, an axis of its tensor, the setting of the config that it shows, and what that is.
_SHAPES = {
    "unet": (
        ("input_blocks.0.0.weight", 1, "in_channels", "input channels"),
        ("attn2.to_k.weight", 1, "cross_attention_dim", "numbers to a token of the prompt"),
    ),
    "transformer": (
        ("img_in.weight", 1, "in_channels", "input channels"),
        ("x_embedder.proj.weight", 1, "in_channels", "input channels"),
        ("txt_in.weight", 1, "joint_attention_dim", "numbers to a token of the prompt"),
        ("context_embedder.weight", 1, "joint_attention_dim", "numbers to a token of the prompt"),
    ),
}
#: Component → what some key of a file that holds it looks like, in the layout of diffusers or of its authors.
_ALONE = {
    "unet": r"^(input_blocks\.0\.0|conv_in)\.weight$",
    "transformer": r"(^|_)(blocks|layers)\.\d+\.",
    "text_encoder": r"^(shared|encoder\.embed_tokens)\.weight$",
    "clip": r"^(text_model\.)?embeddings\.position_embedding\.weight$",
    "vae": r"^(first_stage_model\.|vae\.)?decoder\.(conv_in|conv1|middle|mid_block|mid)\.",
}
#: Input channels of a UNet → what it is.
_ROLES = {
    4: "a plain model",
    5: "a depth model",
    7: "an upscaler",
    8: "an edit model, InstructPix2Pix",
    9: "an inpainting model",
}


def kind_of(key: str, source: str, table: Mapping[str, Any]) -> str:
    """diffusers' name for the kind of a single file, of those that a family reads.

    Raises:
        ComposerError: what the file is instead.
    """
    kind = model_type(table)
    if kind not in kinds():
        raise ComposerError(key, source, what_is(table))
    return kind


def check_described(table: Mapping[str, Any], denoiser: str, config: Mapping[str, Any], where: str) -> None:
    """Refuse a file whose denoiser is not the one that the json files describe.

    Args:
        denoiser: unet or transformer. config: its json. where: these lie.

    Raises:
        ComposerError: with what both have.
    """
    for end, axis, setting, words in _SHAPES.get(denoiser, ()):
        wanted, found = config.get(setting), _first_size(table, end, axis)
        if isinstance(wanted, int) and found is not None and found != wanted:
            of = f" ({_ROLES[found]})" if setting == "in_channels" and denoiser == "unet" and found in _ROLES else ""
            reason = f"describes a {denoiser} of {wanted} {words}, and the file's has {found}{of}: name json files of such a model"
            raise ComposerError("model.config", where, reason)


def check_complete(
    name: str,
    table: Mapping[str, Any],
    classes: Mapping[str, str],
    configs: Mapping[str, Mapping[str, Any]],
    given: set[str],
) -> None:
    """Refuse a file that lacks a component which is to be loaded from it.

    Args:
        name: of the file. classes, configs: of the components that the json files describe. given: those that come from
        elsewhere.

    Raises:
        ComposerError: with the first that is missing, and what to type.
    """
    lacking = [
        part
        for part in _models(classes)
        if part not in given and not _holds(table, part, classes[part], configs.get(part, {}))
    ]
    if not lacking:
        return
    part, others = lacking[0], f" (nor {', '.join(lacking[1:])})" * (len(lacking) > 1)
    if part.startswith("text_encoder") and any(key.startswith(_OLD_CLIP) for key in table):
        why = f"{name} spells it in an old way ({_OLD_CLIP}…, without text_model), which diffusers does not read"
    else:
        why = f"{name} holds no {part}{others}"
    raise ComposerError(f"model.components.{part}", None, f"{why}: name one, model.components.{part}=FOLDER")


def check_component_file(
    key: str, source: str, name: str, table: Mapping[str, Any], cls: str, config: Mapping[str, Any]
) -> None:
    """Refuse a file of one component that holds another.

    Args:
        key: that named the file. name: of the component. table: the file's header. cls, config: of the component that
        it stands in for.

    Raises:
        ComposerError: what it is instead.
    """
    kind = next(
        (kind for kind in _ALONE if name.startswith(kind) and (kind != "text_encoder" or cls.startswith("T5"))), "clip"
    )
    found = next((each for each in table if re.search(_ALONE[kind], each.removeprefix(PREFIX))), None)
    if found is None:
        raise ComposerError(key, source, f"holds no {name}: it {what_is(table)}")
    wanted = config.get("d_model", config.get("hidden_size"))
    if name.startswith("text_encoder") and wanted is not None and size(table, found, -1) != wanted:
        reason = f"has {size(table, found, -1)} hidden states, and the {name} that it stands in for has {wanted}"
        raise ComposerError(key, source, reason)


def _models(classes: Mapping[str, str]) -> Iterator[str]:
    for part, cls in sorted(classes.items(), key=lambda each: (each[0].startswith("text_encoder"), each[0])):
        if part not in _NEVER and component_kind(part, cls) == "model":
            yield part


def _holds(table: Mapping[str, Any], part: str, cls: str, config: Mapping[str, Any]) -> bool:
    """Whether diffusers finds a component's weights in a file."""
    if part in ("unet", "transformer"):
        return True  # the kind of the file is known by it
    if part == "vae":
        return any(key.startswith(_VAE) for key in table)
    if cls.startswith("CLIPText") and any(has(table, kind) for kind in _CLIPS):
        wide = config.get("hidden_size")
        return any(
            has(table, kind) and (kind not in _BY_WIDTH or width(table, kind) == wide)
            for kind in (*_CLIPS, "clip_sdxl")
        )
    return _T5 in table and cls.startswith("T5")


def _first_size(table: Mapping[str, Any], end: str, axis: int) -> int | None:
    starts = (PREFIX, "") if UNET not in table else (PREFIX,)
    exact = next((key for start in starts if (key := f"{start}{end}") in table), None)
    key = exact or next((key for key in table if key.startswith(PREFIX) and key.endswith(f".{end}")), None)
    return None if key is None else size(table, key, axis)
