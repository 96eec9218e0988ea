"""Option files that are none: one line that names the key or the file. Each of these once ended in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiers import sampled


def lines(compose, group: str, text: str) -> list[str]:
    file = Path("mine") / group / "odd.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    done = compose(
        "check",
        "--config-dir",
        "mine",
        f"{group}=[odd]" if group in ("callbacks", "memory", "accel") else f"{group}=odd",
    )
    assert done.code == 2 and done.out == ""
    return done.err.splitlines()


@pytest.mark.parametrize(
    ("group", "text"),
    sampled(
        ["task", "model", "scheduler", "guidance", "callbacks", "memory", "accel", "precision", "output"],
        ["[null]", "[false, 1]", "7", "yes", "'\x1f'", "a: [", "? [1, 2]\n: 3", "!!python/object:os.system x"],
        each=2,
    ),
)
def test_what_holds_no_settings(compose, group, text):
    (line,) = lines(compose, group, text)
    assert line.startswith("compose: ") and ("must hold settings" in line or "is no YAML" in line or group in line), (
        line
    )
    assert "yes" not in text or "mine" in line


@pytest.mark.parametrize(
    ("group", "text", "message"),
    [
        ("output", "null: 3", "a key must be text"),
        ("precision", "dtype: fp32\n1: fp16", "a key must be text"),
        (
            "scheduler",
            "_target_: diffusers.EulerDiscreteScheduler\n_kind_: ffusion",
            "scheduler._kind_=ffusion: is not known.",
        ),
        ("scheduler", "_target_: [diffusers]", "scheduler="),
        ("model", "name: [a]\nsource: embedded:text2img", "model.name=['a']: must be text"),
        ("model", "source: embedded:text2img\nvariants: [1]", "model.variants=[1]: must hold settings"),
        ("model", "source: embedded:text2img\nrecommended: 3", "model.recommended=3: must hold settings"),
        (
            "model",
            "source: embedded:text2img\nvariants: {text2img: 3}",
            "model.variants.text2img=3: must hold settings",
        ),
        ("model", "source: embedded:text2img\ncomponents: [vae]", "model.components="),
        ("callbacks", "${ odd: {every: 1}", "callbacks=${ odd: is no name of an option"),
    ],
)
def test_settings_that_are_none(compose, group, text, message):
    (line,) = lines(compose, group, text)
    assert message in line, line


def test_a_file_that_is_not_chosen_does_no_harm(compose):
    lines(compose, "preset", "[1]")
    assert compose("check", "--config-dir", "mine").code == 0
    done = compose("check", "--config-dir", "mine", "stepz=3")
    assert "stepz=3: there is no such key" in done.err


def test_a_group_of_ones_own_is_added_with_a_plus(compose):
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/a.yaml").write_text("# @package _global_\nsteps: 2\n")
    done = compose("check", "--config-dir", "mine", "experiment=a")
    assert done.code == 2 and "which is added with a plus: +experiment=a" in done.err
    assert compose("check", "--config-dir", "mine", "+experiment=a").code == 0
    swept = ("--config-dir", "mine", "+experiment=a,a")
    assert "add -m" in compose("config", *swept).err and "check and plan take it" in compose("config", "-m", *swept).err
    assert compose("check", "-m", *swept).out == "all is well: 2 jobs can run\n"


def test_a_model_without_a_name_is_called_by_its_source(compose):
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/odd.yaml").write_text("source: embedded:text2img\n")
    assert compose("--config-dir", "mine", "model=odd", "steps=1", "height=64", "width=64").code == 0
