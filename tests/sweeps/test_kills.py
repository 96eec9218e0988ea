"""A sweep that dies, a few times; `python benchmarks/kills.py` does it some hundred times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiers import slow_but

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"


#: Kills, file operations from one to the next that is killed before, jobs, and times that Ctrl-C is pressed.
FEW, SOME = "3 90 8 1", "3 40 12 2"


@pytest.mark.parametrize("requested", slow_but([FEW], [FEW, SOME]))
@pytest.mark.skipif(not hasattr(os, "fork"), reason="sweeps are killed in forks")
def test_no_job_is_lost_halved_doubled_redone_or_changed(tmp_path, requested):
    options = [
        word for pair in zip(("--kills", "--every", "--jobs", "--interrupts"), requested.split()) for word in pair
    ]
    words = [sys.executable, str(KILLS), *options, "--twins", "1"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line[42:]) for line in done.stdout.splitlines() if line[42:].startswith(" {")]
    assert len(rows) >= 4 and all(row["kills"] >= 3 for row in rows[:2])
