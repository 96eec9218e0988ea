"""Keys by which diffusers recognises single files, read from its source text: importing diffusers takes seconds.

See https://github.com/huggingface/diffusers/blob/main/src/diffusers/loaders/single_file_utils.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.checkpoints.layouts import families

#: Kinds that are tested first, since their files also hold keys of other kinds.
_FIRST = (
    "flux2",
    "flux3",
    "chroma",
    "z-image-turbo-controlnet-2.x",
    "z-image-turbo-controlnet",
    "wan_vace",
    "wan_animate",
)
#: Kinds that need all of their keys; any key is enough for the others.
_NEED_ALL_KEYS = ("auraflow", "cosmos-1.0", "cosmos-2.0", "sana")
#: Prefixes of entries of components, or of kinds that are tested before, which indicate no other kind.
_NO_OTHER_KIND = (
    "clip", "open_clip", "wan_vae", "autoencoder-dc", "controlnet", "animatediff", "flux", "v1", "v2", "inpainting",
    "instruct-pix2pix", "upscale", "xl_", "playground-v2-5", "sd3",
)  # fmt: skip
#: Prefix of the denoiser's keys.
PREFIX = "model.diffusion_model."
UNET_INPUT = f"{PREFIX}input_blocks.0.0.weight"


def kinds() -> dict[str, str]:
    """Map diffusers' names for kinds of single files to the families that read them.

    Returns:
        Kind → family, such as ``xl_base`` → ``sdxl``.
    """
    return {kind: name for name, info in families().items() for kind in info.single_file_kinds}


def model_type(table: Mapping[str, Any]) -> str | None:
    """Return diffusers' name for the kind of a single file.

    For the kinds of composer's families, it equals what diffusers infers. Other kinds only appear in errors.

    Args:
        table: Header of the file.

    Returns:
        The kind, such as ``xl_base``; None if diffusers does not know the file.
    """
    if UNET_INPUT in table:
        return _unet_kind(table, tensor_size(table, UNET_INPUT, 1))
    if first := next((kind for kind in _FIRST if has_keys(table, kind)), None):
        return first
    if has_keys(table, "sd3"):
        return _sd3_kind(table)
    if has_keys(table, "flux"):
        return _flux_kind(table)
    others = (kind for kind in known_keys() if not kind.startswith(_NO_OTHER_KIND))
    return next((kind for kind in others if has_keys(table, kind)), None)


def has_keys(table: Mapping[str, Any], kind: str) -> bool:
    """Whether a file holds the keys of a kind: one of them, or all where diffusers requires all.

    Args:
        table: Header of the file.
        kind: Key of diffusers' ``CHECKPOINT_KEY_NAMES``.
    """
    keys = known_keys().get(kind, ())
    return bool(keys) and (all if kind in _NEED_ALL_KEYS else any)(key in table for key in keys)


def known_size(table: Mapping[str, Any], kind: str, axis: int = -1) -> int | None:
    """Return the size of the tensor by which diffusers recognises a kind.

    Args:
        table: Header of the file.
        kind: Key of diffusers' ``CHECKPOINT_KEY_NAMES``.
        axis: Axis of the tensor.

    Returns:
        The size; None if the file holds no such tensor.
    """
    return next((tensor_size(table, key, axis) for key in known_keys().get(kind, ()) if key in table), None)


def tensor_size(table: Mapping[str, Any], key: str, axis: int) -> int | None:
    """Return the size of a tensor along an axis.

    Args:
        table: Header of the file.
        key: Key of the tensor.
        axis: Axis of the tensor.

    Returns:
        The size; None if there is no such tensor or axis.
    """
    shape = table.get(key, {}).get("shape", ())
    return shape[axis] if -len(shape) <= axis < len(shape) else None


@cache
def known_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys by which diffusers recognises each kind of file.

    Returns:
        Kind → keys.
    """
    return {
        kind: (keys,) if isinstance(keys, str) else tuple(keys) for kind, keys in _table("CHECKPOINT_KEY_NAMES").items()
    }


def default_config_repository(kind: str) -> str | None:
    """Return the hub repository whose JSON files diffusers uses for a kind of single file.

    Args:
        kind: Kind of the file.

    Returns:
        The hub id; None if diffusers names none.
    """
    return _table("DIFFUSERS_DEFAULT_PIPELINE_PATHS").get(kind, {}).get("pretrained_model_name_or_path")


def _unet_kind(table: Mapping[str, Any], channels: int | None) -> str:
    is_v2, is_xl = known_size(table, "v2") == 1024, has_keys(table, "xl_base")
    if channels == 9:
        return "inpainting_v2" if is_v2 else "xl_inpaint" if is_xl else "inpainting"
    if is_v2:
        return "v2"
    kinds = ("playground-v2-5", "xl_base", "xl_refiner", "upscale")
    known = next((kind for kind in kinds if has_keys(table, kind)), None)
    return known or ("instruct-pix2pix" if channels == 8 else "v1")


def _sd3_kind(table: Mapping[str, Any]) -> str:
    if known_size(table, "sd3") == 9216:
        positions = {tensor_size(table, f"{prefix}pos_embed", 1) for prefix in ("", PREFIX)}
        return "sd35_medium" if 147456 in positions else "sd3"
    return "sd35_large" if has_keys(table, "sd35_large") else "sd3"


def _flux_kind(table: Mapping[str, Any]) -> str:
    if not any(f"{prefix}guidance_in.in_layer.bias" in table for prefix in ("", PREFIX)):
        return "flux-schnell"
    channels = next(filter(None, (tensor_size(table, f"{prefix}img_in.weight", 1) for prefix in (PREFIX, ""))), 0)
    return {384: "flux-fill", 128: "flux-depth"}.get(channels, "flux-dev")


@cache
def _table(name: str) -> dict[str, Any]:
    """Read a dict literal from the source text of diffusers; empty if this version has none of that name."""
    spec = find_spec("diffusers")
    file = Path(spec.origin or "").parent / "loaders" / "single_file_utils.py" if spec else None
    text = file.read_text("utf-8") if file and file.is_file() else ""
    literal = re.search(rf"^{name} = (\{{.*?^\}})", text, re.DOTALL | re.MULTILINE)
    return ast.literal_eval(literal[1]) if literal else {}
