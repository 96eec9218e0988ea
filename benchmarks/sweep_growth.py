"""Whether a sweep gets slower as it grows: parts `plan` and `growth` of `benchmarks/sweep.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Seconds of CPU that planning 10,000 jobs may take, imports included; and MiB that it may hold at most.
PLAN_SECONDS, PLAN_MEMORY = 20.0, 800
#: How many times the CPU of a job among the first ones the last ones may take, and KiB of memory that a job may keep.
GROWTH, KEPT = 1.25, 64.0
PLAN = """
import json, resource, sys
from composer.cli import main as cli
code = cli.main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"code": code, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}))
"""
#: Put before the command of a sweep: the CPU seconds and MiB of the process at the end of each job.
MARKS = """
import time
from composer.sweeps.progress import SweepProgress
from composer.system.memory import peak_memory
marks, advance = [], SweepProgress.advance
def marked(self, jobs, line):
    marks.append((time.process_time(), peak_memory() / 2**20))
    advance(self, jobs, line)
SweepProgress.advance = marked
"""


def last_line(code: str, words: list[str], cwd: Path, **more: str) -> dict[str, Any]:
    """What a process prints last, as JSON."""
    settings = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | more
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True, env=settings)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"code": done.returncode}
    if result["code"]:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
    return result


def large_plan(root: Path, jobs: int) -> tuple[str, bool]:
    """Plan a sweep over seeds, and one over seeds, steps and schedulers; the first plan of each imports torch."""
    lines, well = [], True
    sweeps = {
        "seeds": [f"seed=range({jobs})"],
        "options": [f"seed=range({jobs // 40})", "steps=range(1,11)", "scheduler=euler,ddim,unipc,dpmpp_2m"],
    }
    with tempfile.TemporaryDirectory() as cache:  # checks that earlier plans stored would be found in the user's
        for name, words in sweeps.items():
            for when in ("first", "again"):
                taken = last_line(PLAN, ["plan", "-m", *words, "output.folder=planned"], root, COMPOSER_CACHE=cache)
                well = well and taken["cpu"] <= PLAN_SECONDS and taken["memory"] <= PLAN_MEMORY
                lines.append(f"{name}, {when}: {taken['cpu']:.1f} s of CPU, {taken['memory']:.0f} MiB")
    return f"plan of {jobs} jobs: {'; '.join(lines)}", well


def growth(root: Path, stub: str, jobs: int) -> tuple[str, bool]:
    """CPU of the jobs after the hundredth and of the last ones, with a UNet and a VAE that do nothing."""
    code = stub.replace("code = cli.main", MARKS + "code = cli.main").replace(
        '{"code": code', '{"marks": marks, "code": code'
    )
    words = ["-m", f"seed=range({jobs})", "steps=5", "sweep.batch=1", "output.folder=grown"]
    taken = last_line(code, words, root)
    marks, part = taken["marks"], jobs // 10
    (begin, low), (first, _) = marks[100], marks[100 + part]
    (before, _), (end, high) = marks[-1 - part], marks[-1]
    early, late, kept = (first - begin) / part * 1e3, (end - before) / part * 1e3, (high - low) / jobs * 1024
    report = (taken["cpu"] - end) / jobs * 1e3
    text = f"{jobs} jobs with a stub: {early:.1f} ms CPU a job after the 100th, {late:.1f} ms for the last {part}; "
    text += f"{kept:.1f} KiB kept a job; {report:.2f} ms a job for the last page and contact sheet"
    return text, late <= GROWTH * early and kept <= KEPT
