"""`compose clean` lists what can be removed, removes it with a flag, and touches nothing else."""

from __future__ import annotations

import hashlib
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from composer.errors import Busy
from composer.sweeps.cleanup import clean
from composer.sweeps.lock import locked
from composer.system.files import exclusive_lock

OLD, TODAY = (date.today() - timedelta(days=30)).isoformat(), date.today().isoformat()


@pytest.fixture
def outputs(tmp_path, monkeypatch) -> Path:
    """Two days of runs, a sweep, a run in a folder of its own, and what is nobody's."""
    monkeypatch.chdir(tmp_path)
    for day in (OLD, TODAY):
        for time in ("10-00-00-000001", "11-00-00-000001"):
            made(tmp_path / "outputs" / day / time, "run.json", "000.png", "preview-000.webp")
    made(tmp_path / "outputs" / TODAY / "12-00-00-000001", "000.png")  # under way, or died
    made(tmp_path / "outputs" / TODAY / "my own", "run.json")
    made(
        tmp_path / "outputs" / "sweeps" / "x", "sweep.json", "journal.jsonl", "index.html", "results.csv", "contact.png"
    )
    made(tmp_path / "outputs" / "sweeps" / "x" / "0000", "000.png")
    hashes = {"000.png": hashlib.sha256(b"x" * 1000).hexdigest()}
    (tmp_path / "outputs" / "sweeps" / "x" / "0000" / "run.json").write_text(json.dumps({"files": hashes}))
    made(tmp_path / "mine", "run.json", "000.png")
    made(tmp_path / "photos", "a.png")
    return tmp_path / "outputs"


def made(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x" * 1000)


def there(root: Path) -> set[str]:
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}


def test_by_itself_it_only_lists(outputs, compose):
    before = there(outputs.parent)
    done = compose("clean")
    assert done.code == 0 and there(outputs.parent) == before
    assert f"2 runs  outputs/{OLD}" in done.out and "in 4 folders; dry_run=false does it" in done.out
    data = json.loads(compose("clean", "older=7", "--json").out)
    assert data["removed"] is False and [item["size"] for item in data["folders"]] == [3000, 3000]


@pytest.mark.parametrize(("words", "days"), [((), {OLD, TODAY}), (("older=7",), {OLD}), (("older=31",), set())])
def test_runs_go_by_their_days_and_nothing_else(outputs, compose, words, days):
    before = there(outputs.parent)
    assert compose("clean", *words, "dry_run=false").code == 0
    gone = {file for file in before if any(f"outputs/{day}/1" in file for day in days) and "/12-" not in file}
    assert before - there(outputs.parent) == gone
    assert (outputs / OLD).exists() == (OLD not in days), "an empty day goes too"
    assert (outputs / TODAY / "my own").exists() and (outputs / "sweeps" / "x" / "0000" / "000.png").exists()


def test_a_sweep_goes_where_it_is_named_with_what_it_wrote(outputs, compose):
    (outputs / "sweeps" / "x" / "notes.txt").write_text("mine")
    assert "would remove" in compose("clean", "outputs/sweeps/x").out and (outputs / "sweeps" / "x" / "0000").exists()
    assert compose("clean", "outputs/sweeps/x", "mine", "dry_run=false").code == 0
    assert there(outputs / "sweeps") == {"x/notes.txt"} and not (outputs.parent / "mine").exists()
    assert (outputs / OLD / "10-00-00-000001").exists(), "where folders are named, they alone go"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos"], "is no run's and no sweep's folder"),
        (["nowhere"], "is no run's and no sweep's folder"),
        (["outputs"], "is no run's and no sweep's folder"),
        (["mine", "photos"], "is no run's and no sweep's folder"),
        (["older=a week"], "must be a number of days"),
        (["older=-1"], "must be a number of days"),
        (["dry_run=no"], "is not known. (allowed: true, false)"),
        (["mine", "older=7"], "omit it, or omit the folders"),
        (["oldr=7"], "Did you mean older?"),
    ],
)
def test_what_it_can_not_do_is_refused_and_nothing_goes(outputs, compose, words, message):
    before = there(outputs.parent)
    done = compose("clean", "dry_run=false", *words) if "dry_run" not in words[0] else compose("clean", *words)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1 and there(outputs.parent) == before


def test_links_are_not_followed(outputs, compose):
    (outputs / "2020-01-01").symlink_to(outputs.parent / "photos")
    (outputs / OLD / "13-00-00-000001").symlink_to(outputs.parent / "mine")
    assert compose("clean", "dry_run=false").code == 0
    assert (outputs.parent / "photos" / "a.png").exists() and (outputs.parent / "mine" / "run.json").exists()


def test_what_is_worked_in_stays(outputs):
    with exclusive_lock(outputs.parent / "mine"), pytest.raises(Busy):
        clean(["mine", "dry_run=false"])
    with locked(outputs / "sweeps" / "x"), pytest.raises(Busy):
        clean(["outputs/sweeps/x", "dry_run=false"])
    assert (outputs.parent / "mine" / "run.json").exists() and (outputs / "sweeps" / "x" / "0000").exists()


def test_nothing_to_remove_is_reported(compose):
    assert "nothing to remove" in compose("clean").out
