"""Options of accel: on they do what they say, to the run that has them alone. A new one joins with a line of CASES and one of REFUSED."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec

import pytest
import torch
from torch import nn

import composer
from composer.accel.deepcache import DeepCache, deep
from composer.accel.hooking import Forwards
from composer.api import compose_config
from composer.build import build_pipeline
from composer.check import check
from composer.config import read
from composer.errors import ComposerError
from composer.fitting import loosen
from composer.residue import Traits
from composer.testing import pipelines
from composer.testing.conformance import Fails, same
from composer.testing.runs import SIZES, TASKS, inputs

pytestmark = pytest.mark.usefixtures("one_thread")

FBC = ["accel=[first_block_cache]", "accel.first_block_cache.threshold=0.9"]
MAG = ["accel=[magcache]", "accel.magcache.ratios=flux", "accel.magcache.threshold=1"]
SEER = ["accel=[taylorseer]", "accel.taylorseer.interval=2", "accel.taylorseer.warmup=1"]
MATH = ["accel=[attention]", "accel.attention.backend=_native_math"]
#: name, words, families, how far latents may go from those without it: other orders of sums; None where less is computed, so that they must.
CASES = [
    ("deepcache", ["accel=[deepcache]"], ("sd", "sdxl", "ddpm"), None),
    ("tome", ["accel=[tome]"], ("sd", "sdxl"), None),
    ("first_block_cache", FBC, ("flux",), None),
    ("magcache", MAG, ("flux", "sd3"), None),
    ("taylorseer", SEER, ("flux", "sd3"), None),
    ("pyramid_attention_broadcast", ["accel=[pyramid_attention_broadcast]"], ("flux", "sd3"), None),
    ("faster_cache", ["accel=[faster_cache]"], ("flux", "sd3"), None),
    ("channels_last", ["accel=[channels_last]"], ("sd", "sdxl", "ddpm"), 1e-3),
    ("channels_last of a vae", ["accel=[channels_last]", "accel.channels_last.of=vae"], ("flux", "sd3"), 0),
    ("fused_qkv", ["accel=[fused_qkv]"], ("sd", "sdxl", "flux"), 1e-5),
    ("fused_qkv of a vae", ["accel=[fused_qkv]", "accel.fused_qkv.of=vae"], ("sd3",), 0),
    ("attention", MATH, ("sd", "sdxl", "sd3", "flux", "ddpm"), 1e-3),
    ("deepcache, fused", ["accel=[deepcache,fused_qkv,channels_last]"], ("sd",), None),
    ("taylorseer, math", ["accel=[taylorseer,attention]", *SEER[1:], MATH[1]], ("flux",), None),
    ("compile, some blocks", ["accel=[compile]", "accel.compile.regional=true"], ("flux",), 1e-4),
]
EACH = [
    pytest.param(words, family, most, id=f"{name}-{family}", marks=[pytest.mark.skipif("tome" in name and not find_spec("tomesd"), reason="no tomesd")])
    for name, words, families, most in CASES
    for family in families
]  # fmt: skip


class Looks(composer.StepCallback):
    """latents: after each step. calls: of the denoiser's innermost layers. traits: all that can differ in a model, while the run lasts."""

    def __init__(self) -> None:
        self.latents, self.calls, self.traits = [], 0, {}

    @contextmanager
    def around(self, run):
        denoiser = run.modules.get("unet") or run.modules["transformer"]
        layers = [module for module in denoiser.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
        hooks = [layer.register_forward_hook(self.count) for layer in layers]
        self.traits = traits(run.modules)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def count(self, *_):
        self.calls += 1

    def after_step(self, step, latents):
        self.latents.append(latents.clone())


class Plain(composer.StepCallback):
    """latents: after each step, and nothing hooked in."""

    def __init__(self) -> None:
        self.latents, self.calls, self.traits = [], 0, {}

    def before_step(self, step):
        if step.index == 0:
            self.traits = traits(self.run.modules)

    def around(self, run):
        self.run = run
        return super().around(run)

    def after_step(self, step, latents):
        self.latents.append(latents.clone())


def traits(models):
    """Layers, what they were given of their own, and the numbers of their weights with how they lie."""
    found = {}
    for name, model in models.items():
        for place, module in model.named_modules():
            own = {key for key in vars(module) if not key.startswith("_compiled")} - {"processor", "_diffusers_hook"}
            hooks = [len(getattr(module, kind)) for kind in ("_forward_hooks", "_forward_pre_hooks")]
            state = getattr(getattr(module, "processor", None), "_attention_backend", None), "_diffusers_hook" in vars(module)
            found[name, place] = (
                type(module),
                own,
                hooks,
                getattr(module, "_compiled_call_impl", None),
                type(getattr(module, "processor", None)),
                state,
            )
        found[name] = {key: (value.stride(), value.double().sum().item()) for key, value in model.state_dict().items()}
    return found  # fmt: skip


class Bench:
    def __init__(self, checkpoints) -> None:
        self.checkpoints = checkpoints

    def checked(self, family, *words, **values):
        side = SIZES[family]
        text = ["task=unconditional"] if family == "ddpm" else ["prompt=a cat", f"height={side}", f"width={side}"]
        return check(read(compose_config(["model=local", f"model.source={self.checkpoints[family]}", "callbacks=[]", *text, *words])))

    def run(self, family, *words, look=Looks, more=()):
        looks, checked = look(), self.checked(family, "steps=6", *words)
        pipeline = build_pipeline(checked, [looks, *more])
        return pipeline(checked.request), looks, pipeline.family.modules


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("accel")
    yield Bench({family: pipelines.save(family, root / family) for family in SIZES})
    loosen()


def distance(one, other):
    return max((a - b).abs().max().item() for a, b in zip(one.latents, other.latents, strict=True))


@pytest.mark.parametrize(("words", "family", "most"), EACH)
def test_it_does_something_and_the_next_run_is_as_if_it_had_not_been(bench, words, family, most):
    look = Plain if "compile" in words[0] else Looks  # torch compiles what hooks count anew
    plain, before, models = bench.run(family, look=look)
    known = traits(models)
    _, on, _ = bench.run(family, *words, look=look)
    again, after, _ = bench.run(family, look=look)
    assert distance(before, on) > 1e-4 if most is None else distance(before, on) <= most
    assert on.calls < before.calls or "tome" in words[0] if most is None else on.traits != before.traits or words is MATH
    assert same(plain, again) and distance(before, after) == 0 and after.calls == before.calls
    assert traits(models) == known, "something was left on the models"


@pytest.mark.parametrize(("words", "family", "most"), [each for each in EACH if "compile" not in each.id])
def test_with_a_batch_a_second_order_scheduler_and_a_picture_to_start_from(bench, words, family, most):
    heun = "scheduler=flow_heun" if family in ("sd3", "flux") else "scheduler=heun"
    for more in ([heun], ["images=3"], ["steps=5"]):
        _, off, _ = bench.run(family, *more)
        _, on, _ = bench.run(family, *words, *more)
        assert distance(off, on) > 1e-4 if most is None else distance(off, on) <= most
    _, alone, _ = bench.run(family, *words, "images=3")
    assert len(alone.latents) == 6


@pytest.mark.parametrize(("words", "family", "most"), [each for each in EACH if "compile" not in each.id])
def test_a_failure_in_the_middle_leaves_nothing(bench, words, family, most):
    plain, _, models = bench.run(family)
    known = traits(models)
    with pytest.raises(ComposerError, match="a fault of its own"):
        bench.run(family, *words, more=[Fails()])
    again, _, _ = bench.run(family)
    assert same(plain, again) and traits(models) == known
