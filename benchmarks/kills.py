"""What is left of a sweep that dies: `python benchmarks/kills.py [--kills 100] [--every 1]`, some minutes.

One process imports everything; each sweep runs in a fork of it, which is killed at random moments, or before the n-th
file operation for every n, or interrupted, or run twice at once, or on a full disk. After going on, the folder is
held against that of a sweep that nobody touched, its page, table and contact sheet too. Prints a table and exits 1 if
a single job was lost, halved, doubled, redone or generated otherwise, if one of these files differs, or if the ledger
does not add up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from composer.cli import main as cli
from composer.sweeps.journal import finished_job_id
from composer.sweeps.ledger import Ledger, count_states
from composer.system.files import TMP_PREFIX
from composer.testing.derived import differences
from composer.testing.image_files import pixels

#: Small images of one step, so that most of the time is spent writing.
QUICK = ("steps=1", "height=64", "width=64")
WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "tempfile.mkstemp", "os.truncate"}


def sweep(folder: Path, jobs: int, *more: str) -> tuple[str, ...]:
    half = jobs // 2
    return (
        "-m",
        f"seed=range({half})",
        "scheduler=euler,ddim",
        *QUICK,
        "sweep.batch=4",
        f"hydra.sweep.dir={folder}",
        *more,
    )


def forked(words: tuple[str, ...], before: Callable[[], None] = lambda: None) -> int:
    """Start the command in a fork, quietly; returns its process number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            before()
            code = cli.main(list(words))
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finish(words: tuple[str, ...]) -> None:
    code = ended(forked(words))
    assert code == 0, f"going on ends with {code}"


class Folder:
    """What a sweep's folder holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job_folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()] if path.is_dir() else []
        self.done = {job: folder for folder in self.job_folders if (job := finished_job_id(folder))}

    def times(self) -> dict[str, int]:
        return {job: (folder / "run.json").stat().st_mtime_ns for job, folder in self.done.items()}

    def images(self) -> dict[str, bytes]:
        return {
            job: b"".join(pixels(file) for file in sorted(folder.glob("*.png"))) for job, folder in self.done.items()
        }


def faults(state: Folder, expected: dict[str, bytes], kept: dict[str, int]) -> dict[str, int]:
    """How a folder differs from that of an snapshot sweep; `kept` are jobs that were done before it went on."""
    images, times = state.images(), state.times()
    return {
        "half-written": len(state.job_folders) - len(state.done) + len(list(state.path.rglob(f"{TMP_PREFIX}*"))),
        "lost": len(expected.keys() - images.keys()),
        "doubled": len(state.job_folders) - len({*state.done}),
        "other pixels": sum(images[job] != expected[job] for job in images.keys() & expected.keys()),
        "redone": sum(times.get(job) != moment for job, moment in kept.items()),
    }


def all_faults(state: Folder, plain: Path, kept: dict[str, int]) -> dict[str, int]:
    """Those of a sweep that went on to its end: also of its ledger, and of what is made of it."""
    expected, counts = Folder(plain).images(), count_states(Ledger.read(state.path).rows())
    off = {"other states": sum(counts.values()) - counts["done"] + abs(counts["done"] - len(expected))}
    return {**faults(state, expected, kept), **off, **differences(plain, state.path)}


def killed_at_random(root: Path, kills: int, jobs: int, longest: float) -> dict[str, int]:
    """SIGKILL at random moments of one sweep until so many have hit it, then to its end."""
    expected = snapshot(root / "plain", jobs)
    folder, hits, total = root / "killed", 0, dict.fromkeys(("redone",), 0)
    kept: dict[str, int] = {}
    while hits < kills:
        child = forked(sweep(folder, jobs))
        time.sleep(random.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        hits += ended(child) == -signal.SIGKILL
        state = Folder(folder)
        total["redone"] += faults(state, expected, kept)["redone"]
        kept = state.times()
        if len(kept) == jobs:
            shutil.rmtree(folder)
            kept = {}
    finish(sweep(folder, jobs))
    after = all_faults(Folder(folder), root / "plain", kept)
    return {**after, "redone": after["redone"] + total["redone"], "kills": hits}


def killed_before_each_operation(root: Path, jobs: int, stride: int) -> dict[str, int]:
    """SIGKILL before the n-th file operation, n = 1, 1 + stride, … until a sweep outlives it."""
    snapshot(root / "plain-few", jobs)
    total, number, trials = {}, 1, 0
    while True:
        folder = root / "operation"
        shutil.rmtree(folder, ignore_errors=True)
        code = ended(forked(sweep(folder, jobs), lambda n=number, where=folder: kill_before(n, where)))
        if code == 0:
            return total | {"kills": trials}
        assert code == -signal.SIGKILL, code
        kept = Folder(folder).times()
        finish(sweep(folder, jobs))
        for name, count in all_faults(Folder(folder), root / "plain-few", kept).items():
            total[name] = total.get(name, 0) + count
        number, trials = number + stride, trials + 1


def kill_before(number: int, folder: Path) -> None:
    """Have this process killed before its n-th operation on files below a folder."""
    count, real_fsync = 0, os.fsync

    def another() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple) -> None:
        if event not in WRITES or not arguments or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        another()

    def fsync(handle: int) -> None:
        another()
        real_fsync(handle)

    os.fsync = fsync
    sys.addaudithook(hook)


def interrupted(root: Path, times: int, jobs: int) -> dict[str, int]:
    """Ctrl-C: exit 130 in under ten seconds, and all that was finished kept."""
    expected = snapshot(root / "plain", jobs)
    folder, total = root / "interrupted", dict.fromkeys(("half-written", "redone", "other code", "slow"), 0)
    kept: dict[str, int] = {}
    for _ in range(times):
        child = forked(sweep(folder, jobs))
        time.sleep(random.uniform(0.3, 1.0))
        os.kill(child, signal.SIGINT)
        begun = time.monotonic()
        code = ended(child)
        state = Folder(folder)
        total["other code"] += code != 130 and not (code == 0 and len(state.done) == jobs)  # it may have been through
        total["slow"] += time.monotonic() - begun > 10
        total["half-written"] += len(state.job_folders) - len(state.done)
        total["redone"] += faults(state, expected, kept)["redone"]
        kept = state.times()
        if len(kept) == jobs:
            shutil.rmtree(folder)
            kept = {}
    finish(sweep(folder, jobs))
    after = all_faults(Folder(folder), root / "plain", kept)
    return total | {name: count for name, count in after.items() if name not in total} | {"kills": times}


def two_at_once(root: Path, times: int, jobs: int) -> dict[str, int]:
    """Two copies: one works, the other says who does and exits 3."""
    snapshot(root / "plain-few", jobs)
    total = {"other codes": 0}
    for _ in range(times):
        folder = root / "twice"
        shutil.rmtree(folder, ignore_errors=True)
        codes = sorted(ended(child) for child in [forked(sweep(folder, jobs)) for _ in range(2)])
        total["other codes"] += codes not in ([0, 3], [0, 0])  # [0, 0]: the second came when the first was through
        for name, count in all_faults(Folder(folder), root / "plain-few", {}).items():
            total[name] = total.get(name, 0) + count
    return total | {"kills": times}


def full_disk(root: Path, jobs: int) -> dict[str, int] | None:
    """A disk too small for it: the jobs fail by name, and when there is space the rest is generated. None where nothing
    can be mounted.
    """
    disk = root / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=240k", "tmpfs", str(disk)], capture_output=True).returncode:
        return None
    try:
        snapshot(root / "plain-few", jobs)
        code = ended(forked(sweep(disk / "sweep", jobs)))
        state = Folder(disk / "sweep")
        kept = state.times()
        few = len(kept)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        finish(sweep(disk / "sweep", jobs))
        after = all_faults(Folder(disk / "sweep"), root / "plain-few", kept)
        return {"other codes": code != 1, "not full": few >= jobs, **after, "kills": 1}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def snapshot(folder: Path, jobs: int) -> dict[str, bytes]:
    """Images of a sweep that nobody disturbed."""
    if not folder.exists():
        finish(sweep(folder, jobs))
    return Folder(folder).images()


def warm_up() -> None:
    """Import and load all that a sweep needs, once, before any fork."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has its background processes ignore
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        assert cli.main(["callbacks=[]", *QUICK, f"hydra.run.dir={folder}"]) == 0
        assert cli.main(list(sweep(Path(folder, "sweep"), 4))) == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=int, default=1, help="kill before every n-th file operation")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--twins", type=int, default=10, help="times that two copies are started at once")
    args = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rows = {
            f"{args.jobs} jobs, SIGKILL at random": killed_at_random(root, args.kills, args.jobs, 1.5),
            "20 jobs, SIGKILL before a file operation": killed_before_each_operation(root, 20, args.every),
            f"{args.jobs} jobs, Ctrl-C": interrupted(root, args.interrupts, args.jobs),
            "two copies at once": two_at_once(root, args.twins, 20),
            "a full disk": full_disk(root, 20),
        }
    for what, row in rows.items():
        print(f"{what:42}", "can't be mounted here" if row is None else json.dumps(row))
    return any(count for row in rows.values() for name, count in (row or {}).items() if name != "kills")


if __name__ == "__main__":
    sys.exit(main())
