"""What is left of a sweep over a recipe that dies: `python benchmarks/recipe_kills.py [--kills 10] [--quick]`.

12 jobs of a recipe with three steps: 3 seeds of the first step, with the second, times 4 strengths of the last; 18
different steps. The sweep is killed with SIGKILL at random moments, and goes on each time. Counted are jobs that were
lost, half-written, doubled or generated otherwise than in a sweep that nobody touched, jobs that were done and were
redone, and steps that were run although their result was stored. Exits 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kills

from composer.loading import disk_cache
from composer.recipes import run, store

RECIPE = """# Three small steps.
prompt: a red cone
steps:
  base: {task: text2img, height: 64, width: 64, steps: 2}
  larger: {tool: resize, image: 'step:base', factor: 1.5}
  again: {task: img2img, image: 'step:larger', steps: 8}
"""
JOBS, STEPS = 12, 3 + 3 + 12


def sweep(root: Path, name: str) -> tuple[str, ...]:
    axes = ("base.seed=1,2,3", "again.strength=0.25,0.5,0.75,1.0")
    return ("-m", "recipe=small", "--config-dir", str(root / "conf"), *axes, f"output.folder={root / name}")


def with_cache(root: Path, name: str) -> None:
    """Use a cache of its own."""
    os.environ["COMPOSER_CACHE"] = str(root / f"cache-{name}")


def stored() -> set[str]:
    """Keys of the steps whose results are stored."""
    return {path.parent.name for path in disk_cache.folder(store.KIND).glob("*/record.json")}


def log_runs(log: Path) -> None:
    """Have this process log the key of each step before it runs."""

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(checked: Any, *more: Any) -> Any:
            with log.open("a") as file:
                file.write(f"{store.step_key(checked)}\n")
            return function(checked, *more)

        return call

    run.execute_checked, run.run_tool = logged(run.execute_checked), logged(run.run_tool)


def lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_for_steps(log: Path, count: int) -> None:
    """Wait until so many steps have begun, a minute at most: a sweep that is through begins no more."""
    until = time.monotonic() + 60
    while lines(log) < count and time.monotonic() < until:
        time.sleep(0.01)


def killed(root: Path, times: int, longest: float) -> dict[str, int]:
    """Kill sweeps until so many kills have hit one, then go on to the end."""
    with_cache(root, "plain")
    assert kills.ended(kills.forked(sweep(root, "plain"))) == 0
    expected, keys = kills.Folder(root / "plain").images(), stored()
    with_cache(root, "killed")
    log, hits, moments = root / "steps.log", 0, list[int]()
    total = dict.fromkeys(("jobs redone", "steps redone"), 0)
    kept_jobs: dict[str, int] = {}
    while hits < times:
        kept_steps, begun = stored(), lines(log)
        child = kills.forked(sweep(root, "killed"), lambda: log_runs(log))
        wait_for_steps(log, begun + random.randint(0, 2))
        time.sleep(random.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        hit = kills.ended(child) == -signal.SIGKILL
        hits += hit
        run_now = log.read_text().splitlines()[begun:] if log.exists() else []
        total["steps redone"] += len(kept_steps.intersection(run_now))
        state = kills.Folder(root / "killed")
        total["jobs redone"] += kills.faults(state, expected, kept_jobs)["redone"]
        kept_jobs = state.times()
        moments.append(len(kept_jobs))
        if not hit:
            break
    kept_steps, begun = stored(), lines(log)
    assert kills.ended(kills.forked(sweep(root, "killed"), lambda: log_runs(log))) == 0
    total["steps redone"] += len(kept_steps.intersection(log.read_text().splitlines()[begun:]))
    after = kills.faults(kills.Folder(root / "killed"), expected, kept_jobs)
    total["jobs redone"] += after.pop("redone")
    print("jobs that were done at each kill:", *moments, "| steps that were begun:", lines(log))
    return {**total, **after, "other steps": len(stored() ^ keys) + abs(len(keys) - STEPS), "kills": hits}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument(
        "--longest", type=float, default=0.5, help="seconds from the begin of a step to the kill, at most"
    )
    parser.add_argument("--quick", action="store_true", help="3 kills")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "conf" / "recipe").mkdir(parents=True)
        (root / "conf" / "recipe" / "small.yaml").write_text(RECIPE)
        with_cache(root, "warm")
        kills.warm_up()
        row = killed(root, 3 if args.quick else args.kills, args.longest)
    print(f"{JOBS} jobs of a recipe, SIGKILL at random", json.dumps(row))
    return any(count for name, count in row.items() if name != "kills")


if __name__ == "__main__":
    sys.exit(main())
