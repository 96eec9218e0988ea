"""Training on tiny random models: what is written, that it goes on to the bit, and that runs take the result."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from training_data import write_images

import composer
from composer.errors import ComposerError
from composer.options.lifecycle import clear_models
from composer.training.run import train
from composer.training.settings import parse_training

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = ("steps=3", "save_every=2", "sample_every=0", "lr=1e-2", "word=zorb")
#: Family → component that a LoRA is for.
DENOISERS = {"sd": "unet", "sdxl": "unet", "sd3": "transformer", "flux": "transformer"}


def trained(method: str, source: Path, folder: Path, *words: str):
    data = write_images(folder.parent / "data")
    line = [method, f"data={data}", "model=local", f"model.source={source}", f"output.folder={folder}", *SHORT, *words]
    return train(parse_training(line), lambda note: None, lambda line: None)


def image(source: Path, *words: str) -> bytes:
    line = ["model=local", f"model.source={source}", "prompt=a red zorb", "steps=2", "seed=7", "callbacks=[]", *words]
    line += ["height=64", "width=64"]
    return composer.compose(*line).images[0].tobytes()


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]


def metadata(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_a_lora_is_written_with_what_it_was_trained_on(checkpoints, tmp_path):
    done = trained("lora", checkpoints["sd"], tmp_path / "out", "rank=2", "alpha=4", "sample_every=2", "sample_steps=1")
    files = {path.relative_to(done.folder).as_posix() for path in done.folder.rglob("*") if path.is_file()}
    assert files == {
        "lora.safetensors", "train.json", "state.pt", "loss.jsonl", "loss.png", "checkpoints/000002.safetensors",
        "samples/000000.png", "samples/000002.png", "samples/000003.png",
    }  # fmt: skip
    texts = metadata(done.file)
    base, settings = json.loads(texts["composer.base"]), json.loads(texts["composer.training"])
    assert texts["modelspec.trigger_phrase"] == "zorb" and texts["modelspec.architecture"].endswith("/lora")
    assert base["source"] == str(checkpoints["sd"]) and (settings["rank"], settings["lr"]) == (2, 0.01)
    assert json.loads(texts["composer.data"]) == {"images": 2, "sha256": done.sha256}
    assert len(losses(done.folder)) == 3 and {len(tensor) for tensor in load_file(done.file).values()} > {2}
    assert str(tmp_path) not in texts["composer.training"]


@pytest.mark.slow
def test_it_leaves_the_models_as_they_were(checkpoints, tmp_path):
    source = checkpoints["sd"]
    before = image(source)
    for method in ("lora", "textual_inversion"):
        trained(method, source, tmp_path / method, "gradient_checkpointing=true")
        assert image(source) == before
    with pytest.raises(ComposerError, match="init=redd"):
        trained("textual_inversion", source, tmp_path / "refused", "init=redd")
    assert image(source) == before and not (tmp_path / "refused" / "state.pt").exists()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("lora", ("rank=2",)),
        pytest.param("lora", ("rank=2", "lr_schedule=cosine", "warmup=1", "accumulate=2"), marks=pytest.mark.slow),
        pytest.param("lora", ("rank=2", "precision=bf16", "gradient_checkpointing=true"), marks=pytest.mark.slow),
        pytest.param("textual_inversion", ("vectors=2",), marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_training_goes_on_to_the_bit(checkpoints, tmp_path, monkeypatch, method, words):
    source = checkpoints["sd"]
    complete = trained(method, source, tmp_path / "complete", *words)
    monkeypatch.setattr("composer.training.session.Session.write", stop)
    with pytest.raises(InterruptedError):
        trained(method, source, tmp_path / "broken", *words)  # after the second step, whose state is saved
    monkeypatch.undo()
    with (tmp_path / "broken" / "loss.jsonl").open("a") as file:  # as a process leaves it that dies a little later
        file.write('{"step": 3, "loss": 9.0}\n')
    clear_models()
    again = trained(method, source, tmp_path / "broken", *words)
    assert again.resumed == 2 and losses(again.folder) == losses(complete.folder)
    assert again.file.read_bytes() == complete.file.read_bytes()
    once_more = trained(method, source, tmp_path / "broken", *words)
    assert once_more.resumed == 3 and once_more.file.read_bytes() == complete.file.read_bytes()


def stop(*args, **named):
    raise InterruptedError


@pytest.mark.slow
def test_a_folder_goes_on_with_its_own_settings_alone(checkpoints, tmp_path):
    source, folder = checkpoints["sd"], tmp_path / "out"
    first = trained("lora", source, folder, "rank=2").file.read_bytes()
    with pytest.raises(ComposerError, match=r"output\.folder=.*holds a training with rank=2, and here it is 3"):
        trained("lora", source, folder, "rank=3")
    more = trained("lora", source, folder, "rank=2", "steps=4")
    assert more.resumed == 3 and len(losses(folder)) == 4 and more.file.read_bytes() != first
    (folder / "checkpoints" / "000900.safetensors").write_bytes(b"of a longer one")
    assert trained("lora", source, folder, "rank=2", "fresh=true").file.read_bytes() == first
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000002.safetensors"]
    (folder / "state.pt").write_bytes(b"half")
    with pytest.raises(ComposerError, match=r"can't be read .*fresh=true starts over"):
        trained("lora", source, folder, "rank=2")


@pytest.mark.parametrize(
    "family", [name if name == "sd" else pytest.param(name, marks=pytest.mark.slow) for name in DENOISERS]
)
def test_a_lora_is_taken_by_composer_and_by_diffusers_alike(checkpoints, tmp_path, family):
    source = checkpoints[family]
    done = trained("lora", source, tmp_path / "out", "rank=2", "alpha=3")
    assert all(name.startswith(DENOISERS[family]) for name in load_file(done.file))
    ours = [image(source, f"lora={done.file}", f"lora.scale={scale}") for scale in (0, 0.7)]
    assert ours[0] == image(source) != ours[1]
    pipe = diffusers.DiffusionPipeline.from_pretrained(source)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(str(done.folder), weight_name=done.file.name, adapter_name="x")
    pipe.set_adapters(["x"], [0.7])
    theirs = pipe(
        "a red zorb", num_inference_steps=2, generator=torch.Generator().manual_seed(7), height=64, width=64,
        **({"max_sequence_length": 48} if family == "flux" else {}),
    )  # fmt: skip
    assert ours[1] == theirs.images[0].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_vectors_are_taken_by_composer_and_by_diffusers_alike(checkpoints, tmp_path, family):
    source = checkpoints[family]
    done = trained("textual_inversion", source, tmp_path / "out")
    tensors = load_file(done.file)
    assert set(tensors) == ({"zorb"} if family == "sd" else {"clip_l", "clip_g"})
    ours = image(source, f"embedding={done.file}")
    assert ours != image(source)
    pipe = diffusers.DiffusionPipeline.from_pretrained(source)
    pipe.set_progress_bar_config(disable=True)
    if family == "sd":
        pipe.load_textual_inversion(str(done.file))
    else:
        pipe.load_textual_inversion(tensors["clip_l"], "zorb", text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
        pipe.load_textual_inversion(
            tensors["clip_g"], "zorb", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2
        )
    theirs = pipe("a red zorb", num_inference_steps=2, generator=torch.Generator().manual_seed(7), height=64, width=64,
                  guidance_scale=7.5 if family == "sd" else 5.0)  # fmt: skip
    assert ours == theirs.images[0].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("family", DENOISERS)
def test_the_loss_of_one_image_goes_down(checkpoints, tmp_path, family):
    data = write_images(tmp_path / "data", captions=("a red zorb",))
    line = ["lora", f"data={data}", "model=local", f"model.source={checkpoints[family]}", f"output.folder={tmp_path}/o"]
    done = train(  # attention layers of random models can learn little, and means of 30 losses differ by about 3 %
        parse_training([*line, "steps=120", "batch=4", "lr=1e-2", "rank=8", "sample_every=0", "save_every=200"]),
        lambda note: None, lambda line: None,
    )  # fmt: skip
    curve = losses(done.folder)
    assert sum(curve[-30:]) < 0.95 * sum(curve[:30]), (family, sum(curve[:30]) / 30, sum(curve[-30:]) / 30)


@pytest.mark.slow
def test_images_of_several_shapes_are_trained_in_their_buckets(checkpoints, tmp_path):
    data = write_images(tmp_path / "photos", (96, 64), ("a zorb", "a zorb cube"))
    write_images(data / "tall", (40, 80), ("a zorb cone",))
    done = trained("lora", checkpoints["sdxl"], tmp_path / "out", "batch=2", f"data={data}")
    sizes = {
        tuple(entry[side] for side in ("height", "width"))
        for entry in json.loads((done.folder / "train.json").read_text())["images"]
    }
    assert len(sizes) == 2 and all(height != width for height, width in sizes)


@pytest.mark.slow  # processes of their own
def test_a_killed_process_loses_nothing(checkpoints, tmp_path):
    data = write_images(tmp_path / "data")
    words = [
        "lora", f"data={data}", "model=local", f"model.source={checkpoints['sd']}", "steps=40", "save_every=5",
        "sample_every=0", "rank=2", "lr=1e-3",
    ]  # fmt: skip
    line = [sys.executable, "-m", "composer", "train", *words]
    complete = subprocess.run([*line, f"output.folder={tmp_path}/complete", "--json"], capture_output=True, text=True)
    assert json.loads(complete.stdout)["resumed"] == 0
    killed = tmp_path / "killed"
    for least in (7, 19):
        process = subprocess.Popen([*line, f"output.folder={killed}"], stdout=subprocess.DEVNULL)
        while process.poll() is None and count(killed) < least:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    again = subprocess.run([*line, f"output.folder={killed}", "--json"], capture_output=True, text=True)
    assert json.loads(again.stdout)["resumed"] >= 15
    files = [
        hashlib.sha256((tmp_path / name / "lora.safetensors").read_bytes()).hexdigest()
        for name in ("complete", "killed")
    ]
    assert files[0] == files[1] and losses(tmp_path / "complete") == losses(killed)


def count(folder: Path) -> int:
    path = folder / "loss.jsonl"
    return path.read_text().count("\n") if path.exists() else 0
