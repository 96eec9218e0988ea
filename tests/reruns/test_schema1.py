"""Images that the packages' first layout generated are generated again bit for bit, and its half-done sweep goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

OLD = Path(__file__).parents[1] / "data" / "schema1"
RUNS = sorted(each.name for each in OLD.iterdir() if each.name != "sweep")


def same(now: dict, before: dict) -> bool:
    """The same pixels; of other libraries or threads, the last bits may differ, and the run must be the same alone."""
    alike = all(now[key] == before[key] for key in ("versions", "threads", "device"))
    rest = all(
        now[key] == before[key]
        for key in ("schema", "choices", "options", "inputs", "scheduler", "guidance", "dtypes", "model")
    )
    return rest and (not alike or now["pixels"] == before["pixels"])


@pytest.mark.parametrize("name", RUNS)
def test_an_image_is_drawn_again_bit_for_bit(compose, tmp_path, name):
    done = compose("rerun", str(OLD / name / "run.json"), "output.folder=again")
    before = json.loads((OLD / name / "run.json").read_text("utf-8"))
    assert done.code in (0, 1), done.err
    assert same(json.loads((tmp_path / "again/run.json").read_text("utf-8")), before)


def test_a_sweep_that_lost_half_of_its_jobs_draws_these_alone(compose, tmp_path):
    folder = shutil.copytree(OLD / "sweep", tmp_path / "sweep")
    lost = ("0001", "0002")
    before = {name: json.loads((folder / name / "run.json").read_text("utf-8")) for name in lost}
    for name in lost:
        shutil.rmtree(folder / name)
    done = compose("resume", str(folder))
    assert done.code == 0 and "2 generated, 2 were there already" in done.out, done.err
    assert all(same(json.loads((folder / name / "run.json").read_text("utf-8")), before[name]) for name in lost)
