"""LoRA files that LyCORIS writes in kohya's names: images are those of its own layers in diffusers' pipeline.

It needs `pip install lycoris-lora==4.1.3`, which agrees with constraints.txt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lora_models import STEPS, Model
from PIL import Image

from composer import compose

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]
#: Both sum the same products of fp32 in another order: a pixel may be rounded to its neighbour.
PIXEL = 1

#: Its preset for convolutions; all others are for attention and MLP.
#: That of all layers names some of diffusers' UNet twice.
CONVOLUTIONS = {"preset": "unet-convblock-only"}
#: Name → arguments of LyCORIS for sd-scripts, and the format that composer reads in its file.
ALGORITHMS: dict[str, tuple[dict[str, Any], str]] = {
    "LoRA": ({"algo": "lora"}, "LoRA"),
    "LoCon": ({"algo": "locon", "conv_dim": 4, "conv_alpha": 2, **CONVOLUTIONS}, "LoCon"),
    "LoHa": ({"algo": "loha", "conv_dim": 4}, "LoHa"),
    "Tucker LoHa": ({"algo": "loha", "conv_dim": 4, "use_tucker": True, **CONVOLUTIONS}, "LoHa"),
    "LoKr": ({"algo": "lokr", "conv_dim": 4, "factor": 4}, "LoKr"),
    "DoRA": ({"algo": "lora", "dora_wd": True}, "DoRA of LoRA"),
    "DoRA of LoHa": ({"algo": "loha", "dora_wd": True}, "DoRA of LoHa"),
    "full": ({"algo": "full"}, "full difference"),
}


def lycoris_network(pipe: Any, arguments: dict[str, Any]) -> Any:
    """LyCORIS' layers for a pipeline, with random weights."""
    kohya = pytest.importorskip("lycoris.kohya")
    network = kohya.create_network(1.0, 4, 2, None, pipe.text_encoder, pipe.unet, **{"preset": "attn-mlp", **arguments})
    network.apply_to(pipe.text_encoder, pipe.unet, True, True)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "dora_scale" in name:
                parameter.mul_(1.2)
            elif "scalar" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.15)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_file_that_lycoris_wrote_is_what_its_layers_compute(models, tmp_path: Path, name):
    arguments, kind = ALGORITHMS[name]
    model: Model = models("sd")
    pipe = model.fresh()
    network = lycoris_network(pipe, arguments)
    file = tmp_path / "lycoris.safetensors"
    network.save_weights(str(file), None, {"ss_base_model_version": "sd_v1"})
    with torch.no_grad():
        theirs = pipe(
            prompt="a cat", num_inference_steps=STEPS, height=64, width=64, generator=torch.Generator().manual_seed(7)
        ).images[0]
    before = model.image()
    result = compose(*model.words(f"lora={file}"))
    ours = result.images[0]
    assert apart(ours, theirs) <= PIXEL < apart(ours, Image.frombytes("RGB", ours.size, before))
    assert model.image() == before
    facts = read_formats(file)
    assert kind in facts, facts


def apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


def read_formats(file: Path) -> tuple[str, ...]:
    from composer.checkpoints.lora_file import read_lora

    return read_lora(file).formats
