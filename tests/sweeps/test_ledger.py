"""A sweep's folder is a ledger: every job that was ever requested has one state, whatever is requested next and
whenever the process was killed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tiers import every

from composer import __version__
from composer.callbacks.nan_guard import NanGuard
from composer.sweeps import driver
from composer.sweeps.grammar import Job, JobSetting
from composer.sweeps.journal import LOG_FILE, Journal
from composer.sweeps.ledger import DROPPED, STATES, Ledger, Row, count_states, rows_as_data
from composer.sweeps.report.live import LiveReport
from composer.sweeps.spec import SheetSpec
from composer.sweeps.status import status_text
from composer.testing.derived import differences

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = ("steps=1", "height=64", "width=64", "callbacks=[nan_guard]")


# Made-up lists of requests, edits, kills and resumes, on real folders; what a job comes to is made up too


@dataclass
class World:
    """A folder and its expected state.

    Attributes:
        ever: Key → id of all jobs that were ever requested.
        done: Ids of finished jobs.
    """

    folder: Path
    ever: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def job(self, number: int, seed: int) -> Job:
        return Job(number, (JobSetting(f"seed={seed}", "seed", seed), JobSetting("prompt=x", "prompt", "x")), ("seed",))

    def id(self, job: Job) -> str:
        """Seeds from 10 on are the same jobs as those from 0 on, in other words."""
        return hashlib.sha256(str(job.settings[0].value % 10).encode()).hexdigest()[:32]


def as_tuple(row: Row) -> tuple:
    """What is known of a row without its process: what was under way is waiting, or failed an earlier time."""
    return row.number, {"running": "waiting", "failed": "waiting"}.get(row.state, row.state), row.id, row.values


def act(world: World, seeds: list[int], bad: set[int], steps: list[tuple[str, int]], killed: bool) -> Ledger:
    """One process: it reads what is there, asks, works as far as it comes, and is killed."""
    journal = Journal.read(world.folder)
    journal.remove_drafts()
    ledger = Ledger(journal)
    jobs = [world.job(number, seed) for number, seed in enumerate(seeds)]
    ledger.write_request(
        [j for j in jobs if j.number not in bad],
        [(j, "no such file") for j in jobs if j.number in bad],
        {"overrides": []},
    )
    world.ever.update({job.key: world.id(job) for job in jobs})
    journal.start("1")
    for what, which in steps:
        work(world, journal, jobs[which % len(jobs)], what)
        consistent(world, ledger.rows(), len(jobs))
    if killed:
        with open(world.folder / LOG_FILE, "ab") as file:
            file.write(b'{"batch": ["torn')
    else:
        journal.flush()
    return ledger


def work(world: World, journal: Journal, job: Job, what: str) -> None:
    journal.note_id(job.key, world.id(job))
    if world.id(job) in journal.done:
        return
    journal.begin([world.id(job)])
    if what == "generate":
        record = {
            "images": [{"seed": 1, "prompt": "x"}],
            "seconds": 1.0,
            "steps": 1,
            "sweep": {"key": job.key, "values": job.values},
        }
        journal.commit(world.id(job), journal.new_subfolder(job.number), {"000.png": b"image"}, record)
        world.done.add(world.id(job))
    elif what == "fail":
        journal.fail(world.id(job), "no luck", number=job.number, values=job.values, tries=1)
    elif what == "half":  # killed amid its files
        (world.folder / journal.new_subfolder(job.number)).mkdir(exist_ok=True)
        (world.folder / journal.new_subfolder(job.number) / "000.png").write_bytes(b"ima")


def consistent(world: World, rows, requested: int) -> None:
    """The counts add up, no job is lost, none is there twice."""
    counts = count_states(rows)
    assert set(counts) == set(STATES) and sum(counts.values()) == len(rows) and min(counts.values()) >= 0
    assert [row.number for row in rows[:requested]] == list(range(requested)) and all(
        row.state != DROPPED for row in rows[:requested]
    )
    assert all(row.state == DROPPED and row.number is None for row in rows[requested:])
    assert counts["done"] <= requested == len(rows) - counts[DROPPED]
    assert {row.id for row in rows if row.subfolder} == world.done, "each finished job has a row with its images"
    former = [row.id for row in rows[requested:] if row.id]
    assert len(former) == len(set(former)) and not set(former) & {row.id for row in rows[:requested]}
    seeds = {int(row.values["seed"]) % 10 for row in rows}
    assert seeds == {
        seed for seed in range(10) if hashlib.sha256(str(seed).encode()).hexdigest()[:32] in world.ever.values()
    }


request = st.tuples(
    st.lists(st.integers(0, 13), min_size=1, max_size=6),
    st.sets(st.integers(0, 6), max_size=2),
    st.lists(st.tuples(st.sampled_from(["generate", "fail", "begin", "half"]), st.integers(0, 5)), max_size=8),
    st.booleans(),
)


requests = st.lists(request, min_size=1, max_size=5)
PHASES = (Phase.explicit, Phase.generate)  # a shortened history is not worth the minutes


@settings(max_examples=40, phases=PHASES)
@given(requests)
def test_no_job_is_lost_and_the_counts_add_up(requests):
    lived(requests)


@pytest.mark.slow
@settings(max_examples=1000, phases=PHASES)
@given(requests)
def test_no_job_is_lost_in_a_thousand_histories(requests):
    lived(requests)


def lived(requests) -> None:
    """A history of one folder, looked at after each process."""
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        for seeds, bad, steps, killed in requests:
            ledger = act(world, seeds, {number for number in bad if number < len(seeds)}, steps, killed)
            left = Ledger.read(world.folder)
            consistent(world, left.rows(), len(seeds))
            if not killed:
                assert [as_tuple(row) for row in left.rows()] == [as_tuple(row) for row in ledger.rows()], (
                    "the folder alone holds all states"
                )
            everywhere_the_same(left)


def everywhere_the_same(ledger: Ledger) -> None:
    """Status, --json, results.csv and the page show the same states."""
    folder, rows = ledger.journal.folder, ledger.rows()
    counts = Counter(row.state for row in rows)
    LiveReport(folder, "title", ledger, SheetSpec()).write(finished=False)
    table = list(csv.DictReader((folder / "results.csv").open(newline="")))
    assert [row["state"] for row in table] == [row.state for row in rows]
    data = rows_as_data(folder, rows, ledger.journal.briefs)
    assert [job["state"] for job in data["jobs"]] == [row.state for row in rows]
    assert {state: data[state.replace(" ", "_")] for state in STATES} == count_states(rows) and data["asked"] == len(
        rows
    ) - counts[DROPPED]
    message = status_text(ledger)
    assert (
        f"{counts['done']} of {data['asked']} done, {counts['failed']} failed, {counts['running']} under way" in message
    )
    page = (folder / "index.html").read_text()
    assert all(f"<b>{counts[state]}</b> {state}" in page for state in counts)


# The command itself


def facts_of(done) -> dict:
    return json.loads(done.out.splitlines()[-1])


def states(found: dict) -> list[str]:
    return [job["state"] for job in found["jobs"]]


def test_a_smaller_request_forgets_nothing(compose, tmp_path):
    assert compose("-m", "seed=range(4)", *QUICK, "output.folder=x").code == 0
    done = compose("-m", "seed=range(2)", *QUICK, "output.folder=x")
    assert "2 jobs: 0 generated, 2 were there already, 2 no longer asked for" in done.out
    output = compose("status", "x").out
    assert (
        "2 of 2 done, 0 failed, 0 under way, 0 waiting, 2 no longer asked for" in output
        and "-" not in output.split("done")[1].split(";")[0]
    )
    again = compose("-m", "seed=range(5)", *QUICK, "output.folder=x", "--json")
    result = facts_of(again)
    assert (result["asked"], result["generated"], result["done"], result["no_longer_asked_for"]) == (5, 1, 5, 0)
    status = facts_of(compose("status", "x", "--json"))
    assert states(result) == ["done"] * 5 == states(status)
    assert status["folder"] == "x" and status["jobs"][0]["images"] == ["x/0000/000.png"]  # as typed


@pytest.mark.parametrize("bad", ["image=sample:scene,gone.png", "sweep.jobs=j.csv"])
def test_an_invalid_job_has_a_row_and_a_reason(compose, tmp_path, bad):
    (tmp_path / "j.csv").write_text("image\nsample:scene\ngone.png\n")
    words = ("-m", "task=img2img", "strength=1.0", bad, *QUICK, "output.folder=x", "sweep.on_invalid=skip")
    done = compose(*words, "--json")
    result = facts_of(done)
    assert done.code == 0 and (result["asked"], result["done"], result["invalid"]) == (2, 1, 1)
    assert result["jobs"][1]["state"] == "invalid" and "there is no such file" in result["jobs"][1]["reason"]
    row = list(csv.DictReader((tmp_path / "x" / "results.csv").open(newline="")))[1]
    assert row["state"] == "invalid" and "there is no such file" in row["reason"] and row["image"] == "gone.png"
    assert (
        "1 invalid" in compose("status", "x").out
        and "2 jobs: 0 generated, 1 were there already, 1 invalid" in compose(*words).out
    )
    assert '<figure class="invalid"' in (tmp_path / "x" / "index.html").read_text()
    shutil.copy(Path(__file__).parents[2] / "docs" / "sheet.png", tmp_path / "gone.png")
    assert facts_of(compose(*words, "--json"))["done"] == 2, "valid by now"


def test_keys_of_json_are_names(compose):
    result = facts_of(compose("-m", "seed=1,1,2", *QUICK, "output.folder=x", "--json"))
    assert all(key.isidentifier() for key in result) and all(
        key.isidentifier() for job in result["jobs"] for key in job
    )
    assert (
        result["same"] == 1
        and result["generated"] == 2
        and result["jobs"][0]["images"] == ["x/0000/000.png"] == result["jobs"][1]["images"]
    )


def test_a_failed_job_stays_failed_until_it_is_generated(compose, tmp_path, monkeypatch):
    words = ("-m", "seed=range(3)", *QUICK, "output.folder=x", "sweep.batch=1", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(NanGuard, "after_predict", lambda self, step, x: 1 / 0)
        result = facts_of(compose(*words, "sweep.fail_fast=true"))
    assert states(result) == ["failed", "waiting", "waiting"] == states(facts_of(compose("status", "x", "--json")))
    assert "ZeroDivisionError" in result["jobs"][0]["reason"]
    assert states(facts_of(compose(*words))) == ["done"] * 3


@pytest.mark.parametrize("where", every(3, ["after the last job", "before the page", "with no page at all"]))
def test_a_sweep_killed_after_its_last_job_gets_its_pages(compose, tmp_path, monkeypatch, where):
    words = ("-m", "seed=range(3)", *QUICK, "sweep.batch=1")
    assert compose(*words, "output.folder=plain").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(driver.LiveReport, "write", lambda self, finished, now=False: None)
        assert compose(*words, "output.folder=x").code == 0
    if where == "before the page":
        shutil.copy(tmp_path / "plain" / "index.html", tmp_path / "x" / "index.html")
        (tmp_path / "x" / "index.html").write_text((tmp_path / "x" / "index.html").read_text()[:-500])
    if where == "after the last job":
        for name in ("index.html", "contact.png", "results.csv"):
            shutil.copy(tmp_path / "plain" / name, tmp_path / "x" / name)
        assert compose("-m", "seed=range(2)", *QUICK, "output.folder=x").code == 0  # pages of 2 of them
    again = compose("resume", "x") if where != "after the last job" else compose(*words, "output.folder=x")
    assert "3 jobs: 0 generated, 3 were there already" in again.out
    assert differences(tmp_path / "plain", tmp_path / "x") == {"pages": 0, "tables": 0, "contact sheets": 0}


def test_an_upgrade_in_the_middle_is_noted(compose, tmp_path, monkeypatch):
    words = ("-m", "seed=range(2)", *QUICK, "output.folder=x")
    assert "generated by" not in compose(*words).err
    for module in ("composer.records.record", "composer.sweeps.driver", "composer.sweeps.upgrade_notes"):
        monkeypatch.setattr(f"{module}.__version__", "99.0")
    done = compose("-m", "seed=range(3)", *QUICK, "output.folder=x")
    assert (
        f"note: 2 of the jobs that are done were generated by composer {__version__}; this is 99.0" in done.err
        and done.err.count("\n") == 1
    )
    rows = list(csv.DictReader((tmp_path / "x" / "results.csv").open(newline="")))
    assert [row["composer"] for row in rows] == [__version__, __version__, "99.0"]


@pytest.mark.parametrize(
    ("words", "title"),
    every(
        2,
        [
            (
                ("seed=1,2", "callbacks.preview.every=2", "callbacks=[preview]"),
                "seed=1,2 callbacks.preview.every=2 callbacks=[preview]",
            ),
            (("prompt=a cat, on sand", "seed=1,2"), "prompt=a cat, on sand seed=1,2"),
            (("prompt=@p.txt", "guidance=2,3"), "prompt=@p.txt guidance=2,3"),
            (("++scheduler.eta=0.5,1.0", "sweep.limit=1"), "scheduler.eta=0.5,1.0 sweep.limit=1"),
        ],
    ),
)
def test_a_title_is_what_was_typed(compose, tmp_path, words, title):
    (tmp_path / "p.txt").write_text("a red cone\na blue cube\n")
    size = ("steps=1", "height=64", "width=64")
    assert compose("-m", *words, *size, "output.folder=x").code == 0
    for _ in range(2):
        page = (tmp_path / "x" / "index.html").read_text()
        assert re.search("<title>(.*)</title>", page)[1] in (
            f"{title} {' '.join(size)}",
            " ".join([*title.split()[:-1], *size, title.split()[-1]]),
        )
        assert compose("resume", "x").code == 0


def test_a_folder_of_an_earlier_composer_is_understood(compose, tmp_path):
    assert compose("-m", "seed=range(3)", *QUICK, "output.folder=x").code == 0
    about = json.loads((tmp_path / "x" / "sweep.json").read_text())
    (tmp_path / "x" / "sweep.json").write_text(
        json.dumps({key: about[key] for key in ("composer", "overrides", "manner", "jobs", "cwd")})
    )
    for file in (tmp_path / "x").glob("*/run.json"):
        record = json.loads(file.read_text())
        del record["sweep"]["key"]
        file.write_text(json.dumps(record))
    (tmp_path / "x" / "0001" / "run.json").unlink()
    assert "2 of 3 done, 0 failed, 0 under way, 1 waiting" in compose("status", "x").out
    assert "3 jobs: 1 generated, 2 were there already" in compose("resume", "x").out


@pytest.mark.parametrize(
    "text", every(3, ["{", "[]", '{"overrides": 3}', '{"overrides": [], "asked": [3, {"key": 1}], "former": {"a": 1}}'])
)
def test_a_damaged_list_loses_no_image(compose, tmp_path, text):
    assert compose("-m", "seed=range(2)", *QUICK, "output.folder=x").code == 0
    (tmp_path / "x" / "sweep.json").write_text(text)
    result = facts_of(compose("-m", "seed=choice(1)", *QUICK, "output.folder=x", "--json"))
    assert (result["asked"], result["done"], result["no_longer_asked_for"]) == (1, 1, 1)
