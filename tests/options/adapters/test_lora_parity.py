"""LoRA is what diffusers makes of it, bit for bit, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import lora_files
import pytest
import torch
from tiers import slow_but

from composer import compose
from composer.options.lifecycle import clear_models
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILIES = ("sd", "sdxl", "sd3", "flux")
SIDES = {"flux": 32}
TEXT = {"sd": ("text_encoder",), "sdxl": ("text_encoder", "text_encoder_2"), "sd3": ("text_encoder", "text_encoder_2")}
STEPS = 2


class Model:
    """A tiny checkpoint, two LoRA files for it, and its images by both ways."""

    def __init__(self, family: str, root: Path) -> None:
        self.family, self.side, self.root = family, SIDES.get(family, 64), root
        self.source = pipelines.save(family, root / family)
        self.cls = type(pipelines.MAKERS[family]())
        pipe = self.fresh()
        self.components = ("unet", "transformer", *TEXT.get(family, ("text_encoder",)))
        with_text, without = lora_files.layers_of(pipe, self.components), lora_files.layers_of(pipe)
        self.one = lora_files.save(lora_files.diffusers(with_text), root / f"{family}-one.safetensors")
        write = lora_files.kohya if hasattr(pipe, "unet") else lora_files.diffusers
        self.two = lora_files.save(write(without, seed=5), root / f"{family}-two.safetensors")
        self.loadable = [
            name for name in self.components if name in pipe._lora_loadable_modules and hasattr(pipe, name)
        ]

    def fresh(self) -> Any:
        diffusers.utils.logging.disable_progress_bar()
        pipe = self.cls.from_pretrained(self.source)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def classic(self, *loads: tuple[Path, Any]) -> bytes:
        pipe, names = self.fresh(), []
        for number, (file, _) in enumerate(loads):
            names.append(f"adapter_{number}")
            pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=names[-1])
        pipe.set_adapters(names, [scale for _, scale in loads])
        more = {"max_sequence_length": 48} if self.family == "flux" else {}
        generator = torch.Generator().manual_seed(7)
        images = pipe(
            "a cat", num_inference_steps=STEPS, height=self.side, width=self.side, generator=generator, **more
        )
        return images.images[0].tobytes()

    def image(self, *words: str) -> bytes:
        return compose(*self.words(*words)).images[0].tobytes()

    def words(self, *words: str) -> list[str]:
        size = [f"height={self.side}", f"width={self.side}", f"steps={STEPS}", "seed=7", "callbacks=[]"]
        return ["model=local", f"model.source={self.source}", "prompt=a cat", *size, *words]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root, written = tmp_path_factory.mktemp("lora"), {}

    def model(family: str) -> Model:
        if family not in written:
            written[family] = Model(family, root)
        return written[family]

    yield model
    clear_models()


def single(model: Model):
    return [f"lora={model.one}", "lora.scale=0.7"], [(model.one, 0.7)]


def stack(model: Model):
    words = [f"lora.a={model.one}", "lora.a.scale=0.7", f"lora.b={model.two}", "lora.b.scale=-0.3"]
    return words, [(model.one, 0.7), (model.two, -0.3)]


def by_component(model: Model):
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
