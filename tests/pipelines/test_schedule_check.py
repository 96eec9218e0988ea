"""Schedules are walked from end to end before weights load, and nothing is shown of a scheduler that it does not
use.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from tiers import alternately, every, slow_but
from zoo import with_json

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.search_path import conf_folders, options
from composer.pipelines.schedule_check import original_config
from composer.sampling.sampler import Sampler
from composer.sampling.schedulers import effective_settings, make_scheduler, scheduler_parts

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = "scheduler/scheduler_config.json"
OPTIONS = [name for name in options("scheduler", conf_folders(None)) if not name.startswith("edm_")]


@pytest.fixture
def copy(checkpoints, tmp_path):
    """A checkpoint with other settings of its scheduler."""

    def make(family: str = "sd", **changes: object) -> Path:
        folder = shutil.copytree(checkpoints[family], tmp_path / "copy", dirs_exist_ok=True)
        return with_json(folder, CONFIG, **changes)

    return make


def of(source: Path, *more: str) -> list[str]:
    return ["model=local", f"model.source={source}", "steps=3", "height=64", "width=64", "callbacks=[]", *more]


UNWALKED = [
    (
        {"beta_schedule": "squaredcos_cap_v2"},
        ["scheduler=dpmpp_2m_karras", "steps=20"],
        "scheduler.use_karras_sigmas=True: DPMSolverMultistepScheduler can't do it: step 20 of 20 fails, IndexError",
    ),
    (
        {},
        ["scheduler=ddim", "scheduler.rescale_betas_zero_snr=true", "scheduler.timestep_spacing=trailing"],
        "scheduler.rescale_betas_zero_snr=True: DDIMScheduler can't do it: step 1 of 3 fails, what comes of it is not "
        "finite",
    ),
    (
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        [],
        "scheduler=default: DDIMScheduler can't: step 1 of 3 fails",
    ),
    (
        {"prediction_type": "sample"},
        ["scheduler=euler_a"],
        "scheduler=euler_a: EulerAncestralDiscreteScheduler can't: step 1 of 3 fails",
    ),
    (
        {"prediction_type": "v_prediction"},
        ["scheduler=ipndm"],
        "scheduler=ipndm: IPNDMScheduler steps by predictions of noise alone",
    ),
]


@pytest.mark.parametrize(("changes", "more", "message", "command"), alternately(UNWALKED, [["check"], []]))
def test_what_cannot_take_all_of_its_steps_is_refused(compose, copy, command, changes, more, message):
    done = compose(*command, *of(copy(**changes), "output.folder=out", *more))
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert "precision" not in done.err and not Path("out").exists()


def test_an_alpha_of_zero_that_no_step_visits_is_not_held_against_it(compose, checkpoints):
    """With leading spacing the last timestep, whose alpha is zero, is none of the run's: it is what diffusers makes."""
    settings = ["scheduler=ddim", "scheduler.rescale_betas_zero_snr=true", "prompt=x", "guidance=3"]
    assert compose("check", *of(checkpoints["sd"], *settings)).code == 0
    assert compose(*of(checkpoints["sd"], *settings, "output.folder=out")).code == 0
    pipe = StableDiffusionPipeline.from_pretrained(checkpoints["sd"])
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, rescale_betas_zero_snr=True)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe("x", num_inference_steps=3, guidance_scale=3.0, generator=[torch.Generator().manual_seed(0)])
    assert (np.asarray(Image.open("out/000.png")) == np.asarray(theirs.images[0])).all()


def test_a_step_that_is_left_out_is_not_held_against_it(compose, copy):
    source = copy(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    zero = of(source, "task=img2img", "image=sample:scene", "strength=0.7")
    assert compose("check", *zero).code == 0
    assert compose(*zero, "output.folder=out").code == 0


@pytest.mark.parametrize("option", every(4, OPTIONS))
def test_every_scheduler_option_takes_all_of_its_steps(compose, checkpoints, option):
    family = "sd3" if option.startswith("flow") else "sd"
    done = compose("check", *of(checkpoints[family], f"scheduler={option}"))
    assert done.code == 0, done.err


#: Setting of a checkpoint's scheduler → two values of it, and others that it is used with.
SETTINGS = {
    "rescale_betas_zero_snr": ((False, True), {"timestep_spacing": "trailing", "prediction_type": "v_prediction"}),
    "timestep_spacing": (("leading", "trailing"), {}),
    "prediction_type": (("epsilon", "v_prediction"), {}),
    "beta_schedule": (("linear", "scaled_linear"), {}),
    "steps_offset": ((0, 1), {"timestep_spacing": "leading"}),
    "clip_sample": ((False, True), {}),
    "set_alpha_to_one": ((False, True), {}),
    "shift": ((1.0, 3.0), {}),
}


@cache
def chosen(option: str) -> tuple[type, dict[str, object], dict[str, object]]:
    return scheduler_parts(read(compose_config([f"scheduler={option}"])).scheduler, "DDIMScheduler")


def walked(option: str, config: dict[str, object]) -> tuple[torch.Tensor, dict[str, object]]:
    """What made-up predictions come to, and the settings that are shown."""
    cls, settings, of_step = chosen(option)
    scheduler = make_scheduler(cls, config, settings)
    scheduler.set_timesteps(4)
    sampler = Sampler(scheduler, (torch.Generator().manual_seed(0),), of_step)
    latents, prediction = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    for timestep in sampler.timesteps:
        latents = sampler.step(prediction, timestep, latents)
    return torch.cat([latents.flatten(), sampler.timesteps.float()]), effective_settings(scheduler)


SLOW = ("dpm2", "dpm2_a")  # which take seconds to lay out their steps
DIFFUSION = [name for name in OPTIONS if not name.startswith("flow")]


@pytest.mark.parametrize("option", slow_but([name for name in DIFFUSION if name not in SLOW], DIFFUSION))
def test_a_setting_without_effect_is_not_shown(option):
    for key, (values, beside) in SETTINGS.items():
        results, shown = zip(
            *(walked(option, {"beta_start": 0.001, "beta_end": 0.01, **beside, key: value}) for value in values)
        )
        assert not torch.equal(*results) or key not in shown[0], key


def test_a_lost_setting_is_neither_shown_nor_recorded_but_noted(compose, copy):
    source = copy(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    shown = compose("show", *of(source, "scheduler=heun"))
    note, settings = shown.out.split("components")
    assert (
        "HeunDiscreteScheduler has no rescale_betas_zero_snr=True" in note and "rescale_betas_zero_snr" not in settings
    )
    assert "prediction_type = v_prediction" in settings
    done = compose(*of(source, "scheduler=heun", "output.folder=out"))
    assert done.code == 0 and "HeunDiscreteScheduler has no rescale_betas_zero_snr=True" in done.err, done.err
    record = json.loads(Path("out/run.json").read_text())
    assert "rescale_betas_zero_snr" not in record["scheduler"]
    assert any("rescale_betas_zero_snr" in note for note in record["notes"])


def test_an_ordinary_change_of_schedulers_says_nothing(compose, checkpoints):
    done = compose(*of(checkpoints["sd"], "scheduler=euler", "output.folder=out"))
    assert done.code == 0 and done.err == ""


@pytest.mark.parametrize(
    "changes", [{"steps_offset": 0, "clip_sample": True}, {"steps_offset": 0}, {"clip_sample": True}]
)
def test_show_names_the_timesteps_and_settings_of_the_run(compose, copy, changes):
    source = copy(**changes)
    shown = compose("show", *of(source))
    assert compose(*of(source, "output.folder=out")).code == 0
    recorded = json.loads(Path("out/run.json").read_text())["scheduler"]
    for key in ("steps_offset", "clip_sample"):
        assert f"{key} = {recorded[key]}" in shown.out
    assert "at timesteps 667 334 1" in shown.out
    checked = check(read(compose_config(of(source))))
    theirs = StableDiffusionPipeline.from_pretrained(source).scheduler.config
    assert {key: original_config(checked.checkpoint)[key] for key in recorded if key in theirs} == {
        key: theirs[key] for key in recorded if key in theirs
    }


@pytest.mark.parametrize(
    ("option", "key", "values"),
    [
        ("euler", "timesteps", [901, 601, 201]),
        ("euler", "sigmas", [14.6, 3.0, 0.5]),
        ("dpmpp_2m", "timesteps", [901, 601, 201]),
    ],
)
def test_steps_of_ones_own_are_those_of_diffusers(compose, checkpoints, option, key, values):
    words = [
        "model=local",
        f"model.source={checkpoints['sd']}",
        "callbacks=[]",
        f"scheduler={option}",
        "prompt=x",
        "guidance=3",
    ]
    done = compose(*words, f"scheduler.{key}={values}".replace(" ", ""), "output.folder=out")
    assert done.code == 0, done.err
    pipe = StableDiffusionPipeline.from_pretrained(checkpoints["sd"])
    cls, settings, _ = scheduler_parts(read(compose_config([f"scheduler={option}"])).scheduler, "DDIMScheduler")
    pipe.scheduler = make_scheduler(cls, pipe.scheduler.config, settings)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe("x", guidance_scale=3.0, generator=[torch.Generator().manual_seed(0)], **{key: values}).images[0]
    assert (np.asarray(Image.open("out/000.png")) == np.asarray(theirs)).all()
    assert json.loads(Path("out/run.json").read_text())["steps"] == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["scheduler=ddim", "scheduler.timesteps=[900,500]"],
            "scheduler.timesteps=[900, 500]: DDIMScheduler takes no list of timesteps",
        ),
        (["scheduler=dpmpp_2m", "scheduler.sigmas=[9,3]"], "takes no list of sigmas: it takes scheduler.timesteps"),
        (["scheduler=euler", "scheduler.timesteps=[1,2]"], "must go down"),
        (["scheduler=euler", "scheduler.timesteps=many"], "must be a list of numbers"),
        (["scheduler=lcm", "scheduler.timestep_spacing=trailing"], "changes nothing with LCMScheduler"),
        (["scheduler=euler", "scheduler.timesteps=[900,500]", "steps=5"], "steps=5: scheduler.timesteps lists 2"),
    ],
)
def test_steps_of_ones_own_that_nobody_takes_are_refused(compose, checkpoints, more, message):
    done = compose("check", "model=local", f"model.source={checkpoints['sd']}", *more)
    assert done.code == 2 and message in done.err, done.err
