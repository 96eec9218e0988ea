"""Weights files that are no checkpoint, such as a LoRA: recognised by their keys, without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from composer.checkpoints.single_file_keys import PREFIX, kinds, model_type

_EMBEDDING_KEY = r"^(emb_params|string_to_param|clip_g|clip_l)$"
_ADVICE = "use a folder whose model_index.json names its pipeline"
#: Pattern of a key → description of the file and advice; the first pattern that some key matches decides.
_KIND_BY_KEY = {
    r"\.lora_(down|up|A|B)\b|^lora_|lora_(unet|te\d?)_|\.lokr_w|\.hada_w|\.oft_|\.dora_scale|[._]lora\.(down|up)\.": (
        "is a LoRA or the like, a change to a checkpoint and none itself: name a checkpoint, and this one as lora=FILE"
    ),
    _EMBEDDING_KEY: "is an embedding (textual inversion) and no checkpoint, and composer loads none",
    r"^(image_proj|ip_adapter)\.": "is an IP-Adapter and no checkpoint, and composer loads none",
    r"^control_model\.|^controlnet_|^input_hint_block\.|^control_(all_x_embedder|layers)\.": (
        f"is a ControlNet, a part of a pipeline and no checkpoint: {_ADVICE}"
    ),
    r"^(adapter\.)?body\.\d+\.(resnets|block1)|^adapter\.": (
        f"is a T2I-Adapter, a part of a pipeline and no checkpoint: {_ADVICE}"
    ),
    r"motion_modules?\.": f"is a motion module (AnimateDiff), for videos, and no checkpoint: {_ADVICE}",
    r"^(conv_first\.|model\.0\.weight$|body\.0\.rdb1)": (
        "is an upscaling network, not a diffusion model: task=upscale works without one"
    ),
    r"^(input_blocks|down_blocks)\.\d+\.": (
        "is a UNet alone: name a complete checkpoint, and this one as model.components.unet=FILE"
    ),
    r"^(single_)?transformer_blocks\.\d+\.|^joint_blocks\.|^double_blocks\.": (
        "is a transformer alone: name a complete checkpoint, and this one as model.components.transformer=FILE"
    ),
    r"^(text_model\.)?(encoder\.layers\.\d+\.self_attn|embeddings\.token_embedding)"
    r"|^encoder\.block\.\d+\.layer|^shared\.weight$": (
        "is a text encoder alone: name a complete checkpoint, and this one as model.components.text_encoder=FILE"
        " (or _2, _3)"
    ),
    r"^(first_stage_model\.|vae\.)?(decoder|encoder)\.(conv_in|mid|down|up|up_blocks|down_blocks)\.": (
        "is a VAE alone: name a complete checkpoint, and this one as model.components.vae=FILE"
    ),
    r"^model_ema\.": "holds EMA weights alone, which diffusers does not read: use the file with the plain weights",
}  # fmt: skip
#: diffusers saves an embedding as one tensor under its token, with at most this many axes and at least this width.
_MAX_EMBEDDING_AXES, _MIN_EMBEDDING_WIDTH = 2, 32


def describe_foreign_file(table: Mapping[str, Any]) -> str:
    """Describe a weights file that is no checkpoint, with advice on how to use it.

    Args:
        table: Header of the file: key → dtype, shape and offsets.

    Returns:
        The rest of a sentence that begins with the file.
    """
    keys = [key.removeprefix(PREFIX) for key in table]
    kind = model_type(table)
    if kind is not None and kind not in kinds() and not _any_matches(r"\.lora_|motion_modules?\.", keys):
        families = ", ".join(sorted(set(kinds().values())))
        return f"is a single file of {kind}; single files are read of {families}: use its folder"
    if description := next((words for pattern, words in _KIND_BY_KEY.items() if _any_matches(pattern, keys)), None):
        return description
    if len(table) <= 2 and all(map(_may_be_embedding, table.values())) and not _any_matches(r"\.", keys):
        return _KIND_BY_KEY[_EMBEDDING_KEY]
    return f"is of a layout that no family knows: its keys begin with {min(table)}"


def _may_be_embedding(entry: Mapping[str, Any]) -> bool:
    shape = entry["shape"]
    return 0 < len(shape) <= _MAX_EMBEDDING_AXES and shape[-1] >= _MIN_EMBEDDING_WIDTH


def _any_matches(pattern: str, keys: list[str]) -> bool:
    return any(re.search(pattern, key) for key in keys)
