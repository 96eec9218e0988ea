"""What a run sets on a diffusers pipeline is gone with the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    VQModel,
)
from diffusers.pipelines.kandinsky2_2 import KandinskyV22Pipeline
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from composer.loading.loader import _checkpoints as cached
from composer.pipelines.hosted.own_pipeline import run_pipeline
from composer.testing import parts, pipelines
from composer.testing.image_files import pixels

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULERS = ("euler_karras", "dpmpp_2m", "ddim", "lcm", "null")


def words(folder: Path, scheduler: str, out: str) -> list[str]:
    expected = [] if scheduler == "null" else [f"scheduler={scheduler}"]  # null: the checkpoint's own, the default
    return [
        "model=local",
        f"model.source={folder}",
        "model.family=hosted",
        "steps=3",
        "prompt=a cat",
        f"output.folder={out}",
        *expected,
    ]


def generated(out: str) -> tuple[bytes, dict]:
    return pixels(f"{out}/000.png"), json.loads(Path(out, "run.json").read_text())["scheduler"]


def state(pipe: DiffusionPipeline) -> dict:
    """All attributes, and the settings of the pipeline and its scheduler."""
    return {
        **{name: id(value) for name, value in vars(pipe).items()},
        "config": dict(pipe.config),
        "own": dict(pipe.scheduler.config),
    }


@pytest.mark.parametrize("between", SCHEDULERS)
def test_a_hosted_run_leaves_no_scheduler_behind(compose, checkpoints, between):
    for number, scheduler in enumerate(("dpmpp_2m", between, "dpmpp_2m", "null")):
        assert compose(*words(checkpoints["sd"], scheduler, str(number))).code == 0
    assert generated("2") == generated("0")
    assert generated("3")[1]["class"] == "DDIMScheduler" and not generated("3")[1].get("use_karras_sigmas")


def test_a_sweep_over_schedulers_equals_single_runs(compose, checkpoints):
    done = compose("-m", *words(checkpoints["sd"], "euler_karras,dpmpp_2m,lms", "sweep"), "sweep.batch=1")
    assert done.code == 0, done.err
    for number, scheduler in enumerate(("euler_karras", "dpmpp_2m", "lms")):
        assert compose(*words(checkpoints["sd"], scheduler, scheduler)).code == 0
        assert generated(f"sweep/{number:04}") == generated(scheduler)


def test_a_cached_pipeline_is_as_before_a_run(compose, checkpoints):
    assert compose(*words(checkpoints["sd"], "null", "first")).code == 0
    pipe = list(cached.values())[-1]
    before = state(pipe)
    assert compose(*words(checkpoints["sd"], "euler_karras", "second")).code == 0
    assert list(cached.values())[-1] is pipe and state(pipe) == before


def kandinsky() -> KandinskyV22CombinedPipeline:
    """A combined pipeline: two pipelines within one, of which the second has the same scheduler."""
    unet = pipelines.sd().unet
    movq = VQModel(
        block_out_channels=(8,),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
    )
    prior = PriorTransformer(num_attention_heads=2, attention_head_dim=8, embedding_dim=parts.WIDTH, num_layers=1)
    vision = CLIPVisionConfig(
        hidden_size=parts.WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    return KandinskyV22CombinedPipeline(
        unet=unet, movq=movq, scheduler=DDPMScheduler(), prior_prior=prior,
        prior_image_encoder=CLIPVisionModelWithProjection(vision),
        prior_text_encoder=parts.projecting_clip(), prior_tokenizer=parts.clip_tokenizer(),
        prior_scheduler=DDPMScheduler(),
        prior_image_processor=CLIPImageProcessor(),
    )  # fmt: skip


def test_pipelines_within_one_get_the_scheduler_too():
    shared, scheduler = kandinsky(), DDIMScheduler()
    before, within = state(shared), state(shared.decoder_pipe)
    expected = run_pipeline(shared, scheduler)
    assert isinstance(expected.decoder_pipe, KandinskyV22Pipeline)
    assert expected.scheduler is expected.decoder_pipe.scheduler is scheduler and expected.unet is shared.unet
    assert expected.prior_pipe.scheduler is not shared.prior_pipe.scheduler
    assert state(shared) == before and state(shared.decoder_pipe) == within


def test_a_scheduler_keeps_the_settings_that_a_class_would_rewrite():
    scheduler = DDIMScheduler(steps_offset=0, clip_sample=True)
    expected = run_pipeline(pipelines.sd(), scheduler)
    assert expected.scheduler.config.steps_offset == 0 and expected.scheduler.config.clip_sample
    assert expected.config["scheduler"] == ("diffusers", "DDIMScheduler")


def test_own_pipeline_equals_one_with_an_assigned_scheduler():
    theirs, scheduler = pipelines.sd(), DDPMScheduler()
    ours = run_pipeline(pipelines.sd(), scheduler)
    theirs.scheduler = DDPMScheduler()
    images = [
        pipe("a cat", num_inference_steps=2, output_type="pt", generator=torch.Generator().manual_seed(0)).images
        for pipe in (ours, theirs)
    ]
    assert torch.equal(*images)
