"""The wheel is built, installed apart, and run from another folder: it finds its conf and its checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MIB = 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("diffusion_composer-*.whl")
    return file


def test_the_wheel_holds_conf_checkpoint_and_marker(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (
        "composer/conf/compose.yaml",
        "composer/py.typed",
        "composer/tiny/checkpoint/text2img/model_index.json",
        "composer/tiny/CARD.md",
    ):
        assert path in names
    assert len([name for name in names if name.startswith("composer/conf/scheduler/")]) >= 38
    assert not [name for name in names if name.startswith(("tests/", "outputs/", "conf/", "benchmarks/"))]


def test_the_wheel_runs_from_another_folder(wheel, tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    env = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    code = (
        "import sys, composer; from composer.cli.main import main; assert composer.__file__.startswith(sys.argv[1])\n"
        "sys.exit(main(['list', 'scheduler']) or main(['steps=1', 'hydra.run.dir=out']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "" and "scheduler=euler" in done.stdout, done.stderr
    assert (tmp_path / "out" / "000.png").is_file()


def test_the_embedded_text2img_checkpoint_is_at_most_16_mb():
    files = list((ROOT / "composer" / "tiny" / "checkpoint" / "text2img").rglob("*"))
    assert 1 * MIB < sum(file.stat().st_size for file in files if file.is_file()) <= 16_000_000


def test_constraints_pin_what_pyproject_asks_for():
    import re

    dependencies = re.findall(r'^  "([a-z-]+)[><=\[]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert len(dependencies) >= 11 and not [name for name in dependencies if name not in pinned]
