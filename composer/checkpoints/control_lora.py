"""Control LoRA of FLUX.1, recognised and matched by the header of a file. No torch.

It widens the first layer of the transformer, which then reads the latents of an image beside those of the result, and
may replace norms of the attention. https://huggingface.co/black-forest-labs/FLUX.1-Canny-dev-lora
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import SAFETENSORS, read_header
from composer.checkpoints.lora_file import read_lora
from composer.checkpoints.lora_fit import LoraFit, Widening, checkpoint_shapes, fit_lora
from composer.errors import ComposerError

#: What such a file is called where classes of control models are named.
CONTROL_LORA = "control LoRA"
#: The first layer in diffusers' words.
FIRST_LAYER = "x_embedder"
#: The same in those of the original repository.
_FIRST_LAYERS = (FIRST_LAYER, "img_in")
_DOWN = (".lora_A.weight", ".lora_down.weight")
#: Norms that a file may replace, in diffusers' words, and the end of their names in the original ones.
_NORM = re.compile(r"(?:transformer\.)?(.+\.norm_(?:added_)?[qk])\.weight")
_ORIGINAL_NORM = re.compile(r".+\.norm\.(?:query|key)_norm\.scale")


def find_control_lora(key: str, path: Path, checkpoint: Checkpoint) -> LoraFit | None:
    """Match a file with a checkpoint if it is a control LoRA.

    Args:
        key: Config key that names it, for errors.
        path: A local file.
        checkpoint: The checkpoint of the run.

    Returns:
        The layers that it changes; None for another kind of file.

    Raises:
        ComposerError: It is one for another model, or holds tensors that would not be used.
    """
    widened = _widened(key, path)
    if widened is None or checkpoint.family != "flux":
        return None
    _check_channels(key, path, checkpoint, *widened)
    file = read_lora(path, key)
    norms = {match[1]: name for name in file.unknown if (match := _NORM.fullmatch(name))}
    original = [name for name in file.unknown if _ORIGINAL_NORM.fullmatch(name)]
    file = replace(file, unknown=tuple(name for name in file.unknown if name not in {*norms.values(), *original}))
    widening = Widening(layer=FIRST_LAYER, channels=widened[1], norms=norms, original_norms=tuple(original))
    fit = fit_lora(key, file, checkpoint, _widened_shapes(checkpoint, widening), widening)
    _check_norms(key, path, checkpoint, norms)
    return fit


def refuse_control_lora(key: str, path: Path, checkpoint: Checkpoint) -> None:
    """Refuse a control LoRA where another kind of file is expected.

    Args:
        key: Config key that names it.
        path: A local file of an adapter.
        checkpoint: The checkpoint of the run.

    Raises:
        ComposerError: It is one.
    """
    channels, widened = checkpoint.denoiser.get("in_channels"), _widened(key, path)
    if checkpoint.family == "flux" and widened is not None and isinstance(channels, int) and widened[1] > channels:
        reason = (
            f"is a control LoRA, which widens {widened[0]} from {channels} to {widened[1]} channels for an image: "
            f"control={path.name} control.image=FILE"
        )
        raise ComposerError(key, path.name, reason)


def _widened(key: str, path: Path) -> tuple[str, int] | None:
    """The first layer that a file changes, as it names it, and the channels that the layer reads then."""
    if path.suffix != SAFETENSORS:
        return None
    for name, entry in read_header(path, key).items():
        layer = next((layer for layer in _FIRST_LAYERS if layer in name.split(".")), None)
        if layer is not None and name.endswith(_DOWN) and len(entry["shape"]) == 2:
            return layer, entry["shape"][1]
    return None


def _check_channels(key: str, path: Path, checkpoint: Checkpoint, layer: str, channels: int) -> None:
    """Refuse one whose first layer reads something else than twice the latents, which is what the model reads."""
    ours, latents = checkpoint.denoiser.get("in_channels", 64), checkpoint.configs.get("vae", {}).get("latent_channels")
    plain = ours if latents is None else checkpoint.family_info.pack_factor * latents
    if ours != plain:
        reason = f"is a control LoRA for models that read latents alone, and {layer} of this one has {ours} channels"
    elif channels == ours:
        reason = f"is a LoRA that reads no image, as {layer} keeps its {ours} channels: lora={path.name}"
    elif channels != 2 * ours:
        reason = f"widens {layer} to {channels} channels, and twice the latents of this model are {2 * ours}"
    else:
        return
    raise ComposerError(key, path.name, reason)


def _widened_shapes(checkpoint: Checkpoint, widening: Widening) -> dict[str, Mapping[str, tuple[int, ...]]]:
    """Layers of the checkpoint's components, with a first one that is as wide as it will be."""
    shapes: dict[str, Any] = dict(checkpoint_shapes(checkpoint))
    if widening.layer in shapes.get("transformer", {}):
        rows = shapes["transformer"][widening.layer][0]
        shapes["transformer"] = {**shapes["transformer"], widening.layer: (rows, widening.channels)}
    return shapes


def _check_norms(key: str, path: Path, checkpoint: Checkpoint, norms: Mapping[str, str]) -> None:
    """Refuse norms that the model does not have, or has of another size."""
    known = checkpoint_shapes(checkpoint).get("transformer")
    table = read_header(path, key)
    lost = [] if known is None else [
        name for module, name in norms.items() if known.get(module) != tuple(table[name]["shape"])
    ]  # fmt: skip
    if lost:
        raise ComposerError(key, path.name, f"is for another model: {lost[0]} is not in this one, or of another size")
