"""The benchmark scripts run and print their tables; what they measure is not for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = {
    "adapters.py": (("--quick",), ["| diffusers | ", "| composer, peft | ", "| composer, merge | "]),
    "edits.py": (("--quick",), ["rendered   right ", "kept "]),
    "ladder.py": (("--quick",), ["| 32 bits, 50 steps |", "| the same, 4 images at once |"]),
    "memory.py": (
        ("--quick",),
        ["| nothing | ", "| vae_tiling | ", "refused: memory=model_offload: does nothing on cpu"],
    ),
    "quality.py": (("--quick",), ["| 10 steps | ", "| deepcache, every 3rd | "]),
    "recipe_kills.py": (("--quick",), ['"steps redone": 0', '"lost": 0', '"other pixels": 0', '"other steps": 0']),
    "serve_kills.py": (("--quick",), ['"jobs": 20', '"lost": 0', '"twice": 0', '"half": 0', '"different": 0']),
    "serve_load.py": (("--quick",), ['"overhead_ms": ', '"submit": ', '"per_second": ']),
    "training.py": (("--quick",), ["| none | ", "| 0.5 | ", "file and losses the same to the bit"]),
    "gpu.py": (
        ("--quick", "--device", "cpu", "--only", "ladder", "memory", "unet: fp32, batch 1, eager", "--out", "gpu.json"),
        ["peak ", "ladder ", "unet ", "not selected"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_its_table(tmp_path, name):
    words, expected = SCRIPTS[name]
    pytest.importorskip("skimage" if name == "quality.py" else "torch")
    done = subprocess.run([sys.executable, str(FOLDER / name), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    output = done.stdout + ((tmp_path / "gpu.json").read_text() if name == "gpu.py" else "")
    assert all(text in output for text in expected), output
    if name == "gpu.py":
        report = json.loads((tmp_path / "gpu.json").read_text())
        assert (
            report["ladder"]
            and report["memory"]
            and report["versions"]["torch"]
            and report["operations of a sample"] > 0
        )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_python_and_can_be_quick(name):
    source = (FOLDER / name).read_text("utf-8")
    assert compile(source, name, "exec") and '"--quick"' in source


def test_every_script_is_documented():
    readme = (FOLDER / "README.md").read_text()
    assert [script.name for script in sorted(FOLDER.glob("*.py")) if f"`{script.name}" not in readme] == []
