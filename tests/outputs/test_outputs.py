"""`compose outputs`: lists and measures what composer generated, and removes that alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from composer.server.queue import JobQueue


@pytest.fixture
def outputs(compose) -> Path:
    """Three runs of different ages, a sweep, and a folder of somebody else."""
    for number in range(3):
        words = ["steps=1", f"seed={number}", f"output.folder=outputs/run{number}"]
        assert compose(*words, *(["callbacks=[trace]"] if number == 0 else [])).code == 0
        age(Path(f"outputs/run{number}"), 10 * number)
    assert compose("-m", "steps=1", "seed=1,2", "output.folder=outputs/sweep").code == 0
    Path("outputs/mine").mkdir()
    Path("outputs/mine/000.png").write_bytes(b"x")
    Path("outputs/mine/run.json").write_text("{}")
    return Path("outputs")


def age(folder: Path, days: float) -> None:
    for path in folder.rglob("*"):
        then = path.stat().st_mtime - days * 86400
        os.utime(path, (then, then))


def facts(compose, *words: str) -> dict:
    done = compose("outputs", *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.slow
def test_it_lists_and_measures(compose, outputs):
    listed = facts(compose, "ls")
    assert [(one["kind"], one["path"]) for one in listed["outputs"]] == [
        ("sweep", "outputs/sweep"), ("run", "outputs/run0"), ("run", "outputs/run1"), ("run", "outputs/run2"),
    ]  # fmt: skip
    run = next(one for one in listed["outputs"] if one["path"] == "outputs/run1")
    assert run["bytes"] == sum(path.stat().st_size for path in Path("outputs/run1").iterdir())
    assert facts(compose, "du")["bytes"] == listed["bytes"] == sum(one["bytes"] for one in listed["outputs"])
    assert [one["path"] for one in facts(compose, "ls", "--older-than", "15d")["outputs"]] == ["outputs/run2"]
    assert [one["path"] for one in facts(compose, "ls", "--keep", "3")["outputs"]] == ["outputs/run2"]


def test_it_removes_what_composer_wrote_and_nothing_else(compose, outputs):
    wrote = Path("outputs/run1/run.json").stat().st_mtime
    Path("outputs/run1/notes.txt").write_text("mine")
    os.utime("outputs/run1/notes.txt", (wrote, wrote))  # the times of files say nothing
    os.utime("outputs/run1/000.png")
    shutil.copy("outputs/run1/000.png", "outputs/run1/copy.png")
    Path("outputs/run2/config.yaml").write_text("changed: by hand")
    Path("outputs/run1/link.png").symlink_to(Path("outputs/mine/000.png").absolute())
    would = facts(compose, "rm", "--older-than", "5d")
    assert not would["removed"] and Path("outputs/run2/000.png").exists(), "a dry run by default"
    gone = facts(compose, "rm", "--older-than", "5d", "dry_run=false")
    assert {one["path"] for one in gone["outputs"]} == {"outputs/run1", "outputs/run2"} and gone["other_files"] == 4
    assert Path("outputs/mine/000.png").exists()
    assert [path.name for path in Path("outputs/run2").iterdir()] == ["config.yaml"]
    assert sorted(path.name for path in Path("outputs/run1").iterdir()) == ["copy.png", "link.png", "notes.txt"]
    facts(compose, "rm", "--keep", "0", "dry_run=false")
    assert not Path("outputs/run0").exists() and Path("outputs/sweep/index.html").exists(), (
        "a sweep goes if it is named"
    )
    (job,) = Path("outputs/sweep").glob("0001")
    (job / "notes.txt").write_text("mine")
    assert facts(compose, "rm", "outputs/sweep", "dry_run=false")["other_files"] == 1
    assert [path.name for path in outputs.rglob("sweep/**/*")] == ["0001", "notes.txt"]
    assert sorted(path.name for path in outputs.iterdir()) == ["mine", "run1", "run2", "sweep"]


def test_files_of_a_record_of_an_earlier_version_are_known_by_what_is_in_them(compose):
    """Such a record names no files; images have it in them."""
    assert compose("steps=1", "images=2", "prompt=${x}", "output.folder=outputs/run").code == 0
    record = json.loads(Path("outputs/run/run.json").read_text())
    assert set(record.pop("files")) == {"000.png", "001.png", "grid.png", "config.yaml"}
    Path("outputs/run/run.json").write_text(json.dumps(record))
    Image.new("RGB", (8, 8)).save("outputs/run/mine.png")
    gone = facts(compose, "rm", "outputs/run", "dry_run=false")
    assert gone["other_files"] == 1 and [path.name for path in Path("outputs/run").iterdir()] == ["mine.png"]


def test_a_record_names_no_file_of_another_folder(compose):
    assert compose("steps=1", "output.folder=outputs/run").code == 0
    Path("mine.txt").write_text("x")
    record = json.loads(Path("outputs/run/run.json").read_text())
    record["files"]["../../mine.txt"] = hashlib.sha256(b"x").hexdigest()
    Path("outputs/run/run.json").write_text(json.dumps(record))
    facts(compose, "rm", "outputs/run", "dry_run=false")
    assert Path("mine.txt").exists() and not Path("outputs/run").exists()


@pytest.mark.slow
def test_jobs_of_a_service_go_by_its_queue(compose, outputs):
    queue = JobQueue(Path("outputs/serve"))
    jobs = queue.add("a", [["seed=1"], ["seed=2"], ["seed=3"]])
    for job, state in zip(jobs, ("done", "done", "running")):
        queue.claim(0)
        folder = Path("outputs/serve/jobs", job.id)
        folder.parent.mkdir(exist_ok=True)
        assert compose("steps=1", f"output.folder={folder}").code == 0
        if state == "done":
            queue.finish(job.id, state, ["000.png", "run.json"])
    queue.mark(jobs[1].id, True)
    gone = facts(compose, "rm", "--older-than", "0h", "kind=job", "dry_run=false")
    assert [Path(one["path"]).name for one in gone["outputs"]] == [jobs[0].id]
    assert (
        queue.get(jobs[0].id).files == ()
        and queue.get(jobs[1].id).files
        and Path("outputs/serve/jobs", jobs[2].id).exists()
    )
    assert Path("outputs/serve/queue.db").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["rm"], "say what goes"), (["ls", "--older-than", "30"], "older_than=30: must be hours, days or weeks"),
        (["ls", "keep=-1"], "keep=-1"), (["rm", "keep=1", "dry_run=no"], "dry_run=no"),
        (["ls", "nowhere"], "no such folder"),
        (["du", "dry_run=false"], "is no setting of outputs du"), (["ls", "kind=x"], "is no kind"), ([], "ls, du, rm"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_one_line(compose, words, line):
    refused = compose("outputs", *words)
    assert refused.code == 2 and line in refused.err and len(refused.err.splitlines()) == 1
