"""`compose list GROUP model=…`: what fits the model."""

from __future__ import annotations

import pytest

from composer.config.catalogue import catalogue
from composer.config.search_path import conf_folders


def listed(compose, *words: str) -> set[str]:
    done = compose("list", *words)
    assert done.code == 0, done.err
    return {line.split()[0].partition("=")[2] for line in done.out.splitlines()}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("sd15", "diffusion"),
        ("flux_dev", "flow"),
        ("sd35_medium", "flow"),
        ("tiny", "diffusion"),
        ("sdxl", "diffusion"),
    ],
)
def test_schedulers_of_a_model_are_those_of_its_kind(compose, model, kind):
    expected = {
        name for name, content in catalogue(conf_folders())["scheduler"].items() if content["_kind_"] in (None, kind)
    }
    assert listed(compose, "scheduler", f"model={model}") == expected != listed(compose, "scheduler")


@pytest.mark.parametrize(
    ("model", "tasks"),
    [
        ("tiny", {"text2img", "img2img", "inpaint", "outpaint", "variations", "upscale"}),
        ("sd15_inpaint", {"inpaint", "outpaint"}),
        ("sd2_depth", {"depth2img"}),
        ("ddpm_cat", {"unconditional"}),
    ],
)
def test_tasks_of_a_model_are_those_it_can_do(compose, model, tasks):
    assert listed(compose, "task", f"model={model}") == tasks


@pytest.mark.parametrize("family", ["sd", "sd3", "ddpm"])
def test_every_scheduler_that_is_listed_passes_the_check(compose, checkpoints, family):
    source = [
        "model=local",
        f"model.source={checkpoints[family]}",
        *(["task=unconditional"] if family == "ddpm" else []),
    ]
    fitting = listed(compose, "scheduler", *source)
    everything = listed(compose, "scheduler")
    for name in sorted(everything)[:: 9 if family != "sd" else 6]:
        refused = "is for" in compose("check", *source, f"scheduler={name}", "steps=4").err
        assert refused == (name not in fitting), name


def test_a_model_that_is_not_here_says_so(compose):
    assert "goes by the description of its option: a flow model" in compose("list", "scheduler", "model=flux_dev").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["precision", "model=sd15"], "only scheduler and task can be narrowed"),
        (["model=sd15"], "only scheduler and task can be narrowed"),
        (["scheduler", "model=local"], "model.source: a value is needed"),
        (["scheduler", "model=local", "model.source=nowhere"], "no such folder"),
        (["scheduler", "model=sd15", "model.source=nowhere"], "no such folder"),
        (["scheduler", "model=tiny", "steps=0"], "steps=0: does not change which options fit"),
        (["euler"], "type scheduler=euler"),
        (["schedulers"], "Did you mean scheduler?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_listed_is_refused(compose, words, message):
    done = compose("list", *words)
    assert done.code == 2 and message in done.err and not done.out
