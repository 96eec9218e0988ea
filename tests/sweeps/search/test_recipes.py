"""Searches over settings of recipes."""

from __future__ import annotations

import json
import shlex

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """# Two steps.
prompt: a red cone
steps:
  base: {task: text2img, height: 64, width: 64, steps: 2}
  again: {task: img2img, image: 'step:base', steps: 2, strength: 0.5}
"""


@pytest.fixture
def search(compose, tmp_path, monkeypatch):
    """Run a search over a recipe of two steps, with an empty cache."""
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / ".composer").touch()
    (tmp_path / "conf" / "recipe" / "two.yaml").write_text(RECIPE)
    return lambda *words: compose("-m", "hydra/sweeper=optuna", "recipe=two", "output.folder=s", *words)


def records(folder) -> list[dict]:
    return [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("0*/run.json"))]


def test_settings_of_steps_are_searched_over_and_the_best_command_repeats_it(search, compose, tmp_path):
    words = ("again.strength=0.5,1.0", "base.steps=2,3", "metric=[sharpness]", "search.metric=sharpness")
    done = search(*words)
    assert done.code == 0 and "4 generated" in done.out, done.err
    values = {r["pixels"][0]: r["metrics"]["sharpness"]["values"][0] for r in records(tmp_path / "s")}
    (line,) = (line for line in done.out.splitlines() if line.startswith("best: "))
    assert compose(*shlex.split(line)[2:], "output.folder=best").code == 0
    best = json.loads((tmp_path / "best/run.json").read_text("utf-8"))
    assert values[best["pixels"][0]] == max(values.values()) and len(values) == 4
    assert all(set(record["recipe"]["steps"]) == {"base", "again"} for record in records(tmp_path / "s"))
    assert "0 generated, 4 known before" in search(*words).out


def test_time_is_that_of_all_steps_and_not_of_stored_ones(search, tmp_path):
    assert search("again.strength=0.5,1.0", "search.metric=seconds").code == 0
    assert [record["recipe"]["reuse"] for record in records(tmp_path / "s")] == [False, False]


def test_a_reference_is_of_the_recipe(search, tmp_path):
    done = search("again.strength=0.5,1.0", "search.metric=distance", "search.reference=again.strength=1.0")
    assert done.code == 0 and "again.strength=1.0" in done.out.splitlines()[-1]
    other = search(
        "again.strength=0.5,1.0", "search.metric=distance", "search.reference=base.height=128", "sweep.fresh=true"
    )
    assert other.code == 2 and "can't be compared" in other.err


def test_a_setting_that_no_step_takes_is_refused(search):
    done = search("agian.strength=0.5,1.0")
    assert done.code == 2 and "has no step agian" in done.err and done.err.count("\n") == 1
