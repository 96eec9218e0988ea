"""LoRA files with random weights for the models of a tiny pipeline, in every format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RANK = 4
#: Layers that a file changes: attention of denoisers, attention and MLP of text encoders.
ATTENTION = re.compile(r"(att(?:n\w*|ention)\.(to_q|to_k|to_v|to_out\.0)|self_attn\.(q_proj|v_proj)|mlp\.fc1)$")
CONVOLUTIONS = re.compile(r"resnets\.\d+\.conv[12]$")
#: Component → prefix in kohya's names.
KOHYA = {
    "unet": "lora_unet_", "transformer": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_",
}  # fmt: skip
Layers = dict[tuple[str, str], torch.nn.Module]
Tensors = dict[str, torch.Tensor]


def layers_of(
    pipe: Any, components: Iterable[str] = ("unet", "transformer"), pattern: re.Pattern = ATTENTION
) -> Layers:
    """Layers of a pipeline's models: (component, path) → module."""
    models = {name: getattr(pipe, name, None) for name in components}
    return {
        (name, path): module
        for name, model in models.items()
        if model is not None
        for path, module in model.named_modules()
        if pattern.search(path) and isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
    }


def factors(
    layers: Layers, seed: int = 0, size: float = 0.2
) -> dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]:
    """Two random factors of each layer: (rank, in, …) and (out, rank, …)."""
    torch.manual_seed(seed)
    return {
        match: (
            torch.randn(RANK, *module.weight.shape[1:]) * size,
            torch.randn(module.weight.shape[0], RANK, *[1] * (module.weight.dim() - 2)) * size,
        )
        for match, module in layers.items()
    }


def diffusers(layers: Layers, seed: int = 0) -> Tensors:
    """As diffusers' and PEFT's training scripts save them."""
    tensors = {}
    for (component, path), (down, up) in factors(layers, seed).items():
        tensors[f"{component}.{path}.lora_A.weight"], tensors[f"{component}.{path}.lora_B.weight"] = down, up
    return tensors


def old_diffusers(layers: Layers, seed: int = 0) -> Tensors:
    """As diffusers' training scripts saved UNets before PEFT."""
    tensors = {}
    for (component, path), (down, up) in factors(layers, seed).items():
        where = re.sub(r"(attn\d)\.", r"\1.processor.", path).removesuffix(".0")
        tensors[f"{component}.{where}_lora.down.weight"], tensors[f"{component}.{where}_lora.up.weight"] = down, up
    return tensors


def stem(component: str, path: str) -> str:
    if component.startswith("text_encoder") and not path.startswith("text_model."):
        path = f"text_model.{path}"  # as transformers named it when these files were made
    return KOHYA[component] + path.replace(".", "_")


def kohya(layers: Layers, seed: int = 0, alpha: float = 2.0) -> Tensors:
    """As kohya's sd-scripts write them."""
    tensors = {}
    for (component, path), (down, up) in factors(layers, seed).items():
        name = stem(component, path)
        tensors |= {
            f"{name}.lora_down.weight": down,
            f"{name}.lora_up.weight": up,
            f"{name}.alpha": torch.tensor(alpha),
        }
    return tensors


def dora(layers: Layers, seed: int = 0) -> Tensors:
    """kohya's, with a length for each row of the weights."""
    tensors = kohya(layers, seed)
    for match, module in layers.items():
        rows = module.weight.detach().flatten(1).norm(dim=1)
        tensors[f"{stem(*match)}.dora_scale"] = (rows * 1.2).reshape(-1, *[1] * (module.weight.dim() - 1))
    return tensors


def loha(layers: Layers, seed: int = 0) -> Tensors:
    torch.manual_seed(seed)
    tensors = {}
    for match, module in layers.items():
        name, (out, into) = stem(*match), module.weight.flatten(1).shape
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
        for n in (1, 2):
            tensors[f"{name}.hada_w{n}_a"], tensors[f"{name}.hada_w{n}_b"] = (
                torch.randn(out, RANK),
                torch.randn(RANK, into),
            )
    return {key: tensor * 0.3 if "hada" in key else tensor for key, tensor in tensors.items()}


def lokr(layers: Layers, seed: int = 0, factored: bool = False) -> Tensors:
    torch.manual_seed(seed)
    tensors = {}
    for match, module in layers.items():
        name, (out, into) = stem(*match), module.weight.shape[:2]
        tensors[f"{name}.lokr_w1"] = torch.randn(4, 2) * 0.3
        inner = (out // 4, into // 2, *module.weight.shape[2:])
        if factored:
            tensors[f"{name}.lokr_w2_a"] = torch.randn(inner[0], RANK) * 0.3
            tensors[f"{name}.lokr_w2_b"] = torch.randn(RANK, inner[1] * module.weight[0, 0].numel()) * 0.3
            tensors[f"{name}.alpha"] = torch.tensor(2.0)
        else:
            tensors[f"{name}.lokr_w2"] = torch.randn(inner) * 0.3
    return tensors


def difference(layers: Layers, seed: int = 0) -> Tensors:
    torch.manual_seed(seed)
    return {f"{stem(*match)}.diff": torch.randn(module.weight.shape) * 0.1 for match, module in layers.items()}


#: Format → its tensors for some layers.
FORMATS: dict[str, Callable[..., Tensors]] = {
    "diffusers": diffusers, "old_diffusers": old_diffusers, "kohya": kohya, "dora": dora, "loha": loha, "lokr": lokr,
    "difference": difference,
}  # fmt: skip


def save(tensors: Tensors, path: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
    return path
