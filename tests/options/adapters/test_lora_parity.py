"""LoRA is what diffusers makes of it, bit for bit, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lora_models import FAMILIES, Model
from tiers import slow_but

from composer import compose

pytestmark = pytest.mark.usefixtures("one_thread")


def single(model: Model):
    return [f"lora={model.one}", "lora.scale=0.7"], [(model.one, 0.7)]


def stack(model: Model):
    words = [f"lora.a={model.one}", "lora.a.scale=0.7", f"lora.b={model.two}", "lora.b.scale=-0.3"]
    return words, [(model.one, 0.7), (model.two, -0.3)]


def by_component(model: Model):
    if not model.family.text:  # the denoiser is the only one that its pipeline loads LoRA for
        return [f"lora={model.one}", "lora.scale=0.9", "lora.scale.transformer=0.5"], [
            (model.one, {"transformer": 0.5})
        ]
    scales = {name: 0.0 if name == "text_encoder" else 0.5 for name in model.loadable}
    return [f"lora={model.one}", "lora.scale=0.5", "lora.scale.text_encoder=0"], [(model.one, scales)]


CASES = [(family, case) for family in FAMILIES for case in (single, stack, by_component)]
STANDARD = [("sd", stack), ("sdxl", single), ("sd3", by_component), ("flux", single)]


@pytest.mark.parametrize(("family", "case"), slow_but(STANDARD, CASES))
def test_it_equals_diffusers_and_the_run_after_equals_the_run_before(models, family, case):
    model = models(family)
    words, loads = case(model)
    before = model.image()
    assert model.image(*words) == model.classic(*loads) != before
    assert model.image() == before


@pytest.mark.parametrize("method", ["peft", "merge"])
@pytest.mark.parametrize("family", slow_but(["sd", "flux"], FAMILIES))
def test_scale_0_is_none_and_two_scales_differ(models, family, method):
    model = models(family)
    words, before = [f"lora={model.one}", f"lora.method={method}"], model.image()
    images = [model.image(*words, f"lora.scale={scale}") for scale in (0, 0.5, 1)]
    assert images[0] == before and len(set(images)) == 3
    assert model.image() == before


@pytest.mark.parametrize("method", ["peft", "merge"])
@pytest.mark.parametrize("family", slow_but(["sd"], FAMILIES))
def test_models_are_as_before_to_the_bit(models, family, method):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.pipelines.build import build_pipeline

    model = models(family)
    pipe = build_pipeline(check(read(compose_config(model.words())))).family.pipe
    model.image()  # libraries note on some models that they have run
    before = state(pipe)
    model.image(f"lora.a={model.one}", f"lora.b={model.two}", f"lora.a.method={method}", f"lora.b.method={method}")
    model.image()
    after = state(pipe)
    assert before.keys() == after.keys()
    changed = [
        key
        for key, (weight, values, *rest) in before.items()
        if after[key][0] is not weight or after[key][2:] != tuple(rest)
    ]
    assert not changed and all(torch.equal(values, after[key][0].detach()) for key, (_, values, *_) in before.items())


def state(pipe: Any) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Every weight: the tensor itself, its values, its gradient flag; and the attributes of its model."""
    models = {name: model for name, model in pipe.components.items() if isinstance(model, torch.nn.Module)}
    return {
        (name, path): (weight, weight.detach().clone(), weight.requires_grad, model.training, sorted(vars(model)))
        for name, model in models.items()
        for path, weight in model.named_parameters()
    }


@pytest.mark.parametrize("method", ["peft", "merge"])
@pytest.mark.parametrize(("start", "end", "of"), [(0, 0.5, "begin"), (0.5, 1, "end")])
def test_a_part_of_the_steps(models, method, start, end, of):
    """The latents up to the switch, or from it on, are those of the run with or without the LoRA."""
    model, words = models("sd"), [f"lora={models('sd').two}", f"lora.method={method}", "steps=4", "callbacks=[trace]"]
    full, plain = trace(model, *words), trace(model, "steps=4", "callbacks=[trace]")
    part = trace(model, *words, f"lora.start={start}", f"lora.end={end}")
    first, other = (full, plain) if of == "begin" else (plain, full)
    assert part[:2] == first[:2] and part[2:] != first[2:] and part[2:] != other[2:]


def trace(model: Model, *words: str) -> list[str]:
    """A hash of the latents after each step."""
    from composer import StepCallback

    class Hashes(StepCallback):
        def __init__(self) -> None:
            self.found: list[bytes] = []

        def after_step(self, step, latents):
            self.found.append(latents.numpy().tobytes())

    hashes = Hashes()
    compose(*[word for word in model.words(*words) if not word.startswith("callbacks")], callbacks=[hashes])
    return hashes.found
