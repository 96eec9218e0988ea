"""A token of the environment is used and never told: not in a file, not in a record, not in a line of any command."""

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
    """Run command lines in a process of their own, with secrets in its environment; for each its code and everything it
    said.
    """

    def run(*lines: tuple[str, ...]) -> list[tuple[int, str]]:
        env = os.environ | {"HF_TOKEN": CANARY, "SOME_API_KEY": f"key-{CANARY}"}
        text = "".join(json.dumps(words) + "\n" for words in lines)
        done = subprocess.run(
            [sys.executable, "-uc", RUNS], cwd=tmp_path, env=env, input=text, capture_output=True, text=True
        )
        said = done.stdout.split("\nEXIT ")
        assert len(said) == len(lines) + 1, done.stdout[-2000:]
        return [(int(after.split("\n")[0]), before) for before, after in pairwise(said)]

    return run


def leaks(folder: Path) -> list[Path]:
    """Files and folders with the canary in their names or bytes."""
    found = [each for each in folder.rglob("*") if "canary" in each.name.lower()]
    return found + [file for file in folder.rglob("*") if file.is_file() and b"canaryCANARY" in file.read_bytes()]


def test_nothing_that_is_drawn_holds_it(alone, tmp_path):
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
    for words, (code, said) in zip(lines, alone(*lines)):
        assert code == (2 if "model=sd15" in words else 0), said
        assert "canary" not in said.lower(), words
        assert "output.folder=one" not in words or "one INFO diffusers" in said, said
    assert "${oc.env:HF_TOKEN}" in (tmp_path / "out" / "run.json").read_text()
    assert len(list(tmp_path.rglob("*.png"))) >= 4 and leaks(tmp_path) == []


@pytest.mark.slow  # compiles; test_verbs looks at what it prints
def test_the_doctor_does_not_tell_it(alone):
    ((code, said),) = alone(("doctor",))
    assert code == 0 and "canary" not in said.lower(), said


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
    for words, (code, said) in zip(REFUSED, alone(*((*words, "steps=1", "callbacks=[]") for words in REFUSED))):
        lines = [line for line in said.splitlines() if line.startswith("compose: ")]
        assert code == 2 and lines, (words, said)
        assert "canary" not in said.lower(), words
    assert leaks(tmp_path) == [] and not list(tmp_path.rglob("*.png"))
