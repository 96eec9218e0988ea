"""Families of clips against diffusers' own pipelines: latents after every step, pixels before postprocessing, and each
frame, bit for bit."""

from __future__ import annotations

import inspect
from functools import cache, partial

import diffusers
import pytest
import torch
from flow_cases import OTHER_VALUES, RAISES, SCALES, SIDE, STEPS, VIDEOS, VideoCase
from runs import PROMPTS, SEEDS, Recorder, generators, image, scheduler_of
from test_flow_families import family_of
from tiers import slow_but
from zoo import ZOO
from zoo.entry import seeded
from zoo.ltx import ltx

from composer import StepCallback
from composer.callbacks.request import Request
from composer.pipelines.pipeline import Pipeline
from composer.sampling.guidance import ClassifierFree
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.tasks.image2video import Image2Video
from composer.tasks.text2video import Text2Video

FRAMES, FPS, NEGATIVE = 9, 16, "blurry"


MAKERS = {"ltx_denoising_vae": seeded(lambda: ltx(timestep_conditioning=True))}  # LTX-Video's later VAEs


@cache
def tiny(name: str):
    return MAKERS[name]() if name in MAKERS else ZOO[name].make()


def ours(family, case: VideoCase, option: str, scale: float, batch: int, **callbacks):
    """Latents after each step, the clips, and a fresh scheduler like the one that was used."""
    original = family.pipe.scheduler.config
    cls, settings, of_step = scheduler_parts(scheduler_of(option), type(family.pipe.scheduler).__name__)
    recorder, task = Recorder(), Image2Video() if case.given else Text2Video()
    pipeline = Pipeline(
        family=family, task=task, make_scheduler=lambda: make_scheduler(cls, original, settings),
        guidance=ClassifierFree(scale), step_settings=of_step, callbacks={"recorder": recorder, **callbacks},
    )  # fmt: skip
    request = Request(
        prompts=PROMPTS[:batch], negative_prompts=(NEGATIVE,) * batch, seeds=SEEDS[:batch], steps=STEPS, height=SIDE,
        width=SIDE,
        inputs={"frames": FRAMES, "fps": FPS, "latent_frames": 3, "arguments": case.arguments} | images(case, batch),
    )  # fmt: skip
    return recorder.latents, pipeline(request).media, make_scheduler(cls, original, settings)


def images(case: VideoCase, batch: int):
    """Of other sizes than the clip, which both scale."""
    return {key: (image(2 * SIDE, seed),) * batch for seed, key in enumerate(case.given)}


def theirs(pipe, case: VideoCase, scheduler, scale: float, batch: int, handed: bool = False):
    original, pipe.scheduler, latents = pipe.scheduler, scheduler, []
    pipe.set_progress_bar_config(disable=True)
    given = {key: list(value) if case.listed else value[0] for key, value in images(case, batch).items()}
    more = {**case.arguments, **given}
    if "frame_rate" in inspect.signature(pipe.__call__).parameters:
        more["frame_rate"] = FPS
    generator = generators(batch) if len(case.batches) > 1 else generators(1)[0]
    if handed:  # diffusers' pipelines keep their generator from schedulers that add noise
        scheduler.step = partial(scheduler.step, generator=generator)
    try:
        output = pipe(
            prompt=list(PROMPTS[:batch]), negative_prompt=[NEGATIVE] * batch, height=SIDE, width=SIDE,
            num_frames=FRAMES,
            generator=generator, num_inference_steps=STEPS,
            guidance_scale=scale, output_type="pil",
            callback_on_step_end=lambda _pipe, _i, _t, tensors: latents.append(tensors["latents"].clone()) or {},
            **more,
        )  # fmt: skip
    finally:
        pipe.scheduler = original
    return latents, output.frames


def compare(name: str, scale: float, batch: int, monkeypatch, option: str = "default", handed: bool = False) -> None:
    case = VIDEOS[name]
    pipe, pixels = tiny(case.zoo), []
    other = getattr(diffusers, case.pipeline)(**pipe.components, **settings(pipe)) if case.pipeline else pipe
    for processor in {pipe.video_processor, other.video_processor}:
        postprocess = processor.postprocess_video
        monkeypatch.setattr(
            processor,
            "postprocess_video",
            lambda video, _own=postprocess, **kw: pixels.append(video) or _own(video, **kw),
        )
    latents, clips, scheduler = ours(family_of(case.family or name, pipe), case, option, scale, batch)
    their_latents, their_clips = theirs(other, case, scheduler, scale, batch, handed)
    assert len(latents) == len(their_latents) >= STEPS
    for mine, other_ones in zip(latents, their_latents):
        assert torch.equal(mine[:, :, case.replaced :], other_ones[:, :, case.replaced :]) and mine.isfinite().all()
    assert len(pixels) == 2 and torch.equal(*pixels), "pixels before postprocessing differ"
    assert [len(clip.frames) for clip in clips] == [FRAMES] * batch
    for clip, frames in zip(clips, their_clips, strict=True):
        assert [frame.tobytes() for frame in clip.frames] == [frame.tobytes() for frame in frames]


def settings(pipe):
    """Of the pipeline's class, beside its components."""
    return {name: value for name, value in pipe.config.items() if name in ("boundary_ratio", "expand_timesteps")}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "batch"), [(name, batch) for name, case in VIDEOS.items() for batch in case.batches])
def test_family_is_bit_equal(name, scale, batch, monkeypatch):
    compare(name, scale, batch, monkeypatch)


OTHERS = [(name, option) for name, case in VIDEOS.items() for option in case.options()]


@pytest.mark.parametrize(("name", "option"), slow_but([("wan", "flow_heun"), ("ltx", "flow_unipc")], OTHERS))
def test_other_schedulers_are_bit_equal_or_diffusers_raises(name, option, monkeypatch):
    mark = VIDEOS[name].options()[option]
    if mark in RAISES:
        with pytest.raises((ValueError, TypeError, AttributeError), match=RAISES[mark][0]):
            compare(name, SCALES[-1], 1, monkeypatch, option)
    elif mark == OTHER_VALUES:
        with pytest.raises(AssertionError):
            compare(name, SCALES[-1], 1, monkeypatch, option, handed=True)
    else:
        compare(name, SCALES[-1], 2, monkeypatch, option, handed=mark == "g")


def test_the_second_scale_is_used():
    family = family_of("wan", tiny("wan_two_experts"))
    one, other = (ours(family, VIDEOS[name], "default", SCALES[-1], 1)[0] for name in ("wan22", "wan22_scales"))
    same = [torch.equal(*pair) for pair in zip(one, other)]
    assert same[0] and not same[-1], "the first transformer keeps the run's scale, the second one does not"


class Decodes(StepCallback):
    """As a preview does."""

    media = frozenset({"clip"})

    def after_step(self, step, latents):
        self.run.decode(latents)


def test_previews_take_no_noise_from_the_generators_of_the_result():
    family, case = family_of("ltx", tiny("ltx_denoising_vae")), VIDEOS["ltx_denoising_vae"]
    (plain,), (with_previews,) = (
        ours(family, case, "default", 1.0, 1, **callbacks)[1] for callbacks in ({}, {"decodes": Decodes()})
    )
    assert plain.digest() == with_previews.digest()
