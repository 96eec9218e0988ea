"""A schedule that was tried once is known with other steps and schedulers, and what is known is what a trial says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from tiers import every

from composer.checkpoints.find import find_checkpoint
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.search_path import conf_folders, options
from composer.config.spec import PrecisionSpec
from composer.errors import ComposerError
from composer.loading import check_cache
from composer.loading.precision import resolve_dtypes
from composer.pipelines import known_schedules, schedules_ahead
from composer.pipelines.build import parts
from composer.pipelines.check_facts import ENOUGH_STEPS
from composer.pipelines.known_schedules import MOST, recall_schedule
from composer.pipelines.light_parts import device_is_plain
from composer.pipelines.offers import _search
from composer.pipelines.schedule_check import _original_config, original_config
from composer.pipelines.schedule_lines import schedule_lines
from composer.pipelines.trial import tried
from composer.testing.pipelines import MAKERS

RUN = ["prompt=a red cone", "height=64", "width=64"]
FOR_DIFFUSION = [
    name
    for name in options("scheduler", conf_folders(None))
    if not name.startswith(("flow_", "edm_")) and name not in ("default", "fast")  # which have no class
]


def checked(*words: str):
    return check(read(compose_config([*RUN, *words])))


@pytest.fixture
def others():
    """Another scheduler that is tried; most tests need none."""
    return ""


@pytest.fixture
def patient(tmp_path, monkeypatch, others):
    """An empty cache, and enough time on any machine."""
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(check_cache, "find_tested", lambda kind, facts: None)  # of the results that come with composer
    monkeypatch.setattr(schedules_ahead, "_spent", 0.0)
    for name in ("BUDGET", "BUDGET_OF_OTHER", "BUDGET_OF_OTHERS", "BUDGET_OF_PROCESS"):
        monkeypatch.setattr(schedules_ahead, name, 600.0)
    all_others = schedules_ahead._other_schedulers

    def chosen(one):
        return (other for other in all_others(one) if other.spec.scheduler.name == others)

    monkeypatch.setattr(schedules_ahead, "_other_schedulers", chosen)


def test_one_trial_is_enough_for_other_steps(patient):
    tried(checked("steps=3"))
    for steps in (1, 2, 7, 20, MOST):
        now = checked(f"steps={steps}", "guidance=2", "width=72")
        assert recall_schedule(now) == ((), schedule_lines(now))
    assert recall_schedule(checked(f"steps={MOST + 1}")) is None


@pytest.mark.parametrize("others", every(6, FOR_DIFFUSION))
def test_one_trial_is_enough_for_other_schedulers(patient, others):
    tried(checked("steps=3"))
    now = checked("steps=20", f"scheduler={others}")
    notes, lines = recall_schedule(now) or pytest.fail("was not tried")
    assert list(lines) == schedule_lines(now)
    assert [*notes] == [*parts(now).notes_of["schedule"]]


def test_a_process_that_has_spent_its_time_tries_its_own_schedules_alone(patient, monkeypatch):
    monkeypatch.setattr(schedules_ahead, "_spent", schedules_ahead.BUDGET_OF_PROCESS)
    tried(checked("steps=3"))
    assert recall_schedule(checked("steps=3")) is not None
    assert recall_schedule(checked("steps=4")) is None
    assert recall_schedule(checked("steps=3", "scheduler=euler")) is None


def test_from_an_image_all_strengths_are_tried(patient):
    image = ["task=img2img", "image=sample:scene"]
    tried(checked(*image, "steps=10", "strength=0.6"))
    for steps, strength in ((10, 0.1), (10, 1.0), (20, 0.6), (30, 0.6)):
        now = checked(*image, f"steps={steps}", f"strength={strength}")
        known = recall_schedule(now)
        assert known is not None and list(known[1]) == schedule_lines(now), (steps, strength)


def test_steps_that_fail_are_not_known(patient, monkeypatch):
    """The last of 20 steps fails with these settings; fewer pass."""
    monkeypatch.setattr(known_schedules, "MOST", 3)
    words = ["scheduler=dpmpp_2m_karras", "scheduler.beta_schedule=squaredcos_cap_v2"]
    tried(checked(*words, "steps=3"))
    assert recall_schedule(checked(*words, "steps=2")) is not None
    assert recall_schedule(checked(*words, "steps=20")) is None
    with pytest.raises(ComposerError, match="step 20 of 20 fails"):
        tried(checked(*words, "steps=20"))


@pytest.mark.parametrize("family", list(MAKERS))
def test_other_components_do_not_change_the_settings_of_a_scheduler(checkpoints, family):
    checkpoint = find_checkpoint(read(compose_config(["model=local", f"model.source={checkpoints[family]}"])).model)
    alone = replace(checkpoint, configs={"scheduler": checkpoint.scheduler})
    assert original_config(checkpoint) == _original_config(checkpoint) == _original_config(alone)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("dtype", ["auto", "fp32", "bf16", "fp16"])
def test_a_plain_device_has_no_notes(dtype, strict):
    request = checked("device=cpu")
    for unet, force, size in itertools.product((None, "fp32", "bf16", "fp16"), (False, True), (0, 1 << 40)):
        spec = PrecisionSpec(dtype=dtype, components={"unet": unet} if unet else {}, strict=strict, force=force)
        plain = device_is_plain(replace(request, spec=replace(request.spec, precision=spec)))
        assert plain == ("fp16" not in (dtype, unet))
        if plain:
            assert resolve_dtypes(spec, torch.device("cpu"), size)[1] == ()


@pytest.mark.parametrize("model", ["tiny", "tiny_flow"])
def test_enough_steps_offer_all_options(model):
    offers = [_search(checked(f"model={model}", f"steps={steps}")) for steps in (ENOUGH_STEPS, 9, 50, 999)]
    assert offers[1:] == offers[:-1]
