"""LoRA on models that their own diffusers pipelines run: equal to diffusers, or refused where these load none."""

from __future__ import annotations

from pathlib import Path

import diffusers
import lora_files
import pytest
import torch

from composer import compose
from composer.compat.lora import loadable_components
from composer.errors import ComposerError

pytestmark = pytest.mark.usefixtures("one_thread")

#: Models in `zoo.ZOO` that no native family runs and whose pipelines load LoRA.
LOADING = ("cogview4",)


def words(source: Path, *more: str) -> list[str]:
    return ["model=local", f"model.source={source}", "prompt=a cat", "steps=2", "seed=7", "callbacks=[]", *more]


def image(source: Path, *more: str) -> bytes:
    return compose(*words(source, *more)).images[0].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADING)
def test_it_equals_diffusers_and_leaves_nothing(others, tmp_path, name):
    source = others[name]
    pipe = diffusers.DiffusionPipeline.from_pretrained(source)
    pipe.set_progress_bar_config(disable=True)
    assert "transformer" in loadable_components(pipe)
    layers = lora_files.layers_of(pipe, ("transformer",))
    file = lora_files.save(lora_files.diffusers(layers), tmp_path / "x.safetensors")
    before = image(source)
    changed = image(source, f"lora={file}", "lora.scale=0.7")
    assert changed != before and image(source, f"lora={file}", "lora.scale=0") == before == image(source)
    result = compose(*words(source, f"lora={file}", "lora.scale=0.7"))
    pipe.load_lora_weights(str(tmp_path), weight_name=file.name, adapter_name="x")
    pipe.set_adapters(["x"], [0.7])
    config = result.record["config"]
    given = {key: config[key] for key in ("height", "width") if config.get(key)}
    theirs = pipe(
        "a cat", num_inference_steps=2, guidance_scale=config["guidance"]["scale"] or 5.0,
        generator=torch.Generator().manual_seed(7), **given,
    ).images[0]  # fmt: skip
    assert changed == theirs.tobytes()


def test_a_pipeline_that_loads_none_is_refused_with_the_way_out(others, tmp_path):
    source, size = others["pixart_alpha"], ["height=64", "width=64", "arguments.use_resolution_binning=false"]
    pipe = diffusers.DiffusionPipeline.from_pretrained(source)
    layers = lora_files.layers_of(pipe, ("transformer",))
    file = lora_files.save(lora_files.diffusers(layers), tmp_path / "x.safetensors")
    before = image(source, *size)
    with pytest.raises(ComposerError, match=r"loads no LoRA into a PixArtAlphaPipeline: use lora\.method=merge"):
        image(source, *size, f"lora={file}")
    merged = [image(source, *size, f"lora={file}", "lora.method=merge", f"lora.scale={n}") for n in (0, 1)]
    assert merged[0] == before != merged[1] and image(source, *size) == before
