"""A checkpoint that is written anew is another one, also within a process that knew it before."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import composer
from composer.checkpoints.fingerprints import directory_fingerprint

pytestmark = pytest.mark.usefixtures("one_thread")
UNET = "unet/diffusion_pytorch_model.safetensors"


def rewritten(folder: Path, name: str, key: str) -> None:
    """Other weights under the same name, of the same size."""
    state = load_file(folder / name)
    save_file({**state, key: state[key] + 0.2}, folder / name, metadata={"format": "pt"})


@pytest.fixture
def folder(checkpoints, tmp_path) -> Path:
    return shutil.copytree(checkpoints["sd"], tmp_path / "mine")


def test_new_weights_have_a_new_fingerprint_and_are_used(folder):
    first = composer.compose("model=local", f"model.source={folder}", "callbacks=[]", steps=2)
    rewritten(folder, UNET, "conv_out.bias")
    second = composer.compose("model=local", f"model.source={folder}", "callbacks=[]", steps=2)
    assert first.record["stamp"] != second.record["stamp"]
    assert first.image.tobytes() != second.image.tobytes()


def ids(out: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (out / "journal.jsonl").read_text().splitlines() if '"id"' in line]


def test_a_sweep_generates_again_with_new_weights(compose, folder):
    words = [
        "-m",
        "model=local",
        f"model.source={folder}",
        "callbacks=[]",
        "steps=2",
        "seed=1,2",
        "output.folder=sweep",
    ]
    done = compose(*words)
    assert done.code == 0 and "2 " in done.out
    assert "there already" in compose(*words).out + compose(*words).err
    rewritten(folder, UNET, "conv_out.bias")
    again = compose(*words)
    assert again.code == 0 and "there already" not in again.out + again.err, again.out + again.err


def test_a_new_config_is_read_by_the_next_sweep(compose, folder):
    words = ["-m", "model=local", f"model.source={folder}", "callbacks=[]", "steps=2", "seed=1"]
    assert compose(*words, "output.folder=one").code == 0
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "beta_end": 0.02}))
    assert compose(*words, "output.folder=two").code == 0
    ends = [json.loads(Path(name, "0000", "run.json").read_text())["scheduler"]["beta_end"] for name in ("one", "two")]
    assert ends == [0.012, 0.02]


@pytest.mark.parametrize("change", ["content", "name", "added", "gone"])
def test_each_change_of_a_folder_changes_its_stamp(tmp_path, change):
    file = tmp_path / "a.bin"
    file.write_bytes(b"1234")
    (tmp_path / "b.bin").write_bytes(b"5678")
    before = directory_fingerprint(tmp_path)
    assert directory_fingerprint(tmp_path) == before
    if change == "content":
        file.write_bytes(b"4321")
        os.utime(file, ns=(1, 1))
    elif change == "name":
        file.rename(tmp_path / "c.bin")
    elif change == "added":
        (tmp_path / "c.bin").write_bytes(b"")
    else:
        file.unlink()
    assert directory_fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    ("size", "changed"), [(1 << 20, 1), (1 << 26, 1 << 24)], ids=["a byte of a small file", "a quarter of a large one"]
)
def test_weights_between_a_files_ends_have_a_say(tmp_path, size, changed):
    file = tmp_path / "unet.safetensors"
    with open(file, "wb") as handle:
        handle.truncate(size)
    before = directory_fingerprint(file)
    with open(file, "r+b") as handle:
        handle.seek(size // 3)
        handle.write(b"1" * changed)
    assert directory_fingerprint(file) != before
