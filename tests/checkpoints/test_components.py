"""Components from elsewhere, roles of checkpoints, and the safety checker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.testing import pipelines


def local(source: object) -> list[str]:
    return ["model=local", f"model.source={source}", "steps=2", "hydra.run.dir=out"]


@pytest.fixture(scope="module")
def other_vae(tmp_path_factory) -> Path:
    """A checkpoint with another VAE than the tiny one of the fixture."""
    folder = tmp_path_factory.mktemp("other")
    pipelines.sd(seed=5).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("location", ["folder", "checkpoint", "mapping"])
def test_a_vae_from_elsewhere(compose, checkpoints, other_vae, location):
    override = {
        "folder": f"model.components.vae={other_vae / 'vae'}",
        "checkpoint": f"model.components.vae={other_vae}",
        "mapping": f"model.components.vae={{source: '{other_vae}', subfolder: vae}}",
    }[location]
    done = compose(*local(checkpoints["sd"]), override)
    assert done.code == 0, done.err
    mine = Image.open("out/000.png").tobytes()
    part = json.loads(Path("out/run.json").read_text())["model"]["components"]["vae"]
    assert part["class"] == "AutoencoderKL" and str(other_vae) in part["source"]
    assert mine == by_hand(checkpoints["sd"], other_vae)


def by_hand(base: Path, other: Path) -> bytes:
    """What diffusers generates with the swapped VAE."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(base, vae=AutoencoderKL.from_pretrained(other / "vae"))
    pipe.set_progress_bar_config(disable=True)
    prompt = "a large red sphere on the left and a small blue cube on the right, on snow, at night"
    image = pipe(prompt, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    torch.set_num_threads(threads)
    return image.tobytes()


def test_a_scheduler_config_from_elsewhere(compose, checkpoints, tmp_path):
    pipe = pipelines.sd(prediction_type="v_prediction")
    pipe.scheduler.save_pretrained(tmp_path / "v" / "scheduler")
    done = compose(*local(checkpoints["sd"]), f"model.components.scheduler={tmp_path / 'v'}", "scheduler=euler")
    assert done.code == 0, done.err
    assert json.loads(Path("out/run.json").read_text())["scheduler"]["prediction_type"] == "v_prediction"


def test_a_text_encoder_and_unet_from_elsewhere(compose, checkpoints, other_vae):
    words = [f"model.components.{name}={other_vae}" for name in ("unet", "text_encoder")]
    done = compose(*local(checkpoints["sd"]), *words)
    assert done.code == 0 and set(json.loads(Path("out/run.json").read_text())["model"]["components"]) == {
        "unet",
        "text_encoder",
    }, done.err


def test_show_names_where_components_come_from(compose, checkpoints, other_vae):
    done = compose("show", "model=local", f"model.source={checkpoints['sd']}", f"model.components.vae={other_vae}")
    assert done.code == 0 and str(other_vae / "vae") in done.out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.components.vae=nowhere",
            "model.components.vae=nowhere: there is no such folder or file, and it is no hub id",
        ),
        ("model.components.vae=x.ckpt", "pickled weights can run code"),
        ("model.components.vae={sorce: x}", "model.components.vae.sorce=x: there is no such key"),
        ("model.components.vae=3", "a folder, a hub id, or {source: …, subfolder: …} is needed"),
        ("model.components.vae=EMPTY", "holds no vae in diffusers' format"),
        ("model.components.vaee=VAE", "is no component of this model. Did you mean vae?"),
        ("model.components.vae=FLUX", "has 16 latent channels and the model's own 4"),
        ("model.components.text_encoder=WIDE", "has 64 hidden states and the model's own 32"),
        ("model.safety_checker=maybe", "model.safety_checker=maybe: must be true or false"),
    ],
)
def test_what_does_not_fit_is_refused(compose, checkpoints, other_vae, tmp_path, override, message):
    (tmp_path / "empty").mkdir()
    wide = tmp_path / "wide"
    shutil.copytree(checkpoints["sd"] / "text_encoder", wide)
    config = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    deep = tmp_path / "deep"
    shutil.copytree(checkpoints["sd"] / "vae", deep)
    config = json.loads((deep / "config.json").read_text())
    (deep / "config.json").write_text(json.dumps({**config, "latent_channels": 16}))
    for word, location in {"EMPTY": "empty", "VAE": other_vae / "vae", "FLUX": "deep", "WIDE": "wide"}.items():
        override = override.replace(f"={word}", f"={location}")
    done = compose(*local(checkpoints["sd"]), override)
    assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
    assert not (tmp_path / "out").exists()


# --- roles
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "role"),
    [("sd", "plain"), ("sd_inpaint", "inpaint"), ("sd_depth", "depth"), ("flux", "plain"), ("ddpm", "plain")],
)
def test_the_role_is_read_from_the_json_files(checkpoints, kind, role):
    assert find_checkpoint(ModelSpec(name="local", source=str(checkpoints[kind]))).role == role


@pytest.mark.parametrize(
    ("kind", "task", "right"),
    [
        ("sd_inpaint", "text2img", "use task=inpaint or outpaint"),
        ("sd_inpaint", "img2img", "use task=inpaint or outpaint"),
        ("sd_inpaint", "depth2img", "use task=inpaint or outpaint"),
        ("sd_depth", "text2img", "use task=depth2img"),
        ("sd_depth", "inpaint", "use task=depth2img"),
        ("sd", "depth2img", "use task=text2img, img2img, inpaint, outpaint, variations or upscale"),
        ("flux", "depth2img", "use task=text2img, img2img"),
        ("ddpm", "inpaint", "takes no prompt: use task=unconditional"),
        ("sd", "unconditional", "wants a prompt: use task=text2img, img2img"),
        ("sd_inpaint", "unconditional", "wants a prompt: use task=inpaint or outpaint"),
    ],
)
def test_a_checkpoint_of_the_wrong_kind_is_refused_with_the_right_task(
    compose, checkpoints, tmp_path, kind, task, right
):
    done = compose(*local(checkpoints[kind]), f"task={task}")
    assert done.code == 2 and done.err.count("\n") == 1 and right in done.err, done.err
    assert not (tmp_path / "out").exists()


def test_a_depth_model_without_an_estimator_wants_a_map(compose, checkpoints, tmp_path):
    bare = tmp_path / "bare"
    parts = ("depth_estimator", "feature_extractor")
    shutil.copytree(checkpoints["sd_depth"], bare, ignore=shutil.ignore_patterns(*parts))
    index = json.loads((bare / "model_index.json").read_text())
    (bare / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if k not in parts}))
    done = compose(*local(bare), "task=depth2img")
    assert done.code == 2 and "this checkpoint has no depth estimator: give a depth map, depth=FILE" in done.err, (
        done.err
    )
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1))).save("d.png")
    assert compose(*local(bare), "task=depth2img", "depth=d.png").code == 0


# --- safety checker
# -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Path:
    """A checkpoint whose safety checker flags whatever it sees."""
    pipe = pipelines.sd(safety_checker=True)
    pipe.safety_checker.concept_embeds_weights.data.fill_(-2)
    folder = tmp_path_factory.mktemp("guarded")
    pipe.save_pretrained(folder)
    return folder


def test_a_safety_checker_is_kept_and_flagged_images_are_noted(compose, guarded):
    done = compose(*local(guarded))
    assert done.code == 0 and "image 0 was blackened by the checkpoint's safety checker" in done.err, done.err
    assert np.asarray(Image.open("out/000.png")).max() == 0
    assert json.loads(Path("out/run.json").read_text())["model"]["safety_checker"] is True


def test_a_safety_checker_can_be_turned_off_and_the_record_says_so(compose, guarded):
    done = compose(*local(guarded), "model.safety_checker=false")
    assert done.code == 0 and done.err == "" and np.asarray(Image.open("out/000.png")).max() > 0, done.err
    assert json.loads(Path("out/run.json").read_text())["model"]["safety_checker"] is False
