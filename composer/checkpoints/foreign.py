"""What a file of weights is that is no checkpoint: told by its keys, with what can be done with it. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from composer.checkpoints.single_file_keys import PREFIX, kinds, model_type

_CLASSIC = "use a folder whose model_index.json names its pipeline"
#: A pattern found in some key → what the file is, and what to do; the first that is found decides.
_KINDS = {
    r"\.lora_(down|up|A|B)\b|^lora_|lora_(unet|te\d?)_|\.lokr_w|\.hada_w|\.oft_|\.dora_scale|[._]lora\.(down|up)\.": (
        "is a LoRA or the like, a change to a checkpoint and none itself, and composer loads none"
    ),
    r"^(emb_params|string_to_param|clip_g|clip_l)$": "is an embedding (textual inversion) and no checkpoint, and composer loads none",
    r"^(image_proj|ip_adapter)\.": "is an IP-Adapter and no checkpoint, and composer loads none",
    r"^control_model\.|^controlnet_|^input_hint_block\.|^control_(all_x_embedder|layers)\.": (
        f"is a ControlNet, a part of a pipeline and no checkpoint: {_CLASSIC}"
    ),
    r"^(adapter\.)?body\.\d+\.(resnets|block1)|^adapter\.": f"is a T2I-Adapter, a part of a pipeline and no checkpoint: {_CLASSIC}",
    r"motion_modules?\.": f"is a motion module (AnimateDiff), for videos, and no checkpoint: {_CLASSIC}",
    r"^(conv_first\.|model\.0\.weight$|body\.0\.rdb1)": "is an upscaling network, not a diffusion model: task=upscale works without one",
    r"^(input_blocks|down_blocks)\.\d+\.": "is a UNet alone: name a whole checkpoint, and this one as model.components.unet=FILE",
    r"^(single_)?transformer_blocks\.\d+\.|^joint_blocks\.|^double_blocks\.": (
        "is a transformer alone: name a whole checkpoint, and this one as model.components.transformer=FILE"
    ),
    r"^(text_model\.)?(encoder\.layers\.\d+\.self_attn|embeddings\.token_embedding)|^encoder\.block\.\d+\.layer|^shared\.weight$": (
        "is a text encoder alone: name a whole checkpoint, and this one as model.components.text_encoder=FILE (or _2, _3)"
    ),
    r"^(first_stage_model\.|vae\.)?(decoder|encoder)\.(conv_in|mid|down|up|up_blocks|down_blocks)\.": (
        "is a VAE alone: name a whole checkpoint, and this one as model.components.vae=FILE"
    ),
    r"^model_ema\.": "holds EMA weights alone, which diffusers does not read: use the file with the plain weights",
}  # fmt: skip
#: An embedding of diffusers is one tensor of this many axes at most, under its token, and no narrower than this.
_FLAT, _NARROWEST = 2, 32


def what_is(table: Mapping[str, Any]) -> str:
    """What a weights file is, and what to do instead of naming it as the model.

    Args:
        table: its header.
    """
    keys = [key.removeprefix(PREFIX) for key in table]
    kind = model_type(table)
    if kind is not None and kind not in kinds() and not _found(r"\.lora_|motion_modules?\.", keys):
        return f"is a single file of {kind}; single files are read of {', '.join(sorted(set(kinds().values())))}: use its folder"
    if found := next((what for pattern, what in _KINDS.items() if _found(pattern, keys)), None):
        return found
    if len(table) <= 2 and all(_is_flat(entry["shape"]) for entry in table.values()) and not _found(r"\.", keys):
        return _KINDS[r"^(emb_params|string_to_param|clip_g|clip_l)$"]
    return f"is of a layout that no family knows: its keys begin with {min(table)}"


def _is_flat(shape: list[int]) -> bool:
    return 0 < len(shape) <= _FLAT and shape[-1] >= _NARROWEST


def _found(pattern: str, keys: list[str]) -> bool:
    return any(re.search(pattern, key) for key in keys)
