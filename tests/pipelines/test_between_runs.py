"""A run finds nothing of the runs before it: A, B, A in one process, for every option file of every group and both
pipelines.

A is a plain run and B the same with one option: A, B, A on weights just loaded, and B, A on weights just loaded. The
images and what is recorded of them must be equal. A new option file joins by itself; where it needs more than its
name, or can't work on a CPU, it gets a line in NEEDS or NOT_HERE of option_runs.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from option_runs import FROM_IMAGE, NOT_HERE, PIPELINES, more_sources, options, plain, suited

from composer import compose
from composer.errors import ComposerError
from composer.options.lifecycle import clear_models

pytestmark = pytest.mark.usefixtures("one_thread")
#: Those that are tried in a fresh process too.
SAMPLE = {
    "scheduler/euler_karras", "scheduler/flow_heun", "guidance/pag", "precision/bf16", "callbacks/guidance_schedule",
    "memory/attention_slicing", "accel/fused_qkv", "accel/first_block_cache", "task/img2img",
}  # fmt: skip
#: Those that are tried for each merge.
OFTEN = {"scheduler/euler_karras", "guidance/pag", "callbacks/guidance_schedule", "memory/attention_slicing"}


@pytest.fixture(scope="module")
def sources(checkpoints, tmp_path_factory) -> dict[str, Path]:
    return {**checkpoints, **more_sources(tmp_path_factory.mktemp("more"))}


def cases() -> list[Any]:
    """Each option in both pipelines; all but a sample are slow."""
    marks = {option: () if option in OFTEN else (pytest.mark.slow,) for option in options()}
    return [
        pytest.param(option, pipeline, id=f"{option}-{pipeline}", marks=marks[option])
        for option in options()
        for pipeline in PIPELINES
    ]


def generated(words: list[str]) -> tuple[Any, ...]:
    """The images' pixels, and all of the record that no clock has a say in."""
    result = compose(*words)
    record = {key: value for key, value in result.record.items() if key not in ("seconds", "peak_memory", "notes")}
    return (
        [image.tobytes() for image in result.images],
        _notes(result),
        result.flagged,
        json.dumps(record, sort_keys=True, default=str),
    )


def _notes(result: Any) -> list[str]:
    """Without the memory that was free at the moment."""
    return [re.sub(r"[\d.]+ (G|M)iB", "", note) for note in result.notes]


@pytest.mark.parametrize(("option", "pipeline"), cases())
def test_an_option_is_gone_with_its_run(sources, option, pipeline):
    result = suited(option, pipeline, sources)
    if isinstance(result, ComposerError):
        assert option in NOT_HERE or pipeline == "hosted", f"no family takes it: add what it needs to NEEDS. {result}"
        pytest.skip(str(result))
    a, b = result
    clear_models()
    first = {"a": generated(a), "b": generated(b)}
    assert generated(a) == first["a"]
    clear_models()
    assert generated(b) == first["b"]  # on weights just loaded, which an option may be the first to use
    assert generated(a) == first["a"]


FRESH = """
import hashlib, json, sys
import torch
torch.set_num_threads(1)
import composer
for words in json.loads(sys.argv[1]):
    print(hashlib.sha256(b"".join(image.tobytes() for image in composer.compose(*words).images)).hexdigest())
"""


@pytest.mark.slow
def test_images_are_those_of_a_fresh_process(sources, tmp_path):
    """All plain runs and the sample of options, each after the other in one new process, the last one first."""
    requested = [
        plain(sources[family], pipeline)
        for pipeline, families in PIPELINES.items()
        for family in families
        if family not in FROM_IMAGE
    ]
    for option in sorted(SAMPLE):
        result = suited(option, "native", sources)
        requested.append(result[1])
    here = [hashlib.sha256(b"".join(generated(words)[0])).hexdigest() for words in requested]
    given = json.dumps(requested[::-1])
    done = subprocess.run(
        [sys.executable, "-c", FRESH, given], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[::-1] == here
