"""Job ids name options and no classes; a sweep that composer 0.1 began goes on where it stopped."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from composer.callbacks import dynamic_threshold
from composer.config import choices, search_path
from composer.config.compose import compose_config
from composer.records.job_id import job_id
from composer.sweeps.worker import Worker

OLD = Path(__file__).parents[1] / "data" / "schema0"


def with_a_moved_class(tmp_path, monkeypatch) -> None:
    """composer's own option file names another module than it did."""
    conf = shutil.copytree(search_path.packaged_conf(), tmp_path / "moved")
    file = conf / "callbacks/dynamic_threshold.yaml"
    file.write_text(file.read_text("utf-8").replace("callbacks.dynamic_threshold.", "callbacks.elsewhere."), "utf-8")
    monkeypatch.setitem(sys.modules, "composer.callbacks.elsewhere", dynamic_threshold)
    for module in (search_path, choices):
        monkeypatch.setattr(module, "packaged_conf", lambda: conf)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(("name", "jobs"), [("sweep", 4), ("masked", 2), ("batch", 2)])
def test_done_jobs_of_schema_0_stay_done(compose, tmp_path, monkeypatch, name, jobs, moved):
    folder = shutil.copytree(OLD / name, tmp_path / name)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("run.json")}
    if moved:
        with_a_moved_class(tmp_path, monkeypatch)
    done = compose("resume", str(folder))
    assert done.code == 0 and f"{jobs} jobs: 0 generated, {jobs} were there already" in done.out, done
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("run.json")} == before


def test_only_a_lost_job_of_schema_0_is_generated(compose, tmp_path):
    folder = shutil.copytree(OLD / "batch", tmp_path / "batch")
    shutil.rmtree(folder / "0001")
    done = compose("resume", str(folder))
    assert done.code == 0 and "1 generated, 1 were there already" in done.out, done
    again = compose("resume", str(folder))
    assert "0 generated, 2 were there already" in again.out


def id_of(*words: str) -> str:
    return job_id(Worker().check(compose_config([*words])))


def test_a_moved_class_changes_no_id(compose, tmp_path, monkeypatch):
    before = id_of("callbacks=[dynamic_threshold]")
    with_a_moved_class(tmp_path, monkeypatch)
    assert id_of("callbacks=[dynamic_threshold]") == before


def test_options_of_one_class_have_ids_of_their_own():
    assert len({id_of(f"scheduler={name}") for name in ("default", "euler", "euler_karras", "ddim")}) == 4


def test_a_typed_family_has_ids_of_its_own():
    untyped, detected, hosted, former = (
        id_of(*words) for words in ([], *([f"model.family={name}"] for name in ("auto", "hosted", "classic")))
    )
    assert untyped == detected != hosted == former


def test_another_class_in_an_option_of_ones_own_counts(compose, tmp_path):
    file = tmp_path / "conf/scheduler/mine.yaml"
    file.parent.mkdir(parents=True)
    (tmp_path / "conf/.composer").touch()
    results = []
    for name in ("DDIMScheduler", "EulerDiscreteScheduler", "DDIMScheduler"):
        file.write_text(f"_target_: diffusers.{name}\n_kind_: diffusion\n", "utf-8")
        results.append(id_of("scheduler=mine"))
    assert results[0] == results[2] != results[1]
