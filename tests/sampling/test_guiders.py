"""diffusers' guiders: against the classic pipelines that have the same guidance, and that none of them does nothing."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from callback_matrix import FAMILIES, source
from diffusers import StableDiffusionPAGPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from tiers import slow_but

import composer
from composer import ComposerError, StepCallback
from composer.checkpoints.layouts import families
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.targets import build
from composer.pipelines.build import build_pipeline
from composer.sampling.guidance import Branches, ClassifierFree, Guidance, Interval
from composer.sampling.guiders import resolve_layers
from composer.testing.conformance import same
from composer.testing.runs import PROMPTS, run, tiny

pytestmark = pytest.mark.usefixtures("one_thread")

#: Separate forwards sum in another order than one of twice the batch: 3e-5 a step at most, and 4 to 6 steps of it.
CLOSE = {"atol": 3e-4, "rtol": 1e-3}
NAMES = ("apg", "apg_mix", "mambo_g", "pag", "slg", "seg", "autoguidance", "cfg_zero", "tcfg")
#: Ones that act in a few early steps of many, which these short runs don't have.
EVERY_STEP = {
    "slg": ["guidance.settings.skip_layer_guidance_stop=1.0"],
    "apg_mix": ["guidance.settings.adaptive_projected_guidance_start_step=1"],
}


def option(name: str, *settings: str) -> Guidance:
    words = [f"guidance={name}", "guidance.scale=4", *EVERY_STEP.get(name, []), *settings]
    return build("guidance", read(compose_config(words)).guidance, Guidance)


class Latents(StepCallback):
    def __init__(self) -> None:
        self.all = []

    def after_step(self, step, latents):
        self.all.append(latents)


def latents(family: str, guidance: Guidance, **settings) -> list[torch.Tensor]:
    kept = Latents()
    run(family, {"kept": kept}, guidance=guidance, **settings)
    return kept.all


#: Each guider on a family, each family with a guider.
OFTEN = [
    ("apg", "flux"),
    ("pag", "sd"),
    ("slg", "sd3"),
    ("seg", "sd"),
    ("autoguidance", "sdxl"),
    ("cfg_zero", "flux"),
    ("tcfg", "sd3"),
]


@pytest.mark.parametrize(("name", "family"), slow_but(OFTEN, product(NAMES, ["sd", "sdxl", "sd3", "flux"])))
def test_each_does_something_and_leaves_nothing_behind(name, family):
    guidance = option(name)
    if guidance.support is not None and guidance.support not in families()[family].supports.guiders:
        pytest.skip(f"{name} can't reach into {family} models, and is refused for them")
    plain = run(family, {}, guidance=ClassifierFree(4.0))
    guided = run(family, {}, guidance=guidance)
    assert not same(guided, plain)
    assert same(run(family, {}, guidance=ClassifierFree(4.0)), plain), "it left something on the model"
    assert same(run(family, {}, guidance=guidance), guided), "it remembers an earlier run"
    assert len(run(family, {}, guidance=guidance, batch=3).images) == 3


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
def test_projection_that_keeps_everything_is_classifier_free(family):
    settings = ("eta=1.0", "adaptive_projected_guidance_momentum=null", "adaptive_projected_guidance_rescale=0.0")
    ours = latents(family, option("apg", *(f"guidance.settings.{setting}" for setting in settings)))
    for one, other in zip(ours, latents(family, ClassifierFree(4.0)), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_adaptive_projection_is_diffusers_own_function():
    """Called at each step with the branches of one pass; the momentum begins anew with every run."""

    class Reference(ClassifierFree):
        def for_run(self, denoiser):
            self.momentum = MomentumBuffer(-0.5)
            return self

        def __call__(self, step, branches: Branches):
            return normalized_guidance(
                branches.positive, branches.negative, step.guidance_scale, self.momentum, 0.0, 15.0
            )

    for one, other in zip(latents("sd", option("apg")), latents("sd", Reference(4.0)), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_perturbed_attention_is_the_classic_pipelines():
    """diffusers' guider leaves the very first step alone, so the classic pipeline gets scale 0 there too."""
    pipe = tiny("sd")
    parts = {name: part for name, part in pipe.components.items() if name not in ("image_encoder",)}
    classic = StableDiffusionPAGPipeline(**parts, requires_safety_checker=False, pag_applied_layers=["mid"])
    classic.set_progress_bar_config(disable=True)
    before = dict(pipe.unet.attn_processors)
    scales, kept = iter([0.0, 3.0, 3.0, 3.0]), []
    classic._get_pag_scale = lambda t: next(scales)
    classic(
        PROMPTS[0], num_inference_steps=4, guidance_scale=4.0, pag_scale=3.0, height=64, width=64,
        generator=torch.Generator().manual_seed(0),
        callback_on_step_end=lambda _, i, t, tensors: kept.append(tensors["latents"]) or tensors,
    )  # fmt: skip
    pipe.unet.set_attn_processor(before)
    for one, other in zip(latents("sd", option("pag")), kept, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_skipped_layers_are_the_classic_pipelines():
    """StableDiffusion3Pipeline has the same guidance built in, for batches of one."""
    pipe, kept = tiny("sd3"), []
    pipe.set_progress_bar_config(disable=True)
    scheduler = pipe.scheduler
    pipe.scheduler = type(scheduler).from_config({**scheduler.config, "use_dynamic_shifting": False})
    settings = {
        "skip_guidance_layers": [1],
        "skip_layer_guidance_scale": 2.8,
        "skip_layer_guidance_start": 0.0,
        "skip_layer_guidance_stop": 1.0,
    }
    pipe(
        PROMPTS[0], num_inference_steps=4, guidance_scale=4.0, height=32, width=32,
        generator=torch.Generator().manual_seed(0), **settings,
        callback_on_step_end=lambda _, i, t, tensors: kept.append(tensors["latents"]) or tensors,
    )  # fmt: skip
    pipe.scheduler = scheduler
    ours = latents(
        "sd3",
        option("slg", "guidance.layers=[transformer_blocks.1]", "guidance.settings.skip_layer_guidance_start=0.0"),
    )
    for one, other in zip(ours, kept, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_an_interval_asks_only_once_outside_of_it():
    requested = []

    class Counts(Interval):
        def prediction(self, step, predict):
            return super().prediction(
                step, lambda each: requested.append(each.conditioning.negative is not None) or predict(each)
            )

    inside = latents("sd", Counts(4.0, first=0.3, last=0.7), steps=5)
    assert requested == [False, False, True, False, False]
    assert torch.equal(
        latents("sd", Interval(4.0, first=0.0, last=1.0), steps=5)[-1], latents("sd", ClassifierFree(4.0), steps=5)[-1]
    )
    assert not torch.equal(inside[-1], latents("sd", ClassifierFree(4.0), steps=5)[-1])


def test_a_cut_off_takes_the_negative_branch_from_guiders_too():
    from composer.callbacks.cfg_cutoff import CfgCutoff

    cut = run("sd", {"cfg_cutoff": CfgCutoff(0.0)}, guidance=option("apg"))
    assert same(cut, run("sd", {}, guidance=ClassifierFree(1.0)))


def test_layers_in_the_middle():
    assert resolve_layers(tiny("sd").unet, "auto") == {"mid_block.attentions.0.transformer_blocks": [0]}
    assert resolve_layers(tiny("sd3").transformer, ["transformer_blocks.1", "transformer_blocks.0"]) == {
        "transformer_blocks": [1, 0]
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["guidance=pag", "task=unconditional"], "guidance=pag: can't reach into ddpm models (allowed: sd, sdxl)"),
        (["guidance=cfg", "task=unconditional"], "guidance=cfg: ddpm takes no prompt, so there is nothing to guide"),
        (["guidance=apg", "guidance.settings.start=2"],
            "guidance.settings: AdaptiveProjectedGuidance refuses them: Expected `start`"),
        (["guidance=apg", "guidance.guider=ApgGuidance"], "guidance.guider=ApgGuidance: diffusers has no such guider."),
        (["guidance=apg", "+guidance.layers=auto"],
            "guidance.layers=auto: AdaptiveProjectedGuidance weakens no layers"),
        (["guidance=apg", "guidance.guider=FrequencyDecoupledGuidance"],
            "guidance.guider=FrequencyDecoupledGuidance: has a scale for each frequency, where a run here has one"),
        (["guidance=apg", "guidance.guider=LTX2Guidance"],
            "guidance.guider=LTX2Guidance: guides the clip and the sound of LTX-2"),
        (["guidance=interval", "guidance.last=0.1"], "guidance.last=0.1: must be between first=0.2 and 1"),
    ],
)  # fmt: skip
def test_what_would_do_nothing_is_refused(words, message):
    with pytest.raises(ComposerError) as caught:
        build_pipeline(check(read(compose_config(words))))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ComposerError, match=r"guidance.layers=mid_block.attn: the model has no such transformer block"):
        run("sd", {}, guidance=option("pag", "guidance.layers=[mid_block.attn]"))


def test_blur_that_assumes_square_images_says_so(compose):
    done = compose("guidance=seg", "height=64", "steps=3")
    assert done.code == 2 and "guidance=seg: blurs as if every image were square" in done.err


#: Families of flow transformers, of images and of clips.
FLOWS = ("z_image", "qwen_image", "flux2", "chroma", "sana", "lumina2", "wan", "ltx")


def digest(*words: str) -> list[bytes]:
    media = composer.compose(*words).media
    return [frame.tobytes() for medium in media for frame in getattr(medium, "frames", [medium])]


@pytest.mark.parametrize("family", slow_but([], FLOWS))
def test_each_guides_flow_transformers_or_is_refused(family):
    """Otherwise than plain guidance, and nothing is left behind."""
    name, words = FAMILIES[family]
    run = ("model=local", f"model.source={source(name)}", "steps=3", "prompt=a cat", "negative_prompt=a dog", *words)
    plain, seen = digest(*run, "guidance=cfg", "guidance.scale=4"), {}
    for guider in NAMES:
        guided = (*run, f"guidance={guider}", "guidance.scale=4", *EVERY_STEP.get(guider, []))
        support = build("guidance", read(compose_config([f"guidance={guider}", "guidance.scale=4"])).guidance, Guidance)
        if support.support is None or support.support in families()[family].supports.guiders:
            seen[guider] = digest(*guided)
            continue
        with pytest.raises(ComposerError, match=f"guidance={guider}: can't reach into {family} models"):
            composer.check(*guided)
    assert all(pixels != plain for pixels in seen.values()), [one for one, pixels in seen.items() if pixels == plain]
    assert len(seen) >= 5 and digest(*run, "guidance=cfg", "guidance.scale=4") == plain
