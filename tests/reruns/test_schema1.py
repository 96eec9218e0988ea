"""Images that the packages' first layout generated are generated again bit for bit, and its half-done sweep goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

OLD = Path(__file__).parents[1] / "data" / "schema1"
RUNS = sorted(path.name for path in OLD.iterdir() if path.name != "sweep")


#: Mean difference in gray levels that another processor may cause: it adds floats in another order, which bf16 and
#: adaptive guidance amplify (measured: 1.3 at most). Another seed or setting differs by more than 10.
ELSEWHERE = 3.0
#: What a record says of a run, besides its pixels.
FACTS = ("schema", "choices", "options", "inputs", "scheduler", "guidance", "dtypes", "model")


def same(again: Path, before: Path) -> bool:
    """Whether a run was repeated: equal facts, and equal pixels where libraries and processor are those of the record.

    These records do not name their processor. Pixels that differ must be as near as another processor can bring them.
    """
    now, then = (json.loads((folder / "run.json").read_text("utf-8")) for folder in (again, before))
    if any(now[key] != then[key] for key in FACTS):
        return False
    if now["pixels"] == then["pixels"] or any(now[key] != then[key] for key in ("versions", "threads", "device")):
        return True
    files = sorted(before.glob("0*.*"))
    return bool(files) and all(distance(file, next(again.glob(f"{file.stem}.*"))) < ELSEWHERE for file in files)


def distance(one: Path, other: Path) -> float:
    """Mean difference between two images in gray levels."""
    first, second = (np.asarray(Image.open(file).convert("RGB"), np.float32) for file in (one, other))
    return float(np.abs(first - second).mean())


@pytest.mark.parametrize("name", RUNS)
def test_an_image_is_generated_again_bit_for_bit(compose, tmp_path, name):
    done = compose("rerun", str(OLD / name / "run.json"), "output.folder=again")
    assert done.code in (0, 1), done.err
    assert same(tmp_path / "again", OLD / name)


def test_a_sweep_that_lost_half_of_its_jobs_generates_only_these(compose, tmp_path):
    folder = shutil.copytree(OLD / "sweep", tmp_path / "sweep")
    lost = ("0001", "0002")
    for name in lost:
        shutil.rmtree(folder / name)
    done = compose("resume", str(folder))
    assert done.code == 0 and "2 generated, 2 were there already" in done.out, done.err
    assert all(same(folder / name, OLD / "sweep" / name) for name in lost)
