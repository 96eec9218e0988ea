"""A token of the environment is used and never shown: not in a file, in a record, or in the output of a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

CANARY = "hf_canaryCANARYcanary0123456789"
SMALL = ("height=64", "width=64")


#: Runs each line of words, and says after each with what code it ended.
RUNS = """
import json, os, sys
from composer.cli.main import main
os.dup2(1, 2)
for line in sys.stdin:
    code = main(json.loads(line))
    print(f"\\nEXIT {code}", flush=True)
"""


@pytest.fixture
def alone(tmp_path):
    """Run command lines in a process of their own, with secrets in its environment; for each its exit code and
    output.
    """

    def run(*lines: tuple[str, ...]) -> list[tuple[int, str]]:
        env = os.environ | {"HF_TOKEN": CANARY, "SOME_API_KEY": f"key-{CANARY}"}
        text = "".join(json.dumps(words) + "\n" for words in lines)
        done = subprocess.run(
            [sys.executable, "-uc", RUNS], cwd=tmp_path, env=env, input=text, capture_output=True, text=True
        )
        output = done.stdout.split("\nEXIT ")
        assert len(output) == len(lines) + 1, done.stdout[-2000:]
        return [(int(after.split("\n")[0]), before) for before, after in pairwise(output)]

    return run


def leaks(folder: Path) -> list[Path]:
    """Files and folders with the canary in their names or bytes."""
    paths = [path for path in folder.rglob("*") if "canary" in path.name.lower()]
    return paths + [file for file in folder.rglob("*") if file.is_file() and b"canaryCANARY" in file.read_bytes()]


def test_no_generated_file_holds_it(alone, tmp_path):
    lines = (
        ("steps=1", *SMALL, "callbacks=[trace,preview]", "output.folder=one", "-v"),
        ("-m", "steps=1", *SMALL, "seed=0,1", "callbacks=[]", "-v"),
        ("rerun", "one/000.png", "-v"),
        (
            "prompt=${oc.env:HF_TOKEN}",
            "steps=1",
            *SMALL,
            "callbacks=[]",
            "output.folder=out",
        ),  # a prompt is text and no question
        ("model=sd15",),
    )
    for words, (code, output) in zip(lines, alone(*lines)):
        assert code == (2 if "model=sd15" in words else 0), output
        assert "canary" not in output.lower(), words
        assert "output.folder=one" not in words or "one INFO diffusers" in output, output
    assert "${oc.env:HF_TOKEN}" in (tmp_path / "out" / "run.json").read_text()
    assert len(list(tmp_path.rglob("*.png"))) >= 4 and leaks(tmp_path) == []


@pytest.mark.slow  # compiles; test_verbs looks at what it prints
def test_the_doctor_does_not_print_it(alone):
    ((code, output),) = alone(("doctor",))
    assert code == 0 and "canary" not in output.lower(), output


REFUSED = (
    ("prompt=${oc.env:HF_TOKEN}", "scheduler.x=${oc.env:HF_TOKEN}"),
    ("model.revision=${oc.env:HF_TOKEN}",),
    ("model.variant=${oc.env:SOME_API_KEY}",),
    ("output.folder=${oc.env:HF_TOKEN}",),
    ("hydra.run.dir=x/${oc.env:HF_TOKEN}",),
    (f"+token={CANARY}",),
    ("-m", "seed=1,2", "model.revision=${oc.env:HF_TOKEN}"),
)


def test_no_setting_takes_it(alone, tmp_path):
    for words, (code, output) in zip(REFUSED, alone(*((*words, "steps=1", "callbacks=[]") for words in REFUSED))):
        lines = [line for line in output.splitlines() if line.startswith("compose: ")]
        assert code == 2 and lines, (words, output)
        assert "canary" not in output.lower(), words
    assert leaks(tmp_path) == [] and not list(tmp_path.rglob("*.png"))
