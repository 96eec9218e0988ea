"""Checkpoints are known by their json; what is absent stays absent."""

from __future__ import annotations

import pytest
from tiers import sampled

from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.testing import pipelines


@pytest.mark.parametrize(
    ("name", "family", "role", "size", "multiple", "kind"),
    [
        ("sd", "sd", "plain", 64, 8, "diffusion"),
        ("sdxl", "sdxl", "plain", 64, 8, "diffusion"),
        ("sdxl_refiner", "sdxl", "plain", 64, 8, "diffusion"),
        ("sd3", "sd3", "plain", 64, 16, "flow"),
        ("flux", "flux", "plain", 256, 4, "flow"),
        ("ddpm", "ddpm", "plain", 16, 1, "diffusion"),
    ],
)
def test_a_checkpoint_is_known_by_its_json(checkpoints, name, family, role, size, multiple, kind):
    result = find_checkpoint(ModelSpec(name="local", source=str(checkpoints[name])))
    assert (result.family, result.role, result.size, result.size_multiple, result.scheduler_type) == (
        family,
        role,
        (size, size),
        multiple,
        kind,
    )


@pytest.mark.parametrize(("make", "family"), [(pipelines.sdxl, "sdxl"), (pipelines.sd3, "sd3")])
def test_input_channels_identify_an_inpainting_model(tmp_path, make, family):
    latents = {"sdxl": 4, "sd3": 16}[family]
    make(in_channels=2 * latents + 1).save_pretrained(tmp_path)
    result = find_checkpoint(ModelSpec(name="local", source=str(tmp_path)))
    assert (result.family, result.role) == (family, "inpaint")


def test_sd3_runs_without_t5(compose, tmp_path):
    pipelines.sd3(with_t5=False).save_pretrained(tmp_path / "small")
    done = compose("model=local", "model.source=small", "steps=2", "hydra.run.dir=out")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("task", "name"),
    sampled(["text2img", "img2img", "inpaint", "variations", "upscale"], ["sdxl", "sdxl_refiner", "sd3"]),
)
def test_tasks_run_on_the_command_line(compose, checkpoints, task, name):
    done = compose("model=local", f"model.source={checkpoints[name]}", f"task={task}", "steps=3", "hydra.run.dir=out")
    assert done.code == 0, done.err


@pytest.mark.parametrize(("name", "precision"), sampled(["sdxl", "sd3"], ["bf16", "fp16"]))
def test_half_precision_runs(compose, checkpoints, name, precision):
    done = compose(
        "model=local",
        f"model.source={checkpoints[name]}",
        "task=img2img",
        f"precision={precision}",
        "steps=3",
        "hydra.run.dir=out",
    )
    assert done.code == 0, done.err
