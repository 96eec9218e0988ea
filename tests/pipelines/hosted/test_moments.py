"""What callbacks do on hosted pipelines takes effect, is refused by name, and is gone afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3InpaintPipeline
from pipelines.hosted.cases import PROMPTS, SEEDS, hosted, request
from zoo import ZOO

from composer import ComposerError, StepCallback, StopDenoising
from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.cfg_cutoff import CfgCutoff
from composer.callbacks.dynamic_threshold import DynamicThreshold
from composer.callbacks.early_stop import EarlyStop
from composer.callbacks.guidance_schedule import GuidanceSchedule
from composer.callbacks.latents_save import LatentsSave
from composer.callbacks.nan_guard import NanGuard
from composer.callbacks.preview import Preview
from composer.callbacks.trace import Trace
from composer.pipelines.hosted.call import PipelineFailure
from composer.sampling.guidance import ClassifierFree, Distilled, Guidance, Interval
from composer.sampling.guiders import Guider
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")


def pixels(result) -> list[bytes]:
    return [image.tobytes() for image in result.images]


@pytest.fixture(scope="module")
def zimage():
    return ZOO["zimage"].make()


def run(pipe, callbacks=(), guidance: Guidance | None = None, folder=None, **more):
    return hosted(pipe, callbacks, guidance, **more)(request(32, negative="b"), folder)


#: Built-in callbacks that change the image.
CHANGING = {
    "cfg_cutoff": lambda: CfgCutoff(0.5),
    "guidance_schedule": lambda: GuidanceSchedule("linear", 2.0, 6.0),
    "dynamic_threshold": lambda: DynamicThreshold(0.9, 0.5),
    "early_stop": lambda: EarlyStop(tolerance=100.0, patience=1),
}
LOOKING = {"nan_guard": NanGuard, "trace": Trace, "latents_save": LatentsSave, "preview": Preview,
           "preview_vae": lambda: Preview(decode="vae")}  # fmt: skip


@pytest.mark.parametrize("name", CHANGING)
def test_builtins_that_change_the_image_do(zimage, name):
    plain = run(zimage)
    assert pixels(run(zimage, [CHANGING[name]()])) != pixels(plain)
    assert pixels(run(zimage)) == pixels(plain), f"{name} is not gone with its run"


@pytest.mark.parametrize("name", LOOKING)
def test_builtins_that_look_change_nothing(zimage, name, tmp_path):
    plain = run(zimage)
    assert pixels(run(zimage, [LOOKING[name]()], folder=tmp_path)) == pixels(plain)
    assert name == "nan_guard" or list(tmp_path.iterdir())


#: Of `conf/guidance/apg.yaml`: with the class's own defaults it is plain guidance.
APG = {"eta": 0.0, "adaptive_projected_guidance_momentum": -0.5}
GUIDANCE = {
    "interval": Interval(4.0),
    "rescale": ClassifierFree(4.0, rescale=0.7),
    "apg": Guider("AdaptiveProjectedGuidance", 4.0, settings=APG),
    "tcfg": Guider("TangentialClassifierFreeGuidance", 4.0),
    "cfg_zero": Guider("ClassifierFreeZeroStarGuidance", 4.0),
}


@pytest.mark.parametrize("guidance", GUIDANCE.values(), ids=GUIDANCE)
def test_guidance_of_two_branches_takes_effect(zimage, guidance):
    plain, guided = run(zimage), run(zimage, guidance=guidance)
    assert pixels(guided) != pixels(plain)
    assert guided.findings["stages"][0]["rule"] == "positive first, scale less one, negated"
    assert pixels(run(zimage)) == pixels(plain)


def test_cutting_guidance_off_is_noted_to_save_nothing(zimage):
    (note,) = run(zimage, [CfgCutoff(0.5)]).notes
    assert note == "ZImagePipeline evaluates both branches at every step, so steps without guidance save no time"


@pytest.mark.parametrize("pipeline", [pytest.param("sd", marks=()), pytest.param("lumina2", marks=pytest.mark.slow)])
def test_a_cut_off_scale_is_the_positive_branch(pipeline):
    """Cut off from the start, the image is that of a run without guidance, up to the sum order of a batch of two."""
    pipe = ZOO[pipeline].make()
    cut, unguided = run(pipe, [CfgCutoff(0.0)]), run(pipe, guidance=ClassifierFree(1.0))
    a, b = (np.asarray(result.image, np.int16) for result in (cut, unguided))
    assert abs(a - b).max() <= 1  # of 255: matrix products of another batch size differ in their last bits


class Stop(StepCallback):
    def __init__(self, index: int, latents=None) -> None:
        self.index, self.latents, self.steps = index, latents, 0

    def after_step(self, step, latents):
        self.steps += 1
        if step.index == self.index:
            raise StopDenoising(self.latents and self.latents(latents))


class Decode(StepCallback):
    """Decodes after each step."""

    def around(self, run):
        from contextlib import nullcontext

        self.images = []
        return nullcontext()

    def after_step(self, step, latents):
        self.images.append(self.run.decode(latents)[0])


@pytest.mark.parametrize("name", ["sd", "zimage", pytest.param("pixart_sigma", marks=pytest.mark.slow)])
def test_stop_and_decode_agree(name):
    pipe = ZOO[name].make()
    # PixArt's sizes of other aspect ratios are for models of 256 pixels or more
    more = {"keywords": {"use_resolution_binning": False}} if name == "pixart_sigma" else {}
    decode = Decode()
    result, plain = run(pipe, [decode], **more), run(pipe, **more)
    assert pixels(result) == pixels(plain) and decode.images[-1].tobytes() == plain.image.tobytes()
    stop = Stop(1)
    assert run(pipe, [stop], **more).image.tobytes() == decode.images[1].tobytes() and stop.steps == 2
    halved = run(pipe, [Stop(1, lambda latents: latents / 2)], **more)
    assert pixels(halved) != pixels(result) and halved.findings["stages"][0]["steps"] >= 2


def test_texts_are_encoded_once_a_run():
    pipe, calls = ZOO["sd"].make(), []
    pipe.text_encoder.register_forward_hook(lambda *args: calls.append(1))
    run(pipe)
    once = len(calls)
    run(pipe, [Decode()])
    assert len(calls) == 2 * once > 0


class Early(StepCallback):
    """Changes the first latents."""

    def before_step(self, step):
        return replace(step, latents=step.latents + 1) if step.index == 0 else None


class Look(StepCallback):
    def before_step(self, step):
        return None


def test_first_latents_in_shared_storage_are_refused_by_name():
    pipe, image = StableDiffusion3InpaintPipeline(**pipelines.sd3().components), np.full((64, 64), 255, np.uint8)
    from PIL import Image

    inputs = {"image": (Image.new("RGB", (64, 64), "red"),), "mask": (Image.fromarray(image),), "strength": 1.0}
    inpainting = request(64, **inputs)
    with pytest.raises(
        ComposerError,
        match="StableDiffusion3InpaintPipeline: the first latents can't be changed by before_step, as they are its "
        "noise",
    ):
        hosted(pipe, [Early()])(inpainting)
    assert hosted(pipe, [Look()])(inpainting).findings["stages"][0]["first_latents"] is False


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (
            GuidanceSchedule(),
            "FluxPipeline: it evaluates one branch alone, with nothing to guide, so its scale can't be changed",
        ),
    ],
)
def test_a_scale_of_one_branch_is_refused(callback, words):
    with pytest.raises(ComposerError, match=words):
        run(pipelines.flux(guidance_embeds=True), [callback], Distilled(3.5), keywords={"max_sequence_length": 48})


class Conditioned(StepCallback):
    def before_step(self, step):
        return replace(step, conditioning=Conditioning(positive=Embedding(hidden=torch.ones(1, 3, 4))))


class Encodes(StepCallback):
    def before_step(self, step):
        self.run.encode(["x"], [None])


class Noised(StepCallback):
    """Asks for noise levels before there are any."""

    def around(self, run):
        run.noised(torch.zeros(1), torch.zeros(1), 0)


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (Conditioned(), "a callback changed the conditioning, and ZImagePipeline keeps its embeddings to itself"),
        (Encodes(), "a hosted pipeline encodes its texts, masks and images by itself"),
        (Noised(), "the loop of ZImagePipeline has not begun"),
    ],
)
def test_what_a_hosted_pipeline_can_not_offer_is_refused(zimage, callback, words):
    plain = run(zimage)
    with pytest.raises(ComposerError, match=words):
        run(zimage, [callback])
    assert pixels(run(zimage)) == pixels(plain)


def test_a_failure_inside_the_call_is_one_line_that_names_the_pipeline(zimage):
    with pytest.raises(PipelineFailure, match="ZImagePipeline failed in its own code: TypeError: "):
        run(zimage, keywords={"no_such": 1})
    assert "forward" not in vars(zimage.transformer)


def test_loops_of_one_call_are_stages():
    pipe, seen = ZOO["kandinsky22_combined"].make(), []

    class Stages(StepCallback):
        def before_step(self, step):
            seen.append((step.stage, step.index, step.total))

    result = hosted(pipe, [Stages()], keywords={"prior_num_inference_steps": 2})(request(64, steps=3))
    assert seen == [(0, 0, 2), (0, 1, 2), (1, 0, 3), (1, 1, 3), (1, 2, 3)]
    stages = result.findings["stages"]
    assert [(stage["pipeline"], stage["steps"]) for stage in stages] == [
        ("KandinskyV22PriorPipeline", 2),
        ("KandinskyV22Pipeline", 3),
    ]
    assert result.iterations == 5


def test_latents_of_a_prior_are_no_images():
    pipe = ZOO["kandinsky22_combined"].make()

    class DecodesAll(Decode):
        pass

    with pytest.raises(
        ComposerError, match="latents of loop 1 are no images: loop 2 of KandinskyV22CombinedPipeline follows"
    ):
        hosted(pipe, [DecodesAll()], keywords={"prior_num_inference_steps": 2})(request(64, steps=2))


def test_a_batch_is_seen_as_one(zimage):
    result = hosted(zimage, [Decode()])(request(32, batch=2, negative="b"))
    assert len(result.images) == len(SEEDS[:2]) == len(PROMPTS)
