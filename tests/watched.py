"""Command lines in a process of their own under an audit hook, which notes what is run, imported, or written where it
must not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CANARY = "hf_canarycanarycanary"
#: Reads a folder and a command line from each line, and prints at the end what happened besides.
WATCHED = """
import json, os, sys
sys.path.insert(0, os.getcwd())
# first: imports read much
import composer.cli.main, composer.pipelines.build, composer.records.record, composer.cli.commands.rerun
import composer.reruns.replay_config, torch, diffusers
allowed = tuple(json.loads(sys.argv[1]))
seen, at_work = [], None
def hook(event, args):
    if at_work is None: return
    if event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.spawn", "pty.spawn",
                 "socket.connect", "os.startfile"):
        seen.append(f"{at_work}: {event} {args}"[:400])
    if event == "open":
        path, mode, flags = args
        writes = isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and not os.path.realpath(os.fsdecode(path)).startswith(allowed):
            seen.append(f"{at_work}: open {path} {mode}"[:400])
    if event == "import" and args[0].startswith("canary"):
        seen.append(f"{at_work}: import {args[0]}")
    if event in ("os.remove", "os.rename", "os.rmdir", "shutil.rmtree"):
        if not os.path.realpath(os.fsdecode(args[0])).startswith(allowed):
            seen.append(f"{at_work}: {event} {args}"[:400])
sys.addaudithook(hook)
codes = []
for line in sys.stdin:
    folder, words = json.loads(line)
    os.chdir(folder)
    at_work = words
    codes.append(composer.cli.main.main(words))
    at_work = None
    print("\\nEXIT", flush=True); print("\\nEXIT", file=sys.stderr, flush=True)
print(json.dumps({"codes": codes, "seen": seen}))
"""


def watched(
    folder: Path, lines: Sequence[tuple[Path, list[str]]], variables: Mapping[str, str] | None = None
) -> tuple[list[tuple[int, str, str]], list[str]]:
    """Exit code, stdout and stderr of each line, run in its folder, and what was done that must not be.

    Args:
        folder: which all of them may write into, and where modules are found.
    """
    scratch = folder / "tmp"
    scratch.mkdir()
    allowed = json.dumps([os.path.realpath(folder), "/dev/null", "/dev/shm", "/proc"])
    environment = {
        **os.environ,
        "HF_TOKEN": CANARY,
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COMPOSER_CACHE": str(scratch),
    }
    text = "".join(json.dumps([str(folder), words]) + "\n" for folder, words in lines)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, allowed], cwd=folder, input=text, capture_output=True, text=True,
        errors="replace",
        env=environment | dict(variables or {}),
    )  # fmt: skip
    *outs, last = done.stdout.split("\nEXIT\n")
    errs = done.stderr.split("\nEXIT\n")
    assert len(outs) == len(lines), done.stderr[-2000:]
    report = json.loads(last)
    return list(zip(report["codes"], outs, errs)), report["seen"]
