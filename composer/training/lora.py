"""LoRA: small changes to the linear layers of a denoiser's attention blocks. https://arxiv.org/abs/2106.09685"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from composer.checkpoints.lora_file import ADAPTER_CONFIG
from composer.errors import ComposerError
from composer.options.adapters.lora_peft import ModelState
from composer.options.lifecycle import apply_options
from composer.pipelines.pipeline import Pipeline, seeded
from composer.system.lazy_imports import bind_to_packages
from composer.training.order import derive_seed
from composer.training.spec import LoraTraining, TrainSpec

#: Blocks whose layers are changed: those of UNets, and those of transformers.
_BLOCKS = re.compile(r"(?:^|[._])(?:attentions|transformer_blocks)\.")
#: Modulation layers of transformers, which are left as they are.
_NORM = re.compile(r"(?:^|\.)norm")
#: Name of the adapter in PEFT.
_ADAPTER = "learned"


class LearnedLora:
    """The factors of a LoRA in a denoiser.

    Args:
        component: Name of the denoiser.
        model: The denoiser, with PEFT's layers.
        config: PEFT's settings.
    """

    text = False

    def __init__(self, component: str, model: nn.Module, config: Mapping[str, Any]) -> None:
        self.component, self.model, self.config = component, model, dict(config)
        self.parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    def tensors(self) -> dict[str, Tensor]:
        """Return the factors as diffusers names them."""
        names = {name: name.replace(f".{_ADAPTER}.", ".") for name in self.parameters}
        return {
            f"{self.component}.{names[name]}": weight.detach().cpu().clone().contiguous()
            for name, weight in self.parameters.items()
        }

    def metadata(self) -> dict[str, str]:
        """Return PEFT's settings as diffusers stores them."""
        return {
            ADAPTER_CONFIG: json.dumps(
                {f"{self.component}.{key}": value for key, value in self.config.items()}, sort_keys=True
            )
        }


class LoraMethod:
    """`compose train lora`."""

    file_name = "lora.safetensors"
    config_key = "lora"

    @contextmanager
    def attached(self, pipeline: Pipeline, spec: TrainSpec) -> Iterator[LearnedLora]:
        """Put factors beside the layers of the denoiser.

        Args:
            pipeline: The pipeline.
            spec: Settings of the training.

        Yields:
            The factors.
        """
        bind_to_packages()
        from peft import LoraConfig

        assert isinstance(spec, LoraTraining)
        family = pipeline.family
        apply_options(family.pipe, {}, pipeline.device)
        model: Any = family.denoiser
        layers = target_layers(model)
        alpha: Any = spec.rank if spec.alpha is None else spec.alpha  # PEFT annotates an integer, and divides it
        config = LoraConfig(r=spec.rank, lora_alpha=alpha, target_modules=layers, init_lora_weights="gaussian")
        before = ModelState(model)
        try:
            model.requires_grad_(False)
            with seeded(derive_seed(spec.seed, "lora")):
                model.add_adapter(config, adapter_name=_ADAPTER)
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.float()
            stored = {"r": spec.rank, "lora_alpha": alpha, "target_modules": sorted(layers)}
            yield LearnedLora(family.denoiser_name, model, stored)
        finally:
            if hasattr(model, "peft_config"):
                model.unload_lora()
            before.restore()


def target_layers(model: nn.Module) -> list[str]:
    """List the layers that a LoRA changes: all linear ones of attention blocks, but for their modulation.

    Args:
        model: A denoiser.

    Returns:
        Paths of the layers.

    Raises:
        ComposerError: It has none.
    """
    layers = [
        path for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and _BLOCKS.search(path) and not _NORM.search(path)
    ]  # fmt: skip
    if not layers:
        raise ComposerError("train", "lora", f"{type(model).__name__} has no attention blocks to change")
    return layers
