"""hydra/sweeper=optuna on the command line, with Optuna itself and the embedded checkpoint; the time is made steady
where it decides.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiers import slow_but

from composer.sweeps.journal import finished_job_id
from composer.sweeps.lock import locked
from composer.sweeps.worker import JobFailure, Worker

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("one_thread")

SEARCH = ("-m", "hydra/sweeper=optuna", "height=64", "width=64", "hydra.sweep.dir=out")
NEAR = ("scheduler=euler,ddim", "steps=range(2,8)", "search.reference='steps=12 scheduler=ddim'")


@pytest.fixture
def generated(monkeypatch) -> list[dict]:
    """The config of each image that is generated. An image takes 0.01 s for each step."""
    generated: list[dict] = []
    generate = Worker.generate

    def steady(self, jobs, more=(), may_grow=True):
        generated.extend(job.spec.config for job in jobs)
        return [
            replace(item, record={**item.record, "seconds": item.record["iterations"] / 100})
            for item in generate(self, jobs, more, may_grow)
        ]

    monkeypatch.setattr(Worker, "generate", steady)
    return generated


def records(folder: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("0*/run.json"))}


def points(folder: Path) -> list[tuple[str, ...]]:
    return [tuple(record["sweep"]["values"].values()) for record in records(folder).values()]


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB")).astype(float)


def command(message: str) -> list[str]:
    """The words of the command that generates the best trial again."""
    (line,) = (line for line in message.splitlines() if line.startswith("best: compose "))
    return shlex.split(line)[2:]


TABLE: dict[tuple[str, str], tuple[int, float]] = {}


@pytest.fixture
def table(compose, tmp_path, generated) -> dict[tuple[str, str], tuple[int, float]]:
    """Scheduler and steps → iterations and distance, of a sweep over all of NEAR, each generated alone; once for all
    tests.
    """
    if not TABLE:
        TABLE.update(exhaustive(compose, tmp_path))
    generated.clear()
    return TABLE


def exhaustive(compose, tmp_path) -> dict[tuple[str, str], tuple[int, float]]:
    assert compose("-m", *NEAR[:2], "height=64", "width=64", "sweep.batch=1", "hydra.sweep.dir=all").code == 0
    assert compose("steps=12", "scheduler=ddim", "height=64", "width=64", "hydra.run.dir=fine").code == 0
    expected = pixels(tmp_path / "fine" / "000.png")
    results = {}
    for subfolder, record in records(tmp_path / "all").items():
        far = float(np.abs(pixels(tmp_path / "all" / subfolder / "000.png") - expected).mean())
        results[tuple(record["sweep"]["values"].values())] = record["iterations"], far
    return results


def test_the_cheapest_within_a_distance_is_found_and_can_be_repeated(compose, tmp_path, generated, table):
    within = sorted(far for _, far in table.values())[5] + 1e-6
    cheapest = min(iterations for iterations, far in table.values() if far <= within)
    assert 2 < cheapest < 7  # neither end is the answer
    done = compose(*SEARCH, *NEAR, f"search.within={within}", "search.trials=50")
    assert done.code == 0 and "12 trials: 12 generated, 6 too far from the reference" in done.out
    words = command(done.out)
    values = dict(word.split("=") for word in words)
    assert table[values["scheduler"], values["steps"]][0] == cheapest
    (row,) = (line.split() for line in done.out.splitlines() if line.startswith(("euler ",
                "ddim ")) and line.split()[1] == values["steps"]
              and line.split()[0] == values["scheduler"])  # fmt: skip
    assert abs(float(row[2]) - table[values["scheduler"], values["steps"]][1]) < 0.01
    assert compose(*words, "hydra.run.dir=again").code == 0
    assert (pixels(tmp_path / "again" / "000.png") == pixels(tmp_path / "out" / row[-1] / "000.png")).all()


@pytest.mark.parametrize("seed", slow_but([0], range(3)))
def test_with_fewer_trials_than_points_nothing_is_shown_that_is_too_far(compose, tmp_path, generated, table, seed):
    within = sorted(far for _, far in table.values())[5] + 1e-6
    done = compose(*SEARCH, *NEAR, f"search.within={within}", "search.trials=7", f"search.seed={seed}")
    shown = [tuple(line.split()[:2]) for line in done.out.splitlines() if line.startswith(("euler ", "ddim "))]
    assert len(points(tmp_path / "out")) == 7
    assert sorted(shown) == sorted(point for point in points(tmp_path / "out") if table[point][1] <= within)


def test_nothing_near_is_exit_1_and_says_what_is_nearest(compose, generated):
    done = compose(*SEARCH, *NEAR, "search.within=0", "search.trials=3")
    assert done.code == 1 and "best:" not in done.out
    (line,) = done.err.splitlines()
    assert (
        line.startswith("compose: search.within=0: no trial is that near to the reference; the nearest is ")
        and "steps=" in line
    )


def test_what_is_least_can_be_the_distance(compose, tmp_path, generated, table):
    done = compose(*SEARCH, *NEAR, "search.metric=distance", "search.trials=12")
    values = dict(word.split("=") for word in command(done.out))
    assert table[values["scheduler"], values["steps"]][1] == min(far for _, far in table.values())
    assert len(generated) == 1 + 12  # the reference, and each point once: no image is timed


def test_memory_is_that_of_each_trial(compose, tmp_path):
    """In whichever order: without forgetting the first peak, one image after eight would have theirs."""
    words = ("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=out", "steps=1", "search.metric=peak_memory")
    done = compose(*words, "images=choice(8)")  # of this process's first, which also holds what loading took
    done = compose(*words, "images=1,8", "sweep.fresh=true") if done.code == 0 else done
    if done.code == 2:
        pytest.skip(done.err)
    assert "images=1" in command(done.out)
    one, eight = (
        next(r for r in records(tmp_path / "out").values() if len(r["images"]) == count)["peak_memory"]
        for count in (1, 8)
    )
    assert one < eight


def test_the_same_command_continues_and_generates_nothing_twice(compose, tmp_path, generated):
    words = (*SEARCH, "seed=range(8)", "steps=1,2", "search.reference='steps=3'", "search.metric=distance")
    first = compose(*words, "search.trials=5")
    assert first.code == 0 and len(generated) == 5 + 1
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("0*/*")}
    again = compose(*words, "search.trials=5")
    assert again.code == 0 and len(generated) == 6 and command(again.out) == command(first.out)
    assert "5 trials: 0 generated, 5 known before" in again.out
    more = compose(*words, "search.trials=9")
    assert more.code == 0 and len(generated) == 10 and "9 trials: 4 generated, 5 known before" in more.out
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(set(points(tmp_path / "out"))) == 9


def test_resume_and_status_know_it(compose, tmp_path, generated):
    words = (*SEARCH, "seed=range(4)", "steps=1,2", "search.reference='steps=3'", "search.metric=distance")
    assert compose(*words, "search.trials=4").code == 0
    assert "5 of 5 done, 0 failed" in compose("status", "out").out
    again = compose("resume", "out")
    assert again.code == 0 and "4 trials: 0 generated, 4 known before" in again.out and len(generated) == 5


def test_another_search_in_the_same_folder_uses_the_images(compose, tmp_path, generated):
    words = (*SEARCH, "steps=range(1,5)", "search.reference='steps=5'")
    assert compose(*words, "search.metric=distance").code == 0
    count = len(generated)
    other = compose(*words, "search.within=255")
    assert other.code == 0 and len(generated) == count and command(other.out)[-1] == "steps=1"


def test_a_small_space_ends_when_all_is_known(compose, tmp_path, generated):
    done = compose(
        *SEARCH,
        "steps=1,2",
        "scheduler=choice(euler,ddim)",
        "seed=range(3,8,2)",
        "search.trials=100",
        "search.metric=peak_memory",
    )
    assert done.code == 0 and "12 trials: 12 generated" in done.out and len(generated) == 12
    assert sorted(points(tmp_path / "out")) == sorted(product(("1", "2"), ("euler", "ddim"), ("3", "5", "7")))


def test_the_first_image_of_a_model_is_generated_twice_if_time_decides(compose, generated):
    assert compose(*SEARCH, "steps=1,2").code == 0
    assert len(generated) == 3 and generated[0] == generated[1]


def test_axes_are_what_hydra_writes(compose, tmp_path, generated):
    words = ("guidance=interval(1.0,9)", "seed=interval(1,1000)", "steps=range(1,4)",
        "prompt='a red cone, on sand','a blue cube'",
             "scheduler=ddim", "++scheduler.eta=range(0.0,1,0.25)")  # fmt: skip
    done = compose(*SEARCH, *words, "search.trials=6")
    assert done.code == 0
    for record in records(tmp_path / "out").values():
        config = record["config"]
        assert isinstance(config["guidance"]["scale"], float) and 1 <= config["guidance"]["scale"] <= 9
        assert isinstance(config["seed"], int) and 1 <= config["seed"] <= 1000 and config["steps"] in (1, 2, 3)
        assert config["prompt"] in ("a red cone, on sand", "a blue cube") and config["scheduler"]["eta"] in (
            0,
            0.25,
            0.5,
            0.75,
        )
    assert len({record["config"]["guidance"]["scale"] for record in records(tmp_path / "out").values()}) == 6
    assert compose(*command(done.out), "hydra.run.dir=again").code == 0
    best = next(line.split()[-1] for line in done.out.splitlines()[7:] if line and line.split()[-1].isdigit())
    assert (pixels(tmp_path / "again" / "000.png") == pixels(tmp_path / "out" / best / "000.png")).all()


def test_a_log_scale_is_even_in_factors(compose, tmp_path, generated):
    done = compose(
        *SEARCH, "steps=1", "guidance=tag(log, interval(0.001,10.0))", "search.trials=9", "search.metric=peak_memory"
    )
    assert done.code == 0
    assert sum(record["config"]["guidance"]["scale"] < 0.1 for record in records(tmp_path / "out").values()) >= 3


def test_an_image_file_is_a_reference(compose, tmp_path, generated):
    assert compose("steps=3", "height=64", "width=64", "hydra.run.dir=fine").code == 0
    done = compose(*SEARCH, "steps=range(1,5)", "search.reference=fine/000.png", "search.within=0")
    assert done.code == 0 and command(done.out)[-1] == "steps=3" and not (tmp_path / "out" / "reference").exists()


def test_several_images_are_compared_one_by_one(compose, generated):
    done = compose(*SEARCH, "images=2", "steps=range(1,4)", "search.reference='steps=3'", "search.within=0")
    assert done.code == 0 and command(done.out)[-1] == "steps=3"


def test_failures_are_printed_and_listed_and_not_tried_again(compose, tmp_path, monkeypatch):
    generate = Worker.generate

    def fails(self, jobs, more=(), may_grow=True):
        if jobs[0].request.steps == 2:
            raise JobFailure("the weather")
        return generate(self, jobs, more, may_grow)

    monkeypatch.setattr(Worker, "generate", fails)
    done = compose(*SEARCH, "steps=range(1,4)")
    assert done.code == 0 and "3 trials: 2 generated, 1 failed" in done.out
    (line,) = done.err.splitlines()
    assert line.endswith("(steps=2): the weather") and not line.startswith("compose: compose")
    assert "3 trials: 0 generated, 3 known before, 1 failed" in compose(*SEARCH, "steps=range(1,4)").out
    none = compose(*SEARCH, "steps=choice(2)", "sweep.fresh=true")
    assert none.code == 1 and none.err.splitlines()[-1] == "compose: search: every trial failed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steps=2,3", "search.within=3"], "search.within=3: needs an image to compare with"),
        (["steps=2,3", "search.metric=distance"], "search.metric=distance: needs an image"),
        (["steps=2,3", "search.metric=beauty"], "search.metric=beauty: is measured of no trial"),
        (["steps=2,3", "search.trials=0"], "search.trials=0: must be an integer, 1 or more"),
        (["steps=2,3", "search.trails=3"], "search.trails=3: there is no such key. Did you mean search.trials"),
        (["steps=2,3", "search.reference=none.png"], "search.reference=none.png: there is no such file"),
        (["steps=2,3", "search.reference=sample:scene"], "is 512 x 512 pixels, and the trials are 64 x 64"),
        (
            ["steps=2,3", "search.reference='height=128'"],
            "search.reference=height=128: its images and those of a trial can't",
        ),
        (
            ["steps=2,3", "images=2", "search.reference='images=3'"],
            "search.reference=images=3: its images and those of a trial",
        ),
        (["steps=2,3", "search.reference='steps=5,6'"], "`steps=5,6` sets no single run"),
        (["steps=2,3", "search.reference='sweep.name=x'"], "`sweep.name=x` sets no single run"),
        (["steps=2,3", "search.reference='stebs=5'"], "stebs=5: there is no such key. Did you mean steps"),
        (["steps=2"], "hydra/sweeper=optuna: nothing to search over"),
        (["steps=range(4,2)"], "steps=range(4,2): can't be searched over: it has no values"),
        (["guidance=tag(log, interval(0,1))"], "guidance.scale=tag(log, interval(0,1)): can't be searched over"),
        (["scheduler=euler,eulr"], "scheduler=eulr: there is no such option. Did you mean euler"),
        (["steps=2,3", "sweep.zip=[steps]"], "sweep.zip="),
        (["steps=2,3", "hydra/launcher=ray"], "hydra/launcher=ray: has no effect in a search"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_in_a_line(compose, tmp_path, generated, words, message):
    done = compose(*SEARCH, *words)
    assert (done.code, len(done.err.splitlines())) == (2, 1) and message in done.err and not generated
    assert not (tmp_path / "out").exists()


def test_its_settings_need_it(compose):
    assert (
        compose("search.trials=3").err == "compose: search.trials=3: is about a search: add -m hydra/sweeper=optuna\n"
    )
    assert compose("-m", "steps=1,2", "search.trials=3").code == 2
    assert (
        compose("hydra/sweeper=optuna", "steps=1,2").err
        == "compose: hydra/sweeper=optuna: is about several runs: add -m\n"
    )


def test_without_optuna_a_line_says_how_to_get_it(compose, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = compose(*SEARCH, "steps=1,2")
    assert done.code == 2
    assert done.err == "compose: hydra/sweeper=optuna: needs Optuna: pip install 'diffusion-composer[optuna]'\n"


def test_one_process_to_a_folder(compose, tmp_path):
    with locked(tmp_path / "out"):
        done = compose(*SEARCH, "steps=1,2")
    assert done.code == 3 and "is working in it" in done.err


def test_time_that_is_up_begins_nothing(compose, generated):
    done = compose(*SEARCH, "steps=range(1,50)", "search.timeout=0")
    assert (done.code, done.err, generated) == (1, "compose: search.timeout=0: no trial was begun\n", [])


@pytest.mark.slow  # two searches in processes of their own
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_interrupted_search_goes_the_way_it_would_have_gone(compose, tmp_path, generated, how):
    words = ("-m", "hydra/sweeper=optuna", "height=64", "width=64", "seed=range(40)", "steps=range(1,9)",
             "search.reference='steps=10'", "search.metric=distance", "search.trials=24")  # fmt: skip
    assert compose(*words, "hydra.sweep.dir=complete").code == 0
    script = [sys.executable, "-m", "composer", *words, "hydra.sweep.dir=torn"]
    process = subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "torn").glob("0*/run.json"))) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == ((130, b"compose: interrupted\n") if how == signal.SIGINT else (-9, b""))
    kept = [subfolder for subfolder in (tmp_path / "torn").glob("0*") if finished_job_id(subfolder)]
    assert 12 <= len(kept) < 24
    with open(tmp_path / "torn" / "optuna.jsonl", "ab") as file:
        file.write(b'{"op_code": 5, "torn')
    generated.clear()
    assert compose(*words, "hydra.sweep.dir=torn").code == 0
    assert len(generated) == 24 - len(kept)
    assert points(tmp_path / "torn") == points(tmp_path / "complete")
