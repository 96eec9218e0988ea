"""How long the answers take that need no model: `python benchmarks/startup.py`

Each command is a process of its own, run in turn with `python -c "import hydra"` as the yardstick; medians of several rounds.
A command is in time when it takes at most half a second more.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

YARDSTICK = ["-c", "import hydra"]
COMPOSE = ["-m", "composer"]
COMMANDS = {
    "compose --help": [*COMPOSE, "--help"],
    "compose list scheduler": [*COMPOSE, "list", "scheduler"],
    "compose scheduler=eulr": [*COMPOSE, "scheduler=eulr"],
    "compose stepz=3": [*COMPOSE, "stepz=3"],
    "compose steps=0": [*COMPOSE, "steps=0"],
    "compose --cfg job": [*COMPOSE, "--cfg", "job"],
}
MARGIN = 0.5  # seconds


def seconds(arguments: list[str], folder: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, check=False)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    # from another folder: Python puts the current one on its path
    with tempfile.TemporaryDirectory() as folder:
        times = [{name: seconds(words, folder) for name, words in {"import hydra": YARDSTICK, **COMMANDS}.items()} for _ in range(rounds)]
    median = {name: statistics.median(each[name] for each in times) for name in times[0]}
    late = [name for name, value in median.items() if value > median["import hydra"] + MARGIN]
    for name, value in median.items():
        print(f"{name:26}{value:6.2f} s  {value - median['import hydra']:+.2f}  {'LATE' if name in late else ''}")
    raise SystemExit(bool(late))


if __name__ == "__main__":
    main()
