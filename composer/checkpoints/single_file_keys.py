"""The keys by which diffusers knows single files, read from its source text: importing it takes seconds.

https://github.com/huggingface/diffusers/blob/main/src/diffusers/loaders/single_file_utils.py
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

#: Kinds that are named before the others, since they hold keys of them as well; then kinds known by all of their keys
#: together.
_FIRST = (
    "flux2",
    "flux3",
    "chroma",
    "z-image-turbo-controlnet-2.x",
    "z-image-turbo-controlnet",
    "wan_vace",
    "wan_animate",
)
_ALL = ("auraflow", "cosmos-1.0", "cosmos-2.0", "sana")
#: Keys of parts, or of kinds that are looked for before, which tell no other kind; by how they begin.
_PARTS = (
    "clip", "open_clip", "wan_vae", "autoencoder-dc", "controlnet", "animatediff", "flux", "v1", "v2", "inpainting", "instruct-pix2pix",
    "upscale", "xl_", "playground-v2-5", "sd3",
)  # fmt: skip
#: Where the denoiser's keys begin.
PREFIX = "model.diffusion_model."
UNET = f"{PREFIX}input_blocks.0.0.weight"


def kinds() -> dict[str, str]:
    """Map diffusers' names for kinds of single files to the families that read them."""
    return {kind: name for name, info in families().items() for kind in info.single_file_kinds}


def model_type(table: Mapping[str, Any]) -> str | None:
    """diffusers' name for the kind of a single file, by its header; None where it is none that diffusers knows.

    For the kinds of composer's families this is what diffusers infers itself; others are known by a name alone.
    """
    if UNET in table:
        return _unet(table, size(table, UNET, 1))
    if other := next((kind for kind in _FIRST if has(table, kind)), None):
        return other
    if has(table, "sd3"):
        return _sd3(table)
    if has(table, "flux"):
        return _flux(table)
    others = (kind for kind in known_keys() if not kind.startswith(_PARTS))
    return next((kind for kind in others if has(table, kind)), None)


def has(table: Mapping[str, Any], kind: str) -> bool:
    """Whether a table holds the keys of a kind: any of them, where one is enough for diffusers."""
    keys = known_keys().get(kind, ())
    return bool(keys) and (all if kind in _ALL else any)(key in table for key in keys)


def width(table: Mapping[str, Any], kind: str, axis: int = -1) -> int | None:
    """Size of the tensor that a kind is known by, along an axis; None where it is not there."""
    return next((size(table, key, axis) for key in known_keys().get(kind, ()) if key in table), None)


def size(table: Mapping[str, Any], key: str, axis: int) -> int | None:
    """Size of a tensor along an axis; None where there is no such tensor or axis."""
    shape = table.get(key, {}).get("shape", ())
    return shape[axis] if -len(shape) <= axis < len(shape) else None


@cache
def known_keys() -> dict[str, tuple[str, ...]]:
    """Kind → the keys of it."""
    return {
        kind: (keys,) if isinstance(keys, str) else tuple(keys) for kind, keys in _table("CHECKPOINT_KEY_NAMES").items()
    }


def repository(kind: str) -> str | None:
    """The hub id from which diffusers takes the json files for a kind of single file."""
    return _table("DIFFUSERS_DEFAULT_PIPELINE_PATHS").get(kind, {}).get("pretrained_model_name_or_path")


def _unet(table: Mapping[str, Any], channels: int | None) -> str:
    second, base = width(table, "v2") == 1024, has(table, "xl_base")
    if channels == 9:
        return "inpainting_v2" if second else "xl_inpaint" if base else "inpainting"
    if second:
        return "v2"
    named = next((kind for kind in ("playground-v2-5", "xl_base", "xl_refiner", "upscale") if has(table, kind)), None)
    return named or ("instruct-pix2pix" if channels == 8 else "v1")


def _sd3(table: Mapping[str, Any]) -> str:
    if width(table, "sd3") == 9216:
        return "sd35_medium" if 147456 in (size(table, f"{start}pos_embed", 1) for start in ("", PREFIX)) else "sd3"
    return "sd35_large" if has(table, "sd35_large") else "sd3"


def _flux(table: Mapping[str, Any]) -> str:
    if not any(f"{start}guidance_in.in_layer.bias" in table for start in ("", PREFIX)):
        return "flux-schnell"
    channels = next(filter(None, (size(table, f"{start}img_in.weight", 1) for start in (PREFIX, ""))), 0)
    return {384: "flux-fill", 128: "flux-depth"}.get(channels, "flux-dev")


@cache
def _table(name: str) -> dict[str, Any]:
    """A dict that diffusers writes down as such; empty where another version of it has none."""
    found = find_spec("diffusers")
    file = Path(found.origin or "").parent / "loaders" / "single_file_utils.py" if found else None
    text = file.read_text("utf-8") if file and file.is_file() else ""
    written = re.search(rf"^{name} = (\{{.*?^\}})", text, re.DOTALL | re.MULTILINE)
    return ast.literal_eval(written[1]) if written else {}
