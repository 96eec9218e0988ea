"""Control models in single files: ControlNets of Stable Diffusion and SDXL, described by their headers. No torch.

A file holds no settings. Those of a ControlNet follow from the UNet that it is a copy of, and from its own shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.components import Component, ComponentLocation
from composer.checkpoints.headers import SAFETENSORS, read_header
from composer.checkpoints.lora_fit import checkpoint_shapes
from composer.errors import ComposerError

#: What the keys of the original layout may begin with.
PREFIX = "control_model."
#: Settings that a ControlNet shares with its UNet.
_SHARED = (
    "flip_sin_to_cos", "freq_shift", "down_block_types", "mid_block_type", "only_cross_attention",
    "block_out_channels", "layers_per_block", "downsample_padding", "mid_block_scale_factor", "act_fn",
    "norm_num_groups", "norm_eps", "cross_attention_dim", "transformer_layers_per_block", "encoder_hid_dim",
    "encoder_hid_dim_type", "attention_head_dim", "num_attention_heads", "use_linear_projection", "class_embed_type",
    "addition_embed_type", "addition_time_embed_dim", "num_class_embeds", "upcast_attention",
    "resnet_time_scale_shift", "projection_class_embeddings_input_dim",
)  # fmt: skip
#: Layers that read the image: first and last, the ones between that widen, in the original layout and in diffusers'.
_HINT = ("input_hint_block.0", ("input_hint_block.4", "input_hint_block.8", "input_hint_block.12"))
_EMBEDDING = (
    "controlnet_cond_embedding.conv_in",
    tuple(f"controlnet_cond_embedding.blocks.{number}" for number in (1, 3, 5)),
)
#: Parts of names in files of other kinds → what they are.
_OTHERS = {
    "task_embedding": "a union of ControlNets", "control_add_embedding": "a union of ControlNets",
    "adapter.": "a T2I-Adapter", "body.0.": "a T2I-Adapter", "control_layers.": "a control model of Z-Image",
    "controlnet_blocks.": "a ControlNet of a transformer", "controlnet_x_embedder": "a ControlNet of a transformer",
    "lora_": "a LoRA, for lora=",
}  # fmt: skip

Shapes = Mapping[str, tuple[int, ...]]


def find_control_file(key: str, source: str, path: Path, checkpoint: Checkpoint) -> Component:
    """Describe a ControlNet in a single file.

    Args:
        key: Config key that names it, for errors.
        source: The key's value.
        path: The file.
        checkpoint: The checkpoint of the run, to whose UNet it belongs.

    Returns:
        The control model, with the settings that its file must have.

    Raises:
        ComposerError: It is of another kind, or for another base model.
    """
    if path.suffix != SAFETENSORS:
        reason = "is a file of another kind: name a .safetensors file, a folder in diffusers' format, or its hub id"
        raise ComposerError(key, path.name, reason)
    shapes = {name.removeprefix(PREFIX): tuple(entry["shape"]) for name, entry in read_header(path, key).items()}
    first, widening = _HINT if f"{_HINT[0]}.weight" in shapes else _EMBEDDING
    other = next((kind for part, kind in _OTHERS.items() if any(part in name for name in shapes)), None)
    ends = [f"{name}.weight" for name in (first, *widening)]
    if any(name not in shapes for name in ends) or other in ("a union of ControlNets", "a LoRA, for lora="):
        reason = f"holds {other or 'no ControlNet'}, and single files can be ControlNets of sd and sdxl models alone: "
        raise ComposerError(key, path.name, f"{reason}name a folder with its config.json, or its hub id")
    if checkpoint.family not in ("sd", "sdxl"):
        reason = f"is a ControlNet for sd and sdxl models, and this model is of the family {checkpoint.family}"
        raise ComposerError(key, path.name, reason)
    _check_base(key, path, shapes, checkpoint)
    config: dict[str, Any] = {name: checkpoint.denoiser[name] for name in _SHARED if name in checkpoint.denoiser}
    config |= {
        "in_channels": shapes[_first_of(shapes)][1],
        "conditioning_channels": shapes[ends[0]][1],
        "conditioning_embedding_out_channels": [shapes[name][0] for name in ends],
    }
    return Component(
        location=ComponentLocation(source=source), folder=path, subfolder="", library="diffusers",
        cls="ControlNetModel", config=config, commit=None,
    )  # fmt: skip


def _first_of(shapes: Shapes) -> str:
    """Name of the first layer's weights."""
    return "conv_in.weight" if "conv_in.weight" in shapes else "input_blocks.0.0.weight"


def _check_base(key: str, path: Path, shapes: Shapes, checkpoint: Checkpoint) -> None:
    """Refuse one that is no copy of this checkpoint's UNet, by the sizes of its layers."""
    unet = checkpoint_shapes(checkpoint).get("unet", {})
    width, ours = _text_width(shapes), checkpoint.denoiser.get("cross_attention_dim")
    if None not in (width, ours) and width != ours:
        reason = f"has {width} channels of prompt_embeds, and this model {ours}: it is for another base model"
        raise ComposerError(key, path.name, reason)
    for name, shape in shapes.items():  # in diffusers' layout, the layers are named as those of the UNet
        module = name.removesuffix(".weight")
        if name != _first_of(shapes) and name.endswith(".weight") and unet.get(module, shape) != shape:
            reason = f"is for another base model: {module} is {_size(shape)}, and here it is {_size(unet[module])}"
            raise ComposerError(key, path.name, reason)
    per_block, widths = checkpoint.denoiser.get("layers_per_block"), checkpoint.denoiser.get("block_out_channels", ())
    if isinstance(per_block, int) and "input_blocks.0.0.weight" in shapes:
        blocks = len({name.split(".")[1] for name in shapes if name.startswith("input_blocks.")})
        sizes = blocks, shapes["input_blocks.0.0.weight"][0]
        expected = len(widths) * (per_block + 1), widths[0]
        if sizes != expected:
            reason = "has {} blocks from {} channels on, and this model {} from {}: it is for another base model"
            raise ComposerError(key, path.name, reason.format(*sizes, *expected))


def _text_width(shapes: Shapes) -> int | None:
    return next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), None)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
