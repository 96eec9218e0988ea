"""How long the answers take that need no model: `python benchmarks/startup.py`

Each command is a process of its own, run in turn with `python -c "import hydra"` as the yardstick; medians of several
rounds. A command is in time when it takes at most half a second more. Then the CPU time of commands that check: the
first of a model, and others after it, which import no torch. Then the first image: a complete process of
composer's beside one of a short script with raw diffusers, both on the embedded checkpoint, 20 steps of DDIM, one
thread. Last, what `--warm` takes beside its computing.

Python may write bytecode, as it does unless PYTHONDONTWRITEBYTECODE is set: else it compiles composer, and composer
alone, in each process, since pip compiles what it installs and not what it installs in place (`-e`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from composer.checkpoints.sources import EMBEDDED

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
CHECKS = {
    "check": ["check"], "check steps=7": ["check", "steps=7"], "check guidance=2": ["check", "guidance=2"],
    "check scheduler=euler": ["check", "scheduler=euler"], "check scheduler=heun": ["check", "scheduler=heun"],
    "check -m, 6 jobs": ["check", "-m", "scheduler=euler,ddim", "steps=20,25,30"],
    "plan -m, 6 jobs": ["plan", "-m", "scheduler=euler,ddim", "steps=20,25,30"],
    "show": ["show"], "show steps=9": ["show", "steps=9"], "config": ["config"],
    "device=cuda": ["device=cuda"], "memory=[model_offload]": ["memory=[model_offload]"],
}  # fmt: skip
#: CPU seconds that a check may take beside `import hydra`.
CHECK = 0.8
PROMPT = "a red cone, on sand"
RAW = f"""
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({{checkpoint!r}}, safety_checker=None, torch_dtype=torch.float32)
pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
generator = torch.Generator().manual_seed(0)
pipeline({PROMPT!r}, num_inference_steps=20, guidance_scale=5, generator=generator).images[0].save("raw.png")
"""
#: CPU time of a process with one image, over that of the script.
FIRST = 0.6
#: Seconds that an image of the resident process may take beside its computing.
RESIDENT = 0.3


def seconds(arguments: list[str], folder: str, works: bool = False) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, check=False)
    assert not works or done.returncode == 0, done.stderr.decode()
    return time.perf_counter() - started


def cpu_seconds(arguments: list[str], folder: str, works: bool = False) -> float:
    before = _cpu_of_children()
    seconds(arguments, folder, works)
    return _cpu_of_children() - before


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def checks(folder: str, rounds: int) -> bool:
    """Whether commands that check are light after the first check of a model, in an empty cache."""
    os.environ["COMPOSER_CACHE"] = str(Path(folder, "cache"))
    words = {name: [*COMPOSE, *arguments, f"prompt={PROMPT}"] for name, arguments in CHECKS.items()}
    print(f"first check of a model: {cpu_seconds(words['check'], folder):.2f} s of CPU, ", end="")
    print(f"first `compose show`: {cpu_seconds(words['show'], folder):.2f} s")
    taken = [
        {name: cpu_seconds(arguments, folder) for name, arguments in {"import hydra": YARDSTICK, **words}.items()}
        for _ in range(rounds)
    ]
    del os.environ["COMPOSER_CACHE"]
    least = {name: min(row[name] for row in taken) for name in taken[0]}
    late = [name for name, value in least.items() if value > least["import hydra"] + CHECK]
    for name, value in least.items():
        print(f"{name:26}{value:6.2f} s of CPU  {value - least['import hydra']:+.2f}  {'LATE' if name in late else ''}")
    return not late


def first_image(folder: str, rounds: int) -> bool:
    """Whether composer's takes less CPU time than that of a script."""
    script = ["-c", RAW.format(checkpoint=str(EMBEDDED / "text2img"))]
    ours = [*COMPOSE, f"prompt={PROMPT}", "scheduler=ddim", "steps=20", "output.folder=ours"]
    pairs = [tuple(cpu_seconds(words, folder, works=True) for words in (script, ours)) for _ in range(rounds)]
    for name, taken in zip(("raw diffusers", "composer"), zip(*pairs)):
        print(f"first image, {name:16} {min(taken):6.2f} s of CPU least {statistics.median(taken):6.2f} s median")
    ratios = [mine / raw for raw, mine in pairs]
    least = min(mine for _, mine in pairs) / min(raw for raw, _ in pairs)
    print(f"composer over raw diffusers: least over least {least:.2f}, of pairs {min(ratios):.2f} to ", end="")
    median = statistics.median(ratios)
    print(f"{max(ratios):.2f}, median {median:.2f} ({'NOT MET' if median > FIRST else 'met'}: {FIRST})")
    return median <= FIRST


def warm(folder: str, rounds: int) -> bool:
    """Whether an image of the resident process comes soon: its command's seconds beside what the run itself took."""
    words = ["-m", "composer", "--warm", f"prompt={PROMPT}", "steps=20", "output.folder=warm"]
    firsts, extra = [], []
    for _ in range(rounds):
        subprocess.run([sys.executable, *COMPOSE, "warm", "stop"], cwd=folder, check=True, capture_output=True)
        firsts.append(seconds(words, folder, works=True))
        for _ in range(3):
            full = seconds(words, folder, works=True)
            extra.append(full - json.loads(Path(folder, "warm", "run.json").read_text())["seconds"])
    subprocess.run([sys.executable, *COMPOSE, "warm", "stop"], cwd=folder, check=True, capture_output=True)
    late = statistics.median(extra)
    print(f"compose --warm: {statistics.median(firsts):.2f} s the first time; then, beside its computing, ", end="")
    print(f"{min(extra):.2f} s least {late:.2f} s median ({'NOT MET' if late > RESIDENT else 'met'}: {RESIDENT})")
    return late <= RESIDENT


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    # from another folder: Python puts the current one on its path
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *COMPOSE, "check"], cwd=folder, capture_output=True, check=True)  # compiles
        times = [
            {name: seconds(words, folder) for name, words in {"import hydra": YARDSTICK, **COMMANDS}.items()}
            for _ in range(rounds)
        ]
        soon = checks(folder, rounds)
        soon = first_image(folder, rounds) and soon
        soon = (warm(folder, rounds) if os.name != "nt" else True) and soon
    median = {name: statistics.median(row[name] for row in times) for name in times[0]}
    late = [name for name, value in median.items() if value > median["import hydra"] + MARGIN]
    for name, value in median.items():
        print(f"{name:26}{value:6.2f} s  {value - median['import hydra']:+.2f}  {'LATE' if name in late else ''}")
    raise SystemExit(bool(late) or not soon)


if __name__ == "__main__":
    main()
