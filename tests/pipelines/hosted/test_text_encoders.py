"""Hooks that transformers puts on text encoders are never blamed on callbacks: each kind on a fresh model, in a process
of its own, with the default callbacks.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from zoo import ZOO, save

#: Kind of text encoder → an entry of the zoo that has it.
ENCODERS = {
    "clip": "sd", "t5": "chroma", "umt5": "wan", "qwen2.5-vl": "qwen", "qwen3": "zimage", "gemma2": "lumina2",
    "mistral3": "flux2", "llama": "hidream",
}  # fmt: skip
#: Tried for each merge.
OFTEN = ("qwen3",)
CODE = """
import inspect, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from cases import hosted, request
from composer.callbacks.progress import Progress
from composer.callbacks.trace import Trace
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(sys.argv[2])
accepted = inspect.signature(pipe.__call__).parameters
keywords = {name: value for name, value in {"max_sequence_length": 48, "num_frames": 5}.items() if name in accepted}
results = [hosted(pipe, [Progress(), Trace()], keywords=keywords)(request(32, steps=2)) for _ in range(2)]
assert results[0].notes == results[1].notes == (), results[0].notes
print("done")
"""


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.slow) for kind in ENCODERS]
)
def test_a_fresh_model_runs_twice(kind, tmp_path):
    entry = ZOO[ENCODERS[kind]]
    if not entry.available:
        pytest.skip(f"needs {entry.needs}")
    folder = save(ENCODERS[kind], tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(Path(__file__).parent), str(folder)], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("done"), done.stderr[-2000:]
