"""`compose models` against a hub on the loopback and a cache that the hub's own library wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, hub

ROOT = Path(__file__).parents[2]
NAME = "someone/tiny-sd"
CARD = "---\nlicense: openrail++\n---\n# A card\n"


def models(home: Path, *words: str, code: int = 0, **environment: str):
    """Run `compose models` in a process of its own, since the hub's library reads its environment when it is
    imported.
    """
    env = {**os.environ, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "composer", "models", *words, "--json"], env=env, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert code != 2 or len(done.stderr.splitlines()) == 1, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """The checkpoint of this package as a repository with a card, a pickle and the same weights again in one file."""
    folder = tmp_path_factory.mktemp("repository") / "sd"
    shutil.copytree(ROOT / "composer" / "tiny" / "checkpoint" / "text2img", folder)
    (folder / "README.md").write_text(CARD)
    (folder / "all.safetensors").write_bytes(b"x" * 1000)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory, repository) -> Path:
    """A home of the hub's library into which `compose models pull` has downloaded the repository."""
    home = tmp_path_factory.mktemp("home")
    with hub(NAME, repository, ["diffusers", "license:openrail++"]) as (address, requests):
        repositories = models(home, "find", "tiny", HF_ENDPOINT=address)["models"]
        assert repositories == [
            {"name": NAME, "licence": "openrail++", "tasks": "text-to-image", "downloads": 7, "gated": False}
        ]
        before = models(home, "pull", NAME, "dry_run=true", HF_ENDPOINT=address)
        assert not any("/resolve/" in path for path in requests), "a dry run downloads nothing"
        pulled = models(home, "pull", NAME, HF_ENDPOINT=address)
        assert "such repository" in models(home, "find", "someone/nothing", code=2, HF_ENDPOINT=address)["reason"]
    on_disk = sum(path.stat().st_size for path in Path(pulled["folder"]).rglob("*") if path.is_file())
    assert before["bytes"] == pulled["bytes"] == on_disk and pulled["revision"] == COMMIT
    assert {file["name"] for file in pulled["files"] if not file["needed"]} == {
        "all.safetensors",
        "unet/diffusion_pytorch_model.bin",
    }
    return home


@pytest.mark.slow
def test_what_was_pulled_is_listed_with_licence_and_tasks_and_generates(home, tmp_path):
    (model,) = models(home, "ls", HF_HUB_OFFLINE="1")["models"]
    assert model["name"] == NAME and model["licence"] == "openrail++" and model["revisions"] == [COMMIT]
    assert model["pipeline"] == "StableDiffusionPipeline" and {"text2img", "img2img"} <= set(model["tasks"])
    env = {**os.environ, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for name, source in {"hub": NAME, "own": "embedded:text2img"}.items():
        command = [
            sys.executable,
            "-m",
            "composer",
            "steps=1",
            "model=local",
            f"model.source={source}",
            f"output.folder={tmp_path / name}",
        ]
        subprocess.run(command, env=env, check=True, capture_output=True)
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("hub", "own")]
    assert records[0]["pixels"] == records[1]["pixels"] and records[0]["model"]["commit"] == COMMIT


@pytest.mark.slow
def test_damage_is_found_and_removal_needs_a_word(home, tmp_path):
    shutil.copytree(home, tmp_path / "home", symlinks=True)
    home = tmp_path / "home"
    intact = models(home, "verify", NAME, HF_HUB_OFFLINE="1")
    assert (
        intact["intact"] == len(intact["files"]) > 10 and not intact["damaged"] + intact["missing"] + intact["unknown"]
    )
    blobs = sorted((home / "hub").rglob("blobs/*"), key=lambda path: (len(path.name), path.name))
    for blob in (blobs[0], blobs[-1]):  # a small file and a large one
        data = blob.read_bytes()
        blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    blobs[1].unlink()
    damaged = models(home, "verify", NAME, code=1)
    assert (damaged["damaged"], damaged["missing"]) == (2, 1)
    would = models(home, "rm", NAME)
    assert not would["removed"] and models(home, "ls")["models"]
    assert models(home, "rm", NAME, "dry_run=false")["bytes"] == would["bytes"]
    assert models(home, "ls")["models"] == [] and not list((home / "hub").glob("models--*"))


def test_folders_of_other_tools_are_listed_and_name_models(tmp_path, repository, compose, monkeypatch):
    shutil.copytree(repository, tmp_path / "tool" / "diffusers" / "sd")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("COMPOSER_MODELS", str(tmp_path / "tool"))
    listed = compose("models", "ls", "--json")
    assert listed.code == 0, listed.err
    model = next(one for one in json.loads(listed.out)["models"] if one["directory"] == str(tmp_path / "tool"))
    assert model["name"] == "diffusers/sd" and model["licence"] == "openrail++" and "inpaint" in model["tasks"]
    assert compose("check", "model=local", "model.source=diffusers/sd").code == 0
    monkeypatch.delenv("COMPOSER_MODELS")
    assert compose("check", "model=local", "model.source=diffusers/sd").code == 2
    refused = compose("models", "ls", "folders=nowhere")
    assert refused.code == 2 and "there is no such folder" in refused.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ls", "x=1"], "x=1: is no setting of models ls"), (["find"], "name one model"),
        (["sl"], "ls, find, pull, verify, rm"),
        (["pull", "x"], "must be a hub id"), (["rm", "a/b"], "is not in the hub's cache"),
        (["verify", "a/b"], "compose models ls"),
        (["rm", "a/b", "dry_run=no"], "dry_run=no"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_one_line(compose, words, line):
    refused = compose("models", *words)
    assert refused.code == 2 and line in refused.err and len(refused.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [["find", "sd"], *(pytest.param(words, marks=pytest.mark.slow) for words in (["find", "a/b"], ["pull", "a/b"]))],
)
def test_offline_is_one_line(tmp_path, words):
    assert "HF_HUB_OFFLINE" in models(tmp_path, *words, code=2, HF_HUB_OFFLINE="1")["reason"]
