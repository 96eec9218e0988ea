"""Checks of IP-Adapters for transformers, against the settings of the transformer: no weights, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.ip_adapter_names import diffusers_name
from composer.config.adapter_nodes import IP_ADAPTER
from composer.config.spec import IpAdapterSpec, RunSpec
from composer.errors import ComposerError

Shapes = Mapping[str, tuple[int, ...]]
#: Family → tensor with the width of the encoder's output as its second axis, the setting of the encoder that states
#: that width, and the beginning of its kind.
_ENCODERS = {
    "flux": ("image_proj.proj.weight", "projection_dim", "clip"),
    "sd3": ("image_proj.proj_in.weight", "hidden_size", "siglip"),
}
TRANSFORMERS = frozenset(_ENCODERS)
#: Rows of the projection from which diffusers reads 16 tokens an image, and not 4.
_ROWS_OF_16 = 65536


def check_transformer(key: str, spec: IpAdapterSpec, path: Path, shapes: Shapes, checkpoint: Checkpoint) -> int:
    """Compare the layers of a file with those of a transformer, and refuse settings without an effect.

    Args:
        key: Config key of the IP-Adapter.
        spec: Its settings.
        path: Its file.
        shapes: Shapes of its tensors by their names in the file.
        checkpoint: The checkpoint.

    Returns:
        Number of layers of attention that the file has weights for.

    Raises:
        ComposerError: The file is for another model, or has tensors that would be left out.
    """
    named = {diffusers_name(name): shape for name, shape in shapes.items()}
    odd = next((name for name in shapes if diffusers_name(name)[0] is None), None)
    if odd is not None or {part for part, _ in named} != {"image_proj", "ip_adapter"}:
        raise ComposerError(key, path.name, f"is no IP-Adapter: it has {odd or next(iter(shapes), 'no tensors')}")
    layers = {name: shape for (part, name), shape in named.items() if part == "ip_adapter"}
    projection = {name: shape for (part, name), shape in named.items() if part == "image_proj"}
    config = checkpoint.denoiser
    expected, count = (_flux if checkpoint.family == "flux" else _sd3)(config, layers, projection)
    _compare(key, path, {**layers, **projection}, expected, checkpoint.family)
    _check_settings(key, spec, checkpoint.family, count)
    return count


def check_one(spec: RunSpec, checkpoint: Checkpoint) -> None:
    """Refuse several IP-Adapters on a transformer that takes one.

    Args:
        spec: Settings of the run.
        checkpoint: Its checkpoint.

    Raises:
        ComposerError: There are several.
    """
    if checkpoint.family == "sd3" and len(spec.ip_adapters) > 1:
        name, second = list(spec.ip_adapters.items())[1]
        raise ComposerError(IP_ADAPTER.key_of(name), second.file, "sd3 models take one IP-Adapter: omit the others")


def check_vision(key: str, path: Path, shapes: Shapes, encoder: Path, family: str) -> None:
    """Refuse an image encoder that the file is not for.

    Args:
        key: Config key of the IP-Adapter.
        path: Its file.
        shapes: Shapes of its tensors by their names in the file.
        encoder: Directory of the encoder.
        family: Family of the checkpoint.

    Raises:
        ComposerError: The encoder is of another kind or width.
    """
    tensor, setting, kind = _ENCODERS[family]
    width = next(shape[1] for name, shape in shapes.items() if ".".join(map(str, diffusers_name(name))) == tensor)
    config = json.loads((encoder / "config.json").read_text("utf-8"))
    settings = {**config, **(config.get("vision_config") or {})}  # of both towers in one file
    if not str(config.get("model_type", "")).startswith(kind):
        reason = f"is of kind {config.get('model_type')}, and IP-Adapters of {family} read {kind}"
        raise ComposerError(f"{key}.encoder", encoder.name, reason)
    if settings.get(setting) != width:
        reason = f"its file reads {setting}={width}, and this encoder has {settings.get(setting)}: give its own"
        raise ComposerError(f"{key}.encoder", encoder.name, reason)


def _flux(config: Mapping[str, Any], layers: Shapes, projection: Shapes) -> tuple[Shapes, int]:
    """Shapes that a file for a transformer of Flux has, and the number of its layers."""
    inner, text = config["num_attention_heads"] * config["attention_head_dim"], config["joint_attention_dim"]
    rows, width = projection.get("proj.weight", (0, 0))
    tokens = 16 if rows == _ROWS_OF_16 else 4
    expected: dict[str, tuple[int, ...]] = {
        "proj.weight": (tokens * text, width), "proj.bias": (tokens * text,), "norm.weight": (text,),
        "norm.bias": (text,),
    }  # fmt: skip
    for layer in range(config["num_layers"]):
        for role in ("k", "v"):
            expected[f"{layer}.to_{role}_ip.weight"] = (inner, text)
            expected[f"{layer}.to_{role}_ip.bias"] = (inner,)
    return expected, config["num_layers"]


def _sd3(config: Mapping[str, Any], layers: Shapes, projection: Shapes) -> tuple[Shapes, int]:
    """Shapes that a file for a transformer of Stable Diffusion 3 has, and the number of its layers.

    The projection is the file's own business but for its ends; diffusers refuses one that lacks tensors.
    """
    head = config["attention_head_dim"]
    inner = config["num_attention_heads"] * head
    count = config["num_layers"] + len(config.get("dual_attention_layers") or ())
    time = projection.get("time_embedding.linear_2.bias", (0,))[0]
    inside = projection.get("proj_out.weight", (0, 0))[-1]
    expected = {**projection, "proj_out.weight": (inner, inside), "time_embedding.linear_2.bias": (time,)}
    expected.setdefault("proj_in.weight", (0, 0))
    for layer in range(count):
        expected |= {f"{layer}.to_{role}_ip.weight": (inner, inner) for role in ("k", "v")}
        expected |= {f"{layer}.norm_{part}.weight": (head,) for part in ("q", "k", "ip_k")}
        expected |= {f"{layer}.norm_ip.linear.weight": (2 * inner, time), f"{layer}.norm_ip.linear.bias": (2 * inner,)}
    return expected, count


def _compare(key: str, path: Path, shapes: Shapes, expected: Shapes, family: str) -> None:
    """Refuse a file that lacks tensors, has others, or has some of other shapes."""
    for name in sorted(expected.keys() | shapes.keys()):
        if name not in expected:
            reason = f"has {name}, which this model does not read: it is for another model"
        elif name not in shapes:
            reason = f"has no {name}, which an IP-Adapter for this model has: it is for another model"
        elif shapes[name] != expected[name]:
            reason = f"is for another model: its {name} is {shapes[name]}, and here it is {expected[name]}"
        else:
            continue
        raise ComposerError(key, path.name, f"{reason} ({family})")


def _check_settings(key: str, spec: IpAdapterSpec, family: str, layers: int) -> None:
    """Refuse settings that the attention of a transformer does not read."""
    if spec.masks:
        raise ComposerError(f"{key}.mask", list(spec.masks), f"{family} models read no masks: omit it")
    if family == "sd3" and len(spec.images) > 1:
        raise ComposerError(f"{key}.image", list(spec.images), "sd3 models take one image")
    for part, scale in spec.scales.items():
        if part != "blocks" or family != "flux":
            allowed = ["blocks"] if family == "flux" else []
            reason = f"{family} models have no such part: give {key}.scale=NUMBER for all layers"
            raise ComposerError(f"{key}.scale.{part}", scale, reason, allowed)
        if len(scale) != layers:
            raise ComposerError(f"{key}.scale.blocks", scale, f"has {len(scale)} scales for {layers} blocks")
