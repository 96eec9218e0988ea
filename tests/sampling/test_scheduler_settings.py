"""Whatever a scheduler's class raises names the setting that was typed, its value, and the values that work."""

from __future__ import annotations

import pytest

#: Words, and what the line says; each is refused by `check`, before weights.
REFUSED = [
    (
        ["scheduler.beta_schedule=karras"],
        "scheduler.beta_schedule=karras",
        "(allowed: linear, scaled_linear, squaredcos_cap_v2)",
    ),
    (
        ["scheduler=euler", "scheduler.use_karras_sigmas=maybe"],
        "scheduler.use_karras_sigmas=maybe",
        "must be true, false or null",
    ),
    (["scheduler=ddim", "scheduler.clip_sample=maybe"], "scheduler.clip_sample=maybe", "must be true, false or null"),
    (["scheduler.beta_start=abc"], "scheduler.beta_start=abc", "must be a number"),
    (["scheduler.steps_offset=true"], "scheduler.steps_offset=True", "must be an integer or null"),
    (["scheduler.beta_end=null"], "scheduler.beta_end", "DDIMScheduler can't do it"),
    (["scheduler.prediction_type=x"], "scheduler.prediction_type=x", "(allowed: epsilon, sample, v_prediction)"),
    (["scheduler.timestep_spacing=x"], "scheduler.timestep_spacing=x", "trailing)"),
    (["scheduler.trained_betas=[1,a]"], "scheduler.trained_betas=[1, 'a']", "can't do it"),
    (["scheduler.num_train_timesteps=0"], "scheduler.num_train_timesteps=0", "can't do it"),
    (["scheduler=dpmpp_2m", "scheduler.algorithm_type=x"], "scheduler.algorithm_type=x", "dpmsolver++"),
    (["scheduler=unipc", "scheduler.solver_order=-1"], "scheduler.solver_order=-1", "can't do it"),
    (["scheduler=unipc", "scheduler.solver_type=x"], "scheduler.solver_type=x", "bh2"),
    (["scheduler=ddpm", "scheduler.variance_type=foo"], "scheduler.variance_type=foo", "(allowed: fixed_small, "),
    (["scheduler.num_train_timesteps=1.5"], "scheduler.num_train_timesteps=1.5", "must be an integer or null"),
    (["scheduler=euler", "scheduler.sigma_max=abc"], "scheduler.sigma_max=abc", "must be a number"),
]


@pytest.mark.parametrize(("words", "key", "message"), REFUSED, ids=[words[-1] for words, *_ in REFUSED])
def test_a_setting_that_a_scheduler_refuses_is_named(compose, words, key, message):
    done = compose("check", "steps=4", *words)
    assert (
        done.code == 2
        and done.err.startswith(f"compose: {key}: ")
        and message in done.err
        and done.err.count("\n") == 1
    ), done.err


def test_settings_that_work_are_not_blamed(compose):
    done = compose(
        "check", "scheduler=euler", "scheduler.use_karras_sigmas=true", "scheduler.timestep_spacing=x", "steps=4"
    )
    assert done.err.startswith("compose: scheduler.timestep_spacing=x: "), done.err
