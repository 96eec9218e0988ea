"""Options of accel: on they do what they say, to the runs that want them alone. A new one joins with a line of CASES
and of REFUSED.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec

import pytest
from option_models import FLOW_MODELS
from tiers import slow_but
from torch import nn

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.options.lifecycle import remove_options
from composer.pipelines.build import build_pipeline
from composer.testing.conformance import Fails, same
from composer.testing.runs import SIZES

pytestmark = pytest.mark.usefixtures("one_thread")

FBC = ["accel=[first_block_cache]", "accel.first_block_cache.threshold=0.9"]
MAG = ["accel=[magcache]", "accel.magcache.ratios=flux", "accel.magcache.threshold=1", "accel.magcache.kept=0"]
SEER = ["accel=[taylorseer]", "accel.taylorseer.interval=2", "accel.taylorseer.warmup=1"]
MATH = ["accel=[attention]", "accel.attention.backend=_native_math"]
#: Families whose VAE has attention that diffusers can fuse.
KL = ("z_image", "flux2", "chroma", "lumina2")
#: Name, words, families, and how far latents may differ from those without the option, where additions are merely done
#: in another order.
#: None: less is computed, so that they must go further.
CASES = [
    ("deepcache", ["accel=[deepcache]"], ("sd", "sdxl", "ddpm"), None),
    ("tome", ["accel=[tome]"], ("sd", "sdxl"), None),
    ("first_block_cache", FBC, ("flux", "qwen_image", "ltx", "wan", "wan22"), None),
    ("magcache", MAG, ("flux", "sd3", "qwen_image", "flux2", "ltx", "wan"), None),
    ("taylorseer", SEER, ("flux", "sd3", "qwen_image", "flux2", "chroma"), None),
    ("pyramid_attention_broadcast", ["accel=[pyramid_attention_broadcast]"], ("flux", "sd3", *FLOW_MODELS), None),
    (
        "faster_cache",
        ["accel=[faster_cache]", "accel.faster_cache.end=900"],
        ("flux", "sd3", "qwen_image", "flux2", "chroma", "sana", "ltx", "wan", "wan22"),
        None,
    ),
    ("channels_last", ["accel=[channels_last]"], ("sd", "sdxl", "ddpm"), 1e-3),
    (
        "channels_last of the vae",
        ["accel=[channels_last]", "accel.channels_last.of=vae"],
        ("flux", "sd3", *FLOW_MODELS),
        1e-4,
    ),
    ("fused_qkv", ["accel=[fused_qkv]"], ("sd", "sdxl", "flux", "flux2", "chroma"), 1e-4),
    ("fused_qkv of the denoiser", ["accel=[fused_qkv]", "accel.fused_qkv.of=denoiser"], ("wan", "wan22"), 1e-4),
    ("fused_qkv of the vae", ["accel=[fused_qkv]", "accel.fused_qkv.of=vae"], ("sd3", *KL), 1e-4),
    ("attention", MATH, ("sd", "sdxl", "sd3", "flux", "ddpm", *FLOW_MODELS), 1e-3),
    ("deepcache and more", ["accel=[deepcache,fused_qkv,channels_last]"], ("sd",), None),
    ("taylorseer and attention", ["accel=[taylorseer,attention]", *SEER[1:], MATH[1]], ("flux",), None),
]
NEEDS = {"tome": [pytest.mark.skipif(find_spec("tomesd") is None, reason="tomesd is not installed")]}


NAMES = [name for name, *_ in CASES]


def marks(name, slow):
    return [*NEEDS.get(name, ()), *([pytest.mark.slow] if slow else [])]


def each(*names):
    """Each option on each family, of which all but the first are slow; and all of those that are not named, where some
    are.
    """
    return [
        pytest.param(
            words, family, most, id=f"{name}-{family}", marks=marks(name, i > 0 or name not in (names or NAMES))
        )
        for name, words, families, most in CASES
        for i, family in enumerate(families)
    ]


class Looks(composer.StepCallback):
    """latents: after each step. calls: of the denoiser's innermost layers. traits: of the models, while the run
    lasts.
    """

    media = frozenset({"image", "clip"})

    def __init__(self) -> None:
        self.latents, self.calls, self.traits = [], 0, {}

    @contextmanager
    def around(self, run):
        denoisers = [run.modules[name] for name in ("unet", "transformer", "transformer_2") if name in run.modules]
        self.traits = traits(run.modules)
        hooks = [
            layer.register_forward_hook(self.count)
            for denoiser in denoisers
            for layer in denoiser.modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def count(self, *_):
        self.calls += 1

    def after_step(self, step, latents):
        self.latents.append(latents.clone())


def traits(models):
    """Layers, their attributes, and the values of their weights with their strides."""
    results = {}
    for name, model in models.items():
        for location, layer in model.named_modules():
            processor, hooks = (
                getattr(layer, "processor", None),
                (len(layer._forward_hooks), len(layer._forward_pre_hooks)),
            )
            backend = getattr(processor, "_attention_backend", None)
            results[name, location] = type(layer), {*vars(layer)}, {*layer._modules}, hooks, type(processor), backend
        results[name] = {
            key: (value.stride(), value.double().sum().item()) for key, value in model.state_dict().items()
        }
    return results


class Bench:
    """Runs of tiny checkpoints, one a family."""

    def __init__(self, checkpoints, others) -> None:
        self.checkpoints, self.others, self.known = checkpoints, others, {}

    def model(self, family):
        if family in FLOW_MODELS:
            name, words = FLOW_MODELS[family]
            return [f"model.source={self.others[name]}", "prompt=a cat", *words]
        side = SIZES[family]
        usual = ["task=unconditional"] if family == "ddpm" else ["prompt=a cat", f"height={side}", f"width={side}"]
        return [f"model.source={self.checkpoints[family]}", *usual]

    def checked(self, family, *words):
        return check(read(compose_config(["model=local", "callbacks=[]", *self.model(family), *words])))

    def run(self, family, *words, more=()):
        looks, checked = Looks(), self.checked(family, "steps=6", *words)
        pipeline = build_pipeline(checked, [looks, *more])
        return pipeline(checked.request), looks, pipeline.family.modules

    def off(self, family, *words):
        """What such a run without any option looks like, which is the same for each."""
        if (family, words) not in self.known:
            self.known[family, words] = self.run(family, *words)[1]
        return self.known[family, words]


@pytest.fixture(scope="module")
def bench(checkpoints, others):
    yield Bench(checkpoints, others)
    remove_options()


def distance(one, other):
    return max((a - b).abs().max().item() for a, b in zip(one.latents, other.latents, strict=True))


@pytest.mark.parametrize(("words", "family", "most"), each(*NAMES[:9], "fused_qkv", "attention", "deepcache and more"))
def test_it_does_something_and_the_next_run_is_as_if_it_had_not_been(bench, words, family, most):
    plain, before, models = bench.run(family)
    known = traits(models)
    _, on, _ = bench.run(family, *words)
    again, after, _ = bench.run(family)
    if most is None:
        assert distance(before, on) > 1e-4
        assert on.calls < before.calls or words == ["accel=[tome]"]  # which leaves out tokens, not layers
    else:
        assert distance(before, on) <= most
        assert on.traits != known or words == MATH  # a setting of torch, not of the models
        assert on.calls < before.calls or "fused_qkv" not in words[0] or words[-1].endswith("of=vae")
    assert same(plain, again) and distance(before, after) == 0 and after.calls == before.calls
    assert traits(models) == known, "something was left on the models"


@pytest.mark.parametrize(("words", "family", "most"), each("tome", "magcache", "fused_qkv"))
def test_other_runs(bench, words, family, most):
    """Three images, two evaluations a step, no guidance, and half of the steps from an image."""
    flows = family in ("sd3", "flux", *FLOW_MODELS)
    kinds = [["images=3"], ["scheduler=flow_heun" if flows else "scheduler=heun"]]
    if family in FLOW_MODELS:
        kinds += [["guidance=none"]]
    elif family != "ddpm":
        kinds += [[f"task={task}", "image=sample:scene", "steps=10", "strength=0.6"] for task in ("img2img", "inpaint")]
        kinds += [
            ["guidance=none"] if family != "flux" else ["guidance=cfg", "guidance.scale=3"]
        ]  # Flux: a second forward a step
    for kind in kinds:
        off, on = bench.off(family, *kind), bench.run(family, *kind, *words)[1]
        assert distance(off, on) > 1e-5 if most is None else distance(off, on) <= most, kind


@pytest.mark.parametrize(("words", "family", "most"), each("deepcache", "first_block_cache", "fused_qkv"))
def test_a_failure_in_the_middle_leaves_nothing(bench, words, family, most):
    plain, _, models = bench.run(family)
    known = traits(models)
    with pytest.raises(ComposerError, match="a fault of its own"):
        bench.run(family, *words, more=[Fails()])
    again, _, _ = bench.run(family)
    assert same(plain, again) and traits(models) == known


REFUSED = [
    ("sd3", ["accel=[deepcache]"], "accel=deepcache: can't reach into a SD3Transformer2DModel, so it would do nothing"),
    (
        "sd",
        ["accel=[deepcache]", "accel.deepcache.interval=1"],
        "accel.deepcache.interval=1: computes every step in full",
    ),
    (
        "sd",
        ["accel=[deepcache]", "accel.deepcache.interval=x"],
        "accel.deepcache.interval=x: must be an integer, 1 or more",
    ),
    (
        "sd",
        ["accel=[deepcache]", "steps=2"],
        "accel=deepcache: computes the first 2 steps in full, so it would do nothing for 2",
    ),
    ("sd", ["accel=[deepcache]", "accel.deepcache.layers=9"], "accel.deepcache.layers=9: leaves nothing to take"),
    ("sd", ["accel=[deepcache,compile]"], "accel=deepcache: can't be together with accel=compile"),
    ("ddpm", ["accel=[tome]"], "accel=tome: can't reach into a UNet2DModel"),
    ("sd", ["accel=[tome]", "accel.tome.ratio=0.9"], "accel.tome.ratio=0.9: must be a number above 0 and at most 0.75"),
    ("sd", ["accel=[tome]", "accel.tome.downsample=1"], "accel.tome.downsample=1: this model attends at 2 and more"),
    ("sd", FBC, "accel=first_block_cache: diffusers' cache breaks on a UNet2DConditionModel"),
    ("sd3", FBC, "accel=first_block_cache: diffusers' cache breaks on a SD3Transformer2DModel"),
    ("sd", MAG, "accel=magcache: diffusers' cache hooks nothing in a UNet2DConditionModel, so it would do nothing"),
    ("ddpm", SEER, "accel=taylorseer: diffusers' cache hooks nothing in a UNet2DModel"),
    ("flux", ["accel=[magcache]"], "accel.magcache.ratios: needs its checkpoint's ratios"),
    ("sd", ["accel=[magcache]"], "accel=magcache: diffusers' cache hooks nothing in a UNet2DConditionModel"),
    (
        "flux",
        ["accel=[magcache]", "accel.magcache.ratios=[1,x]"],
        "accel.magcache.ratios=[1, 'x']: must be flux, a list of numbers, each 0 or more, or null",
    ),
    ("flux", ["accel=[taylorseer]"], "accel.taylorseer.warmup=3: leaves none of 4 steps to continue"),
    ("flux", ["accel=[faster_cache,taylorseer]"], "accel=faster_cache: can't be together with accel=taylorseer"),
    (
        "flux",
        ["accel=[faster_cache]", "accel.faster_cache.end=-1"],
        "accel.faster_cache.end=-1: must be a number, 0 or more",
    ),
    (
        "flux",
        ["accel=[pyramid_attention_broadcast]", "steps=1"],
        "accel=pyramid_attention_broadcast: a single step has no earlier one",
    ),
    (
        "flux",
        ["accel=[channels_last]"],
        "accel=channels_last: a FluxTransformer2DModel has no convolutions to speak of",
    ),
    ("ddpm", ["accel=[channels_last]", "accel.channels_last.of=vae"], "accel=channels_last: the model has no vae"),
    (
        "sd",
        ["accel=[channels_last]", "accel.channels_last.of=x"],
        "accel.channels_last.of=x: is not known (allowed: all, unet, vae)",
    ),
    ("ddpm", ["accel=[fused_qkv]"], "accel=fused_qkv: diffusers can't fuse a UNet2DModel"),
    (
        "sd3",
        ["accel=[fused_qkv]"],
        "accel=fused_qkv: diffusers leaves out this model's qk_norm and dual_attention_layers",
    ),
    (
        "sd",
        ["accel=[fused_qkv]", "memory=[attention_slicing]"],
        "accel=fused_qkv: can't be together with memory=attention_slicing",
    ),
    ("sd", ["accel=[attention]"], "accel.attention.backend: choose one (allowed: _native_math"),
    (
        "sd",
        ["accel=[attention]", "accel.attention.backend=native"],
        "accel.attention.backend=native: is what runs without the option",
    ),
    (
        "flux",
        ["accel=[attention]", "accel.attention.backend=flash_hub"],
        "accel.attention.backend=flash_hub: is not available here",
    ),
    (
        "sd",
        ["accel=[compile]", "accel.compile.mode=fast"],
        "accel.compile.mode=fast: is not known (allowed: default, reduce-overhead",
    ),
    (
        "sd",
        ["accel=[compile]", "accel.compile.mode=reduce-overhead"],
        "accel.compile.mode=reduce-overhead: records CUDA graphs",
    ),
    (
        "sd3",
        ["accel=[compile]", "accel.compile.regional=true"],
        "accel.compile.regional=True: diffusers names no blocks that repeat",
    ),
    ("sd", ["memory=[xformers]"], "memory=xformers: does nothing on cpu: it is for cuda"),
    ("z_image", FBC, "accel=first_block_cache: diffusers' cache breaks on a ZImageTransformer2DModel"),
    ("flux2", FBC, "accel=first_block_cache: diffusers' cache breaks on a Flux2Transformer2DModel"),
    ("chroma", FBC, "accel=first_block_cache: diffusers' cache breaks on a ChromaTransformer2DModel"),
    ("lumina2", MAG, "accel=magcache: diffusers' cache hooks nothing in a Lumina2Transformer2DModel"),
    ("wan22", MAG, "accel=magcache: its ratios are of all steps of one transformer, and this model has two"),
    ("wan", SEER, "accel=taylorseer: diffusers' cache hooks nothing in a WanTransformer3DModel"),
    ("z_image", ["accel=[faster_cache]"], "accel=faster_cache: diffusers' cache hooks nothing in a ZImageTransformer"),
    ("qwen_image", ["accel=[fused_qkv]"], "accel=fused_qkv: diffusers can't fuse a QwenImageTransformer2DModel"),
    ("ltx", ["accel=[fused_qkv]"], "accel=fused_qkv: diffusers can't fuse a LTXVideoTransformer3DModel"),
    ("sana", ["accel=[fused_qkv]"], "accel=fused_qkv: diffusers can't fuse a SanaTransformer2DModel"),
    ("wan", ["accel=[fused_qkv]"], "accel=fused_qkv: diffusers can't fuse a AutoencoderKLWan"),
    ("qwen_image", ["accel=[tome]"], "accel=tome: can't reach into a QwenImageTransformer2DModel"),
    ("flux2", ["accel=[deepcache]"], "accel=deepcache: can't reach into a Flux2Transformer2DModel"),
    ("sana", ["accel=[channels_last]"], "accel=channels_last: a SanaTransformer2DModel has no convolutions"),
    (
        "lumina2",
        ["accel=[compile]", "accel.compile.regional=true"],
        "accel.compile.regional=True: diffusers names no blocks that repeat",
    ),
    ("ltx", ["memory=[xformers]"], "memory=xformers: does nothing on cpu: it is for cuda"),
]


#: Families whose refusals are slow tests.
SLOW = set(FLOW_MODELS) - {"z_image"}


@pytest.mark.parametrize(("family", "words", "message"), slow_but(lambda case: case[0] not in SLOW, REFUSED))
def test_what_would_do_nothing_is_refused(bench, family, words, message):
    if "tome" in message and "downsample" in message and find_spec("tomesd") is None:
        pytest.skip("tomesd is not installed")
    with pytest.raises(ComposerError) as caught:
        checked = bench.checked(family, "device=cpu", "steps=4", *words)
        build_pipeline(checked)(checked.request)
    assert message in str(caught.value) and "\n" not in str(caught.value)
