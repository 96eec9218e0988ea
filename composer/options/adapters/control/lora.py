"""Control LoRA of FLUX.1: its layers are those of a LoRA, and the first one reads the latents of the image too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from composer.checkpoints.control_model import ControlModel
from composer.checkpoints.lora_fit import LoraFit
from composer.config.lora import control_name
from composer.config.spec import ControlSpec, LoraSpec
from composer.options.adapters.control.network import repeated
from composer.options.adapters.control.transformers import FluxControlNet


class FluxControlLora(FluxControlNet):
    """The latents of the image, which go into the transformer beside those of the result."""

    reuses_residuals = False

    def residuals(self, given: Mapping[str, Any], encoded: Tensor, scale: float) -> dict[str, Any]:
        latents = given["hidden_states"]
        return {"hidden_states": torch.cat([latents, repeated(encoded, len(latents)).to(latents)], dim=2)}


def control_loras(
    specs: Mapping[str, ControlSpec], found: Mapping[str, ControlModel]
) -> tuple[dict[str, LoraSpec], dict[str, LoraFit]]:
    """Return the control LoRA of a run as LoRA; those of scale 0 are none.

    Args:
        specs: Settings of the control models by name.
        found: The control models by name.

    Returns:
        Settings and files by the names that they have among the LoRA of the run.
    """
    loras, fits = dict[str, LoraSpec](), dict[str, LoraFit]()
    for name, spec in specs.items():
        lora = found[name].lora
        if lora is not None and spec.scale != 0:
            loras[control_name(name)] = LoraSpec(file=spec.model, revision=spec.revision, scale=spec.scale)
            fits[control_name(name)] = lora
    return loras, fits
