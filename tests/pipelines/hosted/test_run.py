"""Checkpoints that no family knows: their own diffusers pipelines, called as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LDMPipeline,
    LTXLatentUpsamplePipeline,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DModel,
    VQModel,
)
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from composer import StepCallback, StopDenoising
from composer.callbacks.progress import Progress
from composer.checkpoints.find import find_checkpoint
from composer.checks.compatibility import check
from composer.checks.hosted_steps import check_hosted_callbacks
from composer.config.read import read
from composer.config.spec import ModelSpec
from composer.errors import ComposerError
from composer.pipelines.build import build_pipeline
from composer.testing import parts, pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPT = "make it snow"
FROM = ("task=edit", "references=sample:scene")


def pix2pix() -> StableDiffusionInstructPix2PixPipeline:
    parts_of = pipelines.sd(in_channels=8).components
    return StableDiffusionInstructPix2PixPipeline(**parts_of, requires_safety_checker=False)


def pixart() -> PixArtAlphaPipeline:
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        sample_size=32, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
        caption_channels=parts.WIDTH, cross_attention_dim=16, out_channels=8, attention_bias=True,
        activation_fn="gelu-approximate", norm_type="ada_norm_single",
        norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    return PixArtAlphaPipeline(
        transformer=transformer.eval(), vae=parts.vae(4, (8, 8, 16, 16)), text_encoder=parts.t5(parts.WIDTH),
        tokenizer=parts.t5_tokenizer(), scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


def latent_unconditional() -> LDMPipeline:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )  # fmt: skip
    vqvae = VQModel(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=3, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    return LDMPipeline(vqvae=vqvae.eval(), unet=unet.eval(), scheduler=DDIMScheduler())


MAKERS = {"pix2pix": pix2pix, "pixart": pixart, "ldm": latent_unconditional}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hosted")
    for name, make in MAKERS.items():
        make().save_pretrained(root / name)
    return {name: root / name for name in MAKERS}


def words(folder: Path, *more: str) -> list[str]:
    return ["model=local", f"model.source={folder}", "steps=4", "hydra.run.dir=out", *more]


def generated() -> np.ndarray:
    return np.asarray(Image.open("out/000.png"))


@pytest.mark.parametrize("kind", MAKERS)
def test_what_no_family_knows_is_hosted(saved, kind):
    assert find_checkpoint(ModelSpec(name="local", source=str(saved[kind]))).family == "hosted"


@pytest.mark.parametrize("family", ["hosted", "classic"])
def test_a_native_checkpoint_can_be_hosted_by_either_name(checkpoints, family):
    model = ModelSpec(name="local", source=str(checkpoints["sd"]), family=family)
    assert find_checkpoint(model).family == "hosted"


def test_pix2pix_equals_diffusers(compose, saved):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save("a.png")
    done = compose(
        *words(
            saved["pix2pix"],
            "task=edit",
            "references=a.png",
            f"prompt={PROMPT}",
            "guidance=3",
            "scheduler=euler",
        )
    )
    assert done.code == 0, done.err
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(saved["pix2pix"])
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(0)]
    theirs = pipe(
        [PROMPT],
        image=Image.fromarray(pixels),
        num_inference_steps=4,
        guidance_scale=3.0,
        negative_prompt=[""],
        generator=generator,
    )
    assert (generated() == np.asarray(theirs.images[0])).all()


def test_pixart_equals_diffusers(compose, saved):
    done = compose(*words(saved["pixart"], f"prompt={PROMPT}", "guidance=3", "images=2"))
    assert done.code == 0, done.err
    pipe = PixArtAlphaPipeline.from_pretrained(saved["pixart"])
    pipe.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    theirs = pipe(
        [PROMPT] * 2, negative_prompt=["", ""], num_inference_steps=4, guidance_scale=3.0, generator=generator
    )
    assert (generated() == np.asarray(theirs.images[0])).all()
    assert json.loads(Path("out/run.json").read_text())["model"]["family"] == "hosted"


def test_an_unconditional_one(compose, saved):
    done = compose(*words(saved["ldm"], "task=unconditional", "images=3"))
    assert done.code == 0, done.err
    assert "3 images" in done.out


def test_show_says_who_runs_it(compose, saved):
    done = compose("show", "model=local", f"model.source={saved['pixart']}")
    assert done.code == 0 and "run by its own diffusers pipeline: task=text2img" in done.out


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("pixart", ["task=img2img"], "PixArtAlphaPipeline does not do it: use task=text2img"),
        ("pixart", ["task=unconditional"], "PixArtAlphaPipeline does not do it: use task=text2img"),
        ("pix2pix", ["task=inpaint"], "StableDiffusionInstructPix2PixPipeline does not do it: use task=edit"),
        ("pixart", ["guidance=distilled"], "this model takes no scale as an input"),
        ("pixart", ["scheduler=flow_euler"], "is for flow matching models"),
    ],
)
def test_what_can_not_be_passed_on_is_refused(compose, saved, tmp_path, kind, more, message):
    done = compose(*words(saved[kind], *more))
    assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
    assert not (tmp_path / "out").exists()


def test_a_class_that_diffusers_does_not_have_is_named(compose, saved, tmp_path):
    import shutil

    shutil.copytree(saved["pixart"], tmp_path / "other")
    index = tmp_path / "other" / "model_index.json"
    index.write_text(index.read_text().replace("PixArtAlphaPipeline", "NoSuchPipeline"))
    done = compose(*words(tmp_path / "other"))
    assert done.code == 2 and "no pipeline NoSuchPipeline" in done.err, done.err


def pipeline_of(folder: Path, *more: str, **callbacks: StepCallback):
    from composer.config.compose import compose_config

    checked = check(read(compose_config(["model=local", f"model.source={folder}", "steps=4", "callbacks=[]", *more])))
    return checked.request, replace(build_pipeline(checked), callbacks=callbacks)


class Watched(StepCallback):
    """Keeps the latents; the last change is made by `edit`."""

    def __init__(self, edit=lambda index, latents: None) -> None:
        self.seen, self.edit = [], edit

    def after_step(self, step, latents):
        self.seen.append((step.index, step.total, latents))
        return self.edit(step.index, latents)


def stop(index, latents):
    if index == 1:
        raise StopDenoising


def pix2pix_image(folder: Path, callback: StepCallback) -> Image.Image:
    request, pipeline = pipeline_of(folder, *FROM, watched=callback)
    return pipeline(replace(request, inputs={"references": ((Image.new("RGB", (64, 64), "red"),),)})).image


def test_after_step_sees_and_edits_the_latents(saved):
    plain, halved = Watched(), Watched(lambda index, latents: latents / 2)
    assert pix2pix_image(saved["pix2pix"], plain).tobytes() != pix2pix_image(saved["pix2pix"], halved).tobytes()
    assert [(index, total) for index, total, _ in plain.seen] == [(index, 4) for index in range(4)]
    assert torch.equal(plain.seen[0][2], halved.seen[0][2]) and not torch.equal(plain.seen[1][2], halved.seen[1][2])


def test_stop_denoising_decodes_the_latents_of_that_step(saved):
    stopped = Watched(stop)
    image = pix2pix_image(saved["pix2pix"], stopped)
    assert [index for index, *_ in stopped.seen] == [0, 1]
    vae = pipeline_of(saved["pix2pix"], *FROM)[1].family.pipe.vae
    with torch.no_grad():
        pixels = vae.decode(stopped.seen[-1][2] / vae.config.scaling_factor).sample
    assert image.tobytes() == VaeImageProcessor().postprocess(pixels)[0].tobytes()


def test_callbacks_of_steps_are_refused_where_a_class_has_no_loop():
    class Early(StepCallback):
        def before_step(self, step):
            return None

    with pytest.raises(ComposerError, match="wants before_step, and LTXLatentUpsamplePipeline shows no denoising loop"):
        check_hosted_callbacks(LTXLatentUpsamplePipeline, {"early": Early()})
    check_hosted_callbacks(LTXLatentUpsamplePipeline, {"progress": Progress()})  # which only shows nothing
    check_hosted_callbacks(PixArtAlphaPipeline, {"early": Early()})
