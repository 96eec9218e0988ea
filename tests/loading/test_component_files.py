"""Components that single files hold: safetensors, and GGUF, whose weights stay in few bits."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.pipelines.build import build_pipeline
from composer.testing import pipelines
from composer.testing.conformance import same
from composer.testing.image_files import pixels

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILIES = {"flux": "transformer", "sd3": "transformer", "sd": "unet", "sdxl": "unet"}


def quantised(model: torch.nn.Module, file: Path, kind: Kind = Kind.Q8_0, without: str = "nothing") -> Path:
    """As llama.cpp's tools write it: matrices of linear layers in blocks of 32, all else in 16 or 32 bits."""
    writer = gguf.GGUFWriter(file, "model")
    linear = {f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    for key, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        if key.startswith(without):
            continue
        if key in linear and values.shape[-1] % 32 == 0:
            writer.add_tensor(key, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(key, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def words(checkpoints, family: str, file: Path | None) -> list[str]:
    part = [f"model.components.{FAMILIES[family]}={file}"] if file else []
    return [
        "model=local",
        f"model.source={checkpoints[family]}",
        *part,
        "steps=2",
        "height=64",
        "width=64",
        "callbacks=[]",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantised_denoiser_gives_nearly_the_same_and_stays_quantised(checkpoints, tmp_path, family):
    file = quantised(getattr(getattr(pipelines, family)(), FAMILIES[family]), tmp_path / "model.gguf")
    plain, few = (
        composer.compose(*words(checkpoints, family, None)),
        composer.compose(*words(checkpoints, family, file)),
    )
    # weights are rounded to one of 255 values a block
    assert 0 < np.abs(np.asarray(plain.image, int) - np.asarray(few.image, int)).mean() < 3
    held = build_pipeline(check(read(compose_config(words(checkpoints, family, file)))))
    assert "GGUFParameter" in {type(weight).__name__ for weight in held.family.denoiser.parameters()}
    assert same(composer.compose(*words(checkpoints, family, None)), plain)
    assert same(composer.compose(*words(checkpoints, family, file)), few)


def test_it_is_shown_recorded_and_generated_again(compose, checkpoints, tmp_path):
    file = quantised(pipelines.flux().transformer, tmp_path / "model.gguf", Kind.Q4_0)
    shown = compose("show", *words(checkpoints, "flux", file)).out
    assert "Q4_0" in shown and str(file) in shown
    done = compose(*words(checkpoints, "flux", file), "output.folder=out")
    assert done.code == 0, done.err
    assert json.loads(Path("out/run.json").read_text())["model"]["components"]["transformer"]["source"] == str(file)
    assert compose("rerun", "out/000.png", "output.folder=again", "--trust").code == 0
    assert pixels(Path("out/000.png")) == pixels(Path("again/000.png"))


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_a_safetensors_file_of_one_component_is_that_component(compose, checkpoints, tmp_path, name):
    other = pipelines.sd(seed=5)
    getattr(other, name).save_pretrained(tmp_path / "other")
    file = next((tmp_path / "other").glob("*.safetensors"))
    base = words(checkpoints, "sd", None)
    assert compose(*base, f"model.components.{name}={tmp_path / 'other'}", "output.folder=folder").code == 0
    done = compose(*base, f"model.components.{name}={file}", "output.folder=file")
    assert done.code == 0, done.err
    assert pixels(Path("folder/000.png")) == pixels(Path("file/000.png"))


def test_what_can_not_be_is_refused_in_a_line(compose, checkpoints, tmp_path, monkeypatch):
    file = quantised(pipelines.flux().transformer, tmp_path / "model.gguf")
    part = quantised(pipelines.flux().transformer, tmp_path / "part.gguf", without="proj_out")
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:-5000])
    (tmp_path / "noise.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 8)
    base = words(checkpoints, "flux", None)
    for more, message in {
        (f"model.components.transformer={file}", "precision=fp8"): "model.gguf: is quantised already",
        (f"model.components.transformer={file}", "memory=[layerwise_casting]"): "model.gguf: is quantised already",
        (f"model.components.vae={file}",): ".gguf files hold unet or transformer",
        (f"model.components.unet={file}",): "the checkpoint has no such component",
        (f"model.components.transformer={tmp_path / 'cut.gguf'}",): "is damaged, download it again",
        (f"model.components.transformer={tmp_path / 'noise.gguf'}",): "is damaged, download it again",
        (f"model.components.transformer={part}",): "does not hold the weights of this FluxTransformer2DModel",
    }.items():
        done = compose(*base, *more, "output.folder=out")
        assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
        assert not Path("out").exists()
    done = compose("model=local", f"model.source={file}")
    assert done.code == 2 and "model.components.transformer=FILE" in done.err
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    done = compose(*base, f"model.components.transformer={file}")
    assert done.code == 2 and "pip install 'diffusion-composer[gguf]'" in done.err
