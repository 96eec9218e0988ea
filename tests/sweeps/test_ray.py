"""The same sweep on a real Ray on this machine: the same images, and a killed worker costs its batch alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("ray")

SWEEP = ("-m", "scheduler=euler,ddim", "seed=range(6)", "height=64", "width=64", "steps=8", "sweep.batch=2")
CODE = "import sys; from composer.cli.main import main; sys.exit(main(sys.argv[1:]))"


def images(folder: Path) -> dict[str, bytes]:
    """Pixels by the job's id."""
    results = {file.parent: json.loads(file.read_text("utf-8"))["job"] for file in folder.glob("*/run.json")}
    return {job: Image.open(subfolder / "000.png").tobytes() for subfolder, job in results.items()}


def workers(above: int) -> list[int]:
    """Processes of Ray's actors below another process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(words[1]), (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue

    def below(pid: int) -> bool:
        return pid == above or (pid in parents and pid > 1 and below(parents[pid][0]))

    return [pid for pid, (_, words) in parents.items() if words.startswith(b"ray::Remote") and below(pid)]


@pytest.mark.slow  # half a minute of processes
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for Ray's processes in /proc")
def test_a_killed_worker_costs_its_batch_and_changes_no_image(compose, one_thread, tmp_path):
    words = [sys.executable, "-u", "-c", CODE]
    settings = os.environ | {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "OMP_NUM_THREADS": "1"}
    here = compose(*SWEEP, "hydra.sweep.dir=here")
    assert here.code == 0, here.err
    cluster = ["hydra/launcher=ray", "ray.workers=2", "hydra.sweep.dir=there"]
    child = subprocess.Popen(
        [*words, *SWEEP, *cluster],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=settings,
    )
    assert "1/12" in child.stdout.readline()
    killed = workers(child.pid)
    assert len(killed) == 2, killed
    os.kill(killed[0], signal.SIGKILL)
    rest, stderr = child.communicate(timeout=180)
    assert child.returncode == 0 and "12 jobs: 12 generated" in rest, rest + stderr
    ours, theirs = images(tmp_path / "here"), images(tmp_path / "there")
    assert len(ours) == 12 and ours == theirs
    entries = [json.loads(line) for line in (tmp_path / "there" / "journal.jsonl").read_text().splitlines()]
    begun = [entry["batch"] for entry in entries if "batch" in entry]
    assert len(begun) == 6, "no batch was begun in another composition"


def test_no_cluster_at_an_address_is_reported_in_a_line(compose, monkeypatch):
    monkeypatch.setattr("composer.sweeps.ray.HEALTH_CHECK_SECONDS", 4)
    done = compose("-m", "hydra/launcher=ray", "ray.address=127.0.0.1:1", "seed=1,2", "steps=1")
    assert (
        done.code == 2
        and "ray.address=127.0.0.1:1: no cluster responds there" in done.err
        and done.err.count("\n") == 1
    ), done.err


WRONG = {"ray.workers=0": "ray.workers=0: must be an integer", "ray.cpus=1": "ray.cpus=1: there is no such key"}


@pytest.mark.parametrize("word", WRONG)
def test_settings_of_the_cluster(compose, word):
    done = compose("-m", "hydra/launcher=ray", word, "seed=1,2")
    assert done.code == 2 and WRONG[word] in done.err
