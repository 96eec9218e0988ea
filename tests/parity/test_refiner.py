"""A base model and its refiner against StableDiffusionXLPipeline followed by StableDiffusionXLImg2ImgPipeline, bit for
bit.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import BATCHES, SCALES, SDXL_REFINED
from diffusers import StableDiffusionXLImg2ImgPipeline
from runs import PROMPTS, SEEDS, Recorder, assert_same, classic, generators, image, mask, scheduler_of
from tiers import sampled

from composer import StepCallback, StopDenoising
from composer.callbacks.request import Request
from composer.checkpoints.layouts import families
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.families.sdxl.model import StableDiffusionXL
from composer.options.base import ModelOption
from composer.options.lifecycle import remove_options
from composer.pipelines.build import build_pipeline
from composer.pipelines.pipeline import Pipeline
from composer.pipelines.refined import Refined
from composer.sampling.guidance import ClassifierFree
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines
from composer.testing.image_files import pixels

STEPS = 10


@pytest.fixture(scope="module")
def pipes():
    return pipelines.sdxl(), pipelines.sdxl_refiner()


def scheduler_for(pipe, option):
    cls, settings, _ = scheduler_parts(scheduler_of(option), type(pipe.scheduler).__name__)
    return partial(make_scheduler, cls, pipe.scheduler.config, settings)


def refined(pipes, option, scale=7.5, fraction=0.8, task=None, callbacks=None):
    parts = {"task": task or Text2Img(), "guidance": ClassifierFree(scale), "callbacks": callbacks or {}}
    base, refiner = (
        Pipeline(family=StableDiffusionXL(pipe), make_scheduler=scheduler_for(pipe, option), **parts) for pipe in pipes
    )
    return Refined(
        **{field.name: getattr(base, field.name) for field in fields(base)}, refiner=refiner, start_fraction=fraction
    )


def request(batch=2, skip=0, **inputs):
    return Request(
        prompts=PROMPTS[:batch], negative_prompts=(None,) * batch, seeds=SEEDS[:batch], steps=STEPS, height=64,
        width=64,
        steps_skipped=skip,
        inputs=inputs,
    )  # fmt: skip


def two_classics(pipes, option, scale, fraction, batch, first=None, **more):
    """The two pipelines one after the other, on one list of generators."""
    requested = {"prompt": list(PROMPTS[:batch]), "generator": generators(batch), "guidance_scale": scale}
    size = {"height": 64, "width": 64} if first is None else {}
    results, latents = classic(
        first or pipes[0],
        scheduler_for(pipes[0], option)(),
        STEPS,
        **requested,
        **size,
        denoising_end=fraction,
        output_type="latent",
        **more,
    )
    assert torch.equal(results[-1], latents)
    more_made, images = classic(
        pipes[1], scheduler_for(pipes[1], option)(), STEPS, **requested, denoising_start=fraction, image=latents
    )
    return [*results, *more_made], images


@pytest.mark.parametrize(("option", "scale", "batch"), sampled(SDXL_REFINED, SCALES, BATCHES))
def test_text2img_is_bit_equal(pipes, option, scale, batch):
    recorder = Recorder()
    result = refined(pipes, option, scale, callbacks={"recorder": recorder})(request(batch))
    assert_same((recorder.latents, result.images), two_classics(pipes, option, scale, 0.8, batch))
    assert result.iterations == len(recorder.latents)


@pytest.mark.parametrize(("option", "fraction"), sampled(["euler", "ddim", "dpmpp_2m", "heun"], [0.35, 0.5, 0.9]))
def test_any_fraction_is_bit_equal(pipes, option, fraction):
    recorder = Recorder()
    result = refined(pipes, option, fraction=fraction, callbacks={"recorder": recorder})(request())
    assert_same((recorder.latents, result.images), two_classics(pipes, option, 7.5, fraction, 2))


@pytest.mark.parametrize("option", ["euler", "ddim", "dpmpp_2m", "heun"])
def test_img2img_is_bit_equal(pipes, option):
    images, recorder = tuple(image(64, seed) for seed in range(2)), Recorder()
    pipeline = refined(pipes, option, task=Img2Img(), callbacks={"recorder": recorder})
    result = pipeline(request(image=images, strength=0.6, skip=families()["sdxl"].steps_to_skip(STEPS, 0.6)))
    first = StableDiffusionXLImg2ImgPipeline(**pipes[0].components, add_watermarker=False)
    theirs = two_classics(pipes, option, 7.5, 0.8, 2, first, image=list(images), strength=0.6)
    assert_same((recorder.latents, result.images), theirs)


def test_inpainting_keeps_the_rest_in_both_stages(pipes):
    """diffusers has no right pair for this: its first stage puts the kept part back without noise where it hands
    over.
    """
    images, masks, recorder = (image(64),), (mask(64),), Recorder()
    pipeline = refined(pipes, "euler", task=Inpaint(), callbacks={"recorder": recorder})
    result = pipeline(request(1, image=images, mask=masks, strength=1.0, blur=0, keep_unmasked=True))
    kept = np.array(masks[0]) == 0
    assert (np.array(result.image)[kept] == np.array(images[0])[kept]).all() and not (
        np.array(result.image) == np.array(images[0])
    ).all()
    clean = pipeline.family.encode_image(
        torch.from_numpy(np.array(images[0])).permute(2, 0, 1)[None] / 127.5 - 1, tuple(generators(1))
    )
    apart = [
        (latent - clean)[:, :, :2].std().item() for latent in recorder.latents
    ]  # noise on the topmost rows, which are kept
    assert apart[-1] < 1e-5 and apart == sorted(apart, reverse=True)


def test_each_stage_has_its_own_run_and_images_are_decoded_once(pipes):
    seen = []

    class Watch(StepCallback):
        def after_step(self, step, latents):
            seen.append((step.index, step.total))

        def after_decode(self, run, images):
            seen.append("decoded")

    refined(pipes, "euler", callbacks={"watch": Watch()})(request(1))
    assert seen == [*((i, 10) for i in range(8)), (0, 2), (1, 2), "decoded"]


def test_an_edit_at_the_last_step_of_the_base_is_handed_over(pipes):
    class Zero(StepCallback):
        def before_step(self, step):
            seen.append(step.latents.abs().max().item())

        def after_step(self, step, latents):
            return latents * 0 if (step.index, step.total) == (7, 10) else None

    seen = []
    refined(pipes, "euler", callbacks={"zero": Zero()})(request(1))
    assert len(seen) == 10 and [i for i, value in enumerate(seen) if value == 0] == [8]


def test_a_callback_that_stops_the_base_ends_the_run(pipes):
    class Stop(StepCallback):
        def after_step(self, step, latents):
            seen.append(step.index)
            if step.index == 3:
                raise StopDenoising

    seen = []
    assert refined(pipes, "euler", callbacks={"stop": Stop()})(request(1)).image.size == (64, 64)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(("fraction", "who"), [(0.05, "the base model"), (0.999, "the refiner")])
def test_a_fraction_that_leaves_a_model_nothing_is_refused(pipes, fraction, who):
    pipeline = refined(pipes, "euler", fraction=fraction)
    with pytest.raises(ComposerError, match=f"model.refiner.start={fraction}: leaves none of 10 iterations to {who}"):
        pipeline(replace(request(1)))


def test_on_the_command_line(compose, checkpoints):
    model = ["model=local", f"model.source={checkpoints['sdxl']}", "steps=10", "prompt=a cat"]
    assert compose(*model, "hydra.run.dir=plain").code == 0
    done = compose(*model, f"model.refiner={checkpoints['sdxl_refiner']}", "hydra.run.dir=refined")
    assert done.code == 0, done.err
    assert pixels("plain/000.png") != pixels("refined/000.png")
    record = json.loads(Path("refined/run.json").read_text())
    assert record["model"]["refiner"] == {"source": str(checkpoints["sdxl_refiner"]), "commit": None, "start": 0.8}
    assert record["iterations"] == 10 and json.loads(Path("plain/run.json").read_text())["model"]["refiner"] is None
    shown = compose("show", *model, f"model.refiner={{source: {checkpoints['sdxl_refiner']}, start: 0.5}}")
    assert f"refiner    {checkpoints['sdxl_refiner']}, from 50% of the schedule on" in shown.out


@pytest.mark.parametrize(
    ("source", "refiner", "line"),
    [
        ("sd", "'{sdxl_refiner}'", "only sdxl models have a refiner, and {sd} is of the family sd"),
        (
            "sdxl",
            "{{source: '{sdxl_refiner}', start: 1.0}}",
            "model.refiner.start=1.0: must be a number above 0 and below 1",
        ),
        (
            "sdxl",
            "{{source: '{sdxl_refiner}', start: 0}}",
            "model.refiner.start=0: must be a number above 0 and below 1",
        ),
        ("sdxl", "{{source: '{sdxl_refiner}', begin: 0.8}}", "model.refiner.begin=0.8: there is no such key"),
        ("sdxl", "{{start: 0.8}}", "a folder, a hub id, or"),
        ("sdxl", "'{sd}'", "is no sdxl checkpoint"),
        ("sdxl", "/not/there", "model.refiner=/not/there: there is no such folder or file"),
    ],
)
def test_what_cannot_work_is_refused_by_name(compose, checkpoints, source, refiner, line):
    words = f"model.refiner={refiner.format(**checkpoints)}"
    done = compose("model=local", f"model.source={checkpoints[source]}", words)
    assert done.code == 2 and line.format(**checkpoints) in done.err, done.err


class Notes(ModelOption):
    """Notes the pipelines that it is put on, and those that it is on for a pass."""

    group, name = "accel", "notes"

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    @contextmanager
    def attach(self, pipe, device):
        self.seen.append(("attach", id(pipe)))
        yield

    @contextmanager
    def active(self, pipe):
        self.seen.append(("on", id(pipe)))
        yield


def test_an_option_is_put_on_the_models_of_both(pipes):
    notes = Notes()
    complete, options = refined(pipes, "euler"), {"accel.notes": notes}
    replace(complete, options=options, refiner=replace(complete.refiner, options=options))(request(1))
    base, refiner = map(id, pipes)
    assert notes.seen == [("attach", base), ("on", base), ("attach", refiner), ("on", refiner)]


def test_the_refiner_is_built_with_the_options_of_the_run(checkpoints):
    words = [
        "model=local",
        f"model.source={checkpoints['sdxl']}",
        f"model.refiner={checkpoints['sdxl_refiner']}",
        "callbacks=[]",
    ]
    checked = check(read(compose_config([*words, "steps=10", "height=64", "width=64", "accel=[fused_qkv]"])))
    complete = build_pipeline(checked)
    complete(checked.request)
    for denoiser in (complete.family.denoiser, complete.refiner.family.denoiser):
        assert any(hasattr(module, "to_qkv") for module in denoiser.modules())
    remove_options()


@pytest.mark.parametrize(
    ("words", "file", "change", "message"),
    [
        ("memory=[vae_tiling]", "vae", {"sample_size": 512}, "memory=vae_tiling: tiles are 512 pixels"),
        (
            "accel=[deepcache]",
            "unet",
            {"mid_block_type": None, "up_block_types": ["KUpBlock2D"]},
            "accel=deepcache: can't reach into",
        ),
    ],
)
def test_what_the_refiner_alone_cannot_bear_is_refused(compose, checkpoints, tmp_path, words, file, change, message):
    refiner = shutil.copytree(checkpoints["sdxl_refiner"], tmp_path / "refiner")
    config = refiner / file / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    requested = ["model=local", f"model.source={checkpoints['sdxl']}", "steps=10", words]
    assert compose("check", *requested).code == 0
    done = compose("check", *requested, f"model.refiner={refiner}")
    assert done.code == 2 and message in done.err and "(the refiner, " in done.err and done.err.count("\n") == 1, (
        done.err
    )
