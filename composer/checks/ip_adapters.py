"""Checks of IP-Adapters against a checkpoint, from headers and JSON files alone: no weights, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.fingerprints import directory_fingerprint, file_sha256, image_fingerprint
from composer.checkpoints.headers import SAFETENSORS, read_header
from composer.checkpoints.image_encoder import find_encoder
from composer.checkpoints.lora_fit import checkpoint_shapes
from composer.checks.ip_transformers import TRANSFORMERS, check_one, check_transformer, check_vision
from composer.config.adapter_nodes import IP_ADAPTER
from composer.config.spec import IpAdapterSpec, RunSpec
from composer.errors import ComposerError
from composer.images.reading import read_image, read_mask

if TYPE_CHECKING:
    from PIL.Image import Image

#: Families whose denoisers take embeddings of images.
FAMILIES = ("sd", "sdxl", "flux", "sd3")
#: Roles of checkpoints whose pipelines in diffusers take none.
_ROLES_WITHOUT = (("sd", "depth"), ("flux", "inpaint"))
#: Tensor that names a kind of projection → number of its axis with the width of the encoder's output, and the setting
#: of the encoder that states that width.
_PROJECTIONS = {
    "image_proj.proj.weight": (1, "projection_dim"),
    "image_proj.proj.0.weight": (1, "hidden_size"),
    "image_proj.proj_in.weight": (1, "hidden_size"),
}


@dataclass(frozen=True, kw_only=True)
class ImagePrompt:
    """An IP-Adapter with its images.

    Attributes:
        path: Its file.
        encoder: Directory of its image encoder.
        images: RGB images.
        masks: Gray masks, one for each image, white where it conditions; empty for everywhere.
        spec: Its settings.
        layers: Number of layers of cross-attention that the file has weights for.
    """

    path: Path
    encoder: Path
    images: tuple[Image, ...]
    masks: tuple[Image, ...]
    spec: IpAdapterSpec
    layers: int

    @property
    def content(self) -> list[Any]:
        """What a run depends on, as plain data: content of the files, and settings."""
        fingerprints = [[image_fingerprint(image) for image in images] for images in (self.images, self.masks)]
        files = [file_sha256(self.path), directory_fingerprint(self.encoder)]
        return [*files, *fingerprints, self.spec.scale, dict(self.spec.scales)]


def check_ip_adapters(spec: RunSpec, checkpoint: Checkpoint) -> Mapping[str, ImagePrompt]:
    """Find the files of a run's IP-Adapters, and refuse those that are for another model.

    Args:
        spec: Settings of the run.
        checkpoint: Its checkpoint.

    Returns:
        IP-Adapters with their images, by name.

    Raises:
        ComposerError: A file is missing, damaged or for another model, or a setting would have no effect.
    """
    check_one(spec, checkpoint)
    return MappingProxyType(
        {name: _check(IP_ADAPTER.key_of(name), one, checkpoint) for name, one in spec.ip_adapters.items()}
    )


def _check(key: str, spec: IpAdapterSpec, checkpoint: Checkpoint) -> ImagePrompt:
    without = (checkpoint.family, checkpoint.role) in _ROLES_WITHOUT
    if checkpoint.family not in FAMILIES or without:
        kind = f"{checkpoint.family} {checkpoint.role} models" if without else checkpoint.family
        raise ComposerError(key, spec.file, f"{kind} take no IP-Adapter: use {' or '.join(FAMILIES)}")
    path = locate(AdapterSource(key=key, file=spec.file, revision=spec.revision))
    if path.suffix != SAFETENSORS:
        raise ComposerError(key, path, "an IP-Adapter must be a .safetensors file; most are published as such too")
    shapes = {name: tuple(entry["shape"]) for name, entry in read_header(path, key).items()}
    if checkpoint.family in TRANSFORMERS:
        layers = check_transformer(key, spec, path, shapes, checkpoint)
        encoder = find_encoder(f"{key}.encoder", spec, path)
        check_vision(key, path, shapes, encoder, checkpoint.family)
    else:
        layers = _check_layers(key, path, shapes, checkpoint)
        encoder = find_encoder(f"{key}.encoder", spec, path)
        _check_encoder(key, path, shapes, encoder)
        _check_blocks(key, spec, checkpoint)
    return ImagePrompt(
        path=path,
        encoder=encoder,
        images=tuple(read_image(f"{key}.image", file) for file in spec.images),
        masks=tuple(read_mask(f"{key}.mask", file) for file in spec.masks),
        spec=spec,
        layers=layers,
    )


def _check_layers(key: str, path: Path, shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> int:
    """Compare the layers of a file with those of the denoiser; their number."""
    odd = [name for name in shapes if not name.startswith(("image_proj.", "ip_adapter."))]
    layers = {name: shape for name, shape in shapes.items() if name.startswith("ip_adapter.")}
    if not layers or odd or not any(name.startswith("image_proj.") for name in shapes):
        reason = f"is no IP-Adapter: it has {(odd or list(shapes))[0]}"
        raise ComposerError(key, path.name, reason)
    if any("_lora" in name for name in layers) or ("image_proj.norm.weight" in shapes and _is_face_id(shapes)):
        reason = "is a FaceID, which needs embeddings of faces by another library: use one of images"
        raise ComposerError(key, path.name, reason)
    ends = (".to_k_ip.weight", ".to_v_ip.weight")
    if unknown := [name for name in layers if not name.endswith(ends)]:
        raise ComposerError(key, path.name, f"has layers that diffusers does not read, such as {unknown[0]}")
    keys = [shape for name, shape in layers.items() if name.endswith(ends[0])]
    width = checkpoint.denoiser.get("cross_attention_dim")
    if wrong := [shape for shape in layers.values() if isinstance(width, int) and shape[1:] != (width,)]:
        reason = f"is for a model whose prompt_embeds have {wrong[0][-1]} channels, and here they have {width}"
        raise ComposerError(key, path.name, reason)
    denoiser = checkpoint_shapes(checkpoint).get(checkpoint.family_info.denoiser[0], {})
    expected = [shape for name, shape in denoiser.items() if name.endswith("attn2.to_k")]
    if expected and sorted(expected) != sorted(keys):
        reason = f"has weights for {len(keys)} layers of cross-attention, and the model has {len(expected)}"
        same = "of other widths" if len(keys) == len(expected) else "it is for another model"
        raise ComposerError(key, path.name, f"{reason}: {same}")
    return len(keys)


def _is_face_id(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a file reads embeddings of faces: such have no projection of an image encoder's output."""
    faces = ("image_proj.proj.2.weight", "image_proj.perceiver_resampler.proj_in.weight")
    return any(name in shapes for name in faces) and "image_proj.proj.3.weight" not in shapes


def _check_encoder(key: str, path: Path, shapes: Mapping[str, tuple[int, ...]], encoder: Path) -> None:
    config = json.loads((encoder / "config.json").read_text("utf-8"))
    projections = [
        (shapes[name][axis], name, setting) for name, (axis, setting) in _PROJECTIONS.items() if name in shapes
    ]
    if not projections:
        raise ComposerError(key, path.name, "has a projection of images that diffusers does not read")
    width, _, setting = projections[0]
    if config.get(setting) != width:
        reason = f"its file reads {setting}={width}, and this encoder has {config.get(setting)}: give the one it is for"
        raise ComposerError(f"{key}.encoder", encoder.name, reason)


def _check_blocks(key: str, spec: IpAdapterSpec, checkpoint: Checkpoint) -> None:
    """Refuse scales of blocks that have no cross-attention, or another number of layers."""
    for part, value in spec.scales.items():
        if part == "blocks":
            raise ComposerError(f"{key}.scale.blocks", value, "is for flux: name a part", ("down", "mid", "up"))
        if part == "mid" or not isinstance(value, Mapping):
            continue
        layers = blocks_of(checkpoint.denoiser, part)
        for block, scale in value.items():
            if block not in layers:
                raise ComposerError(f"{key}.scale.{part}.{block}", scale, "there is no such block", list(layers))
            if isinstance(scale, list) and len(scale) not in (1, layers[block]):
                reason = f"has {len(scale)} numbers for {layers[block]} layers"
                raise ComposerError(f"{key}.scale.{part}.{block}", scale, reason)


def blocks_of(denoiser: Mapping[str, Any], part: str) -> dict[str, int]:
    """List the blocks of a UNet that have cross-attention.

    Args:
        denoiser: Settings of the UNet.
        part: ``down`` or ``up``.

    Returns:
        Block → number of its attention layers, as diffusers counts them for scales.
    """
    layers = denoiser.get("layers_per_block", 2)
    count = layers if isinstance(layers, int) else layers[0]
    types = denoiser.get(f"{part}_block_types") or ()
    return {f"block_{i}": count + (part == "up") for i, name in enumerate(types) if "CrossAttn" in name}
