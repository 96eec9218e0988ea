"""Merged LoRA of every format: against PEFT's own layers, and files that PEFT itself wrote."""

from __future__ import annotations

import lora_files
import peft
import pytest
import torch
from lora_models import Model
from safetensors.torch import load_file
from tiers import slow_but
from torch import nn

from composer import compose
from composer.checkpoints.lora_file import configured_scaling, read_lora
from composer.checkpoints.lora_fit import fit_lora
from composer.options.adapters.lora_change import changed_weight
from composer.options.adapters.lora_merge import MergedLoras
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
#: PEFT adds the change to a layer's output, or multiplies factors in another order: both sum up to 16 * 36 products of
#: numbers below 10 in fp32, whose rounding errors are of 6e-8 each.
TOLERANCE = dict(atol=1e-4, rtol=1e-5)
#: Name → layer, PEFT's settings.
CASES = {
    "LoRA": (nn.Linear(8, 12), peft.LoraConfig(r=4, lora_alpha=6, target_modules=["layer"])),
    "rank-stabilised": (nn.Linear(8, 12), peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True,
            target_modules=["layer"])),
    "LoCon": (nn.Conv2d(8, 12, 3), peft.LoraConfig(r=4, lora_alpha=6, target_modules=["layer"])),
    "DoRA": (nn.Linear(8, 12), peft.LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=["layer"])),
    "LoHa": (nn.Linear(8, 12), peft.LoHaConfig(r=4, alpha=6, target_modules=["layer"])),
    "LoHa of a convolution": (nn.Conv2d(8, 12, 3), peft.LoHaConfig(r=4, alpha=6, target_modules=["layer"])),
    "Tucker LoHa": (
        nn.Conv2d(8, 12, 3), peft.LoHaConfig(r=4, alpha=6, use_effective_conv2d=True, target_modules=["layer"]),
    ),
    "LoKr": (nn.Linear(8, 12), peft.LoKrConfig(r=1, alpha=6, target_modules=["layer"])),
    "factored LoKr": (
        nn.Linear(32, 32), peft.LoKrConfig(r=2, alpha=6, decompose_both=True, decompose_factor=4,
            target_modules=["layer"]),
    ),
    "LoKr of a convolution": (nn.Conv2d(16, 16, 3), peft.LoKrConfig(r=2, alpha=6, target_modules=["layer"])),
}  # fmt: skip


class Wrapper(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_pefts_layers_compute(tmp_path, name):
    """PEFT writes the file, and its weights are compared with those that composer merges."""
    layer, config = CASES[name]
    torch.manual_seed(0)
    weight = layer.weight.detach().clone()
    model = peft.get_peft_model(Wrapper(layer), config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(parameter * 1.3 if "magnitude" in key else torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    file = read_lora(tmp_path / "adapter_model.safetensors")
    (layer_of_file,) = file.layers
    tensors = load_file(file.path)
    factors = {role: tensors[key] for role, key in layer_of_file.tensors.items()}
    scaling = configured_scaling(file.config, "", "layer", layer_of_file.rank) or 1.0
    merged = changed_weight(weight, factors, scaling, 1.0)
    expected = model.merge_and_unload().layer.weight.detach()
    torch.testing.assert_close(merged, expected, **TOLERANCE)
    assert not torch.equal(merged, weight) and torch.equal(changed_weight(weight, factors, scaling, 0.0), weight)


FORMATS = {
    **lora_files.FORMATS, "factored LoKr": lambda layers: lora_files.lokr(layers, factored=True),
    "LoCon": lambda layers: lora_files.kohya(lora_files.layers_of(pipelines.sd(), pattern=lora_files.CONVOLUTIONS)),
}  # fmt: skip


@pytest.mark.parametrize("name", slow_but(["dora", "lokr", "old_diffusers"], FORMATS))
def test_a_file_of_every_format_is_applied_and_removed(models, tmp_path, name):
    model: Model = models("sd")
    file = lora_files.save(FORMATS[name](lora_files.layers_of(pipelines.sd())), tmp_path / "x.safetensors")
    before = model.image()
    assert model.image(f"lora={file}") != before == model.image(f"lora={file}", "lora.scale=0")
    assert model.image() == before


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "LoCon"])
def test_every_layer_of_a_file_changes_its_own_layer(models, tmp_path, name):
    from composer.checkpoints.find import find_checkpoint
    from composer.config.spec import ModelSpec

    model: Model = models("sd")
    pipe = pipelines.sd()
    layers = lora_files.layers_of(pipe)
    file = lora_files.save(FORMATS[name](layers), tmp_path / "x.safetensors")
    fit = fit_lora("lora", read_lora(file), find_checkpoint(ModelSpec(name="x", source=str(model.source))))
    before = {path: weight.detach().clone() for path, weight in pipe.unet.named_parameters()}
    merged = MergedLoras({"unet": pipe.unet}, {"": fit}, {"": load_file(file)})
    merged.set_scales({"": {"unet": 0.5}})
    changed = {path for path, weight in pipe.unet.named_parameters() if not torch.equal(weight, before[path])}
    assert changed == {f"{path}.weight" for _, path in layers}
    merged.restore()
    assert all(torch.equal(weight, before[path]) for path, weight in pipe.unet.named_parameters())


def test_a_file_that_peft_wrote_for_a_unet(models, tmp_path):
    """A directory with adapter_model.safetensors, whose alpha is in the JSON file beside it."""
    model: Model = models("sd")
    config = peft.LoraConfig(r=4, lora_alpha=16, init_lora_weights=False, target_modules=["to_q", "to_v"])
    torch.manual_seed(0)
    peft.get_peft_model(pipelines.sd().unet, config).save_pretrained(tmp_path)
    before = model.image()
    assert model.image(f"lora={tmp_path}") != before == model.image()
    record = compose(*model.words(f"lora={tmp_path}")).record
    assert record["lora"]["lora"]["method"] == "merge" and len(record["lora"]["lora"]["sha256"]) == 64
