"""Numbers that are not finite never become an image: the component and the step are named, and the VAE gets a second
try.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from composer.callbacks.request import Request
from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.families.lookup import family_class
from composer.families.settings import FamilySettings
from composer.sampling.non_finite import FiniteWatch, NonFinite, check_finite, is_finite


def damaged(checkpoint: Path, to: Path, component: str, key: str, value: float) -> Path:
    """A copy in which one tensor is all one value."""
    shutil.copytree(checkpoint, to)
    file = next((to / component).glob("*.safetensors"))
    tensors = load_file(file)
    result = next(name for name in tensors if name.endswith(key))
    tensors[result] = torch.full_like(tensors[result], value)
    save_file(tensors, file, {"format": "pt"})
    return to


@pytest.mark.parametrize(
    ("component", "key", "message"),
    [
        ("unet", "conv_in.bias", "unet: its prediction at step 1/3 holds numbers that are not finite"),
        ("vae", "decoder.conv_in.bias", "vae: its image holds numbers that are not finite"),
        ("text_encoder", "embeddings.token_embedding.weight", "text_encoder: the encoded prompt holds numbers"),
    ],
)
def test_the_component_is_named_and_nothing_is_written(compose, checkpoints, tmp_path, component, key, message):
    source = damaged(checkpoints["sd"], tmp_path / "bad", component, key, float("nan"))
    done = compose("model=local", f"model.source={source}", "steps=3", "callbacks=[]", "output.folder=out")
    assert done.code == 1 and done.err.count("\n") == 1 and message in done.err, done.err
    assert "precision" not in done.err, "nothing was in 16 bits"
    assert not Path("out").exists()


def test_an_encoded_image_too(compose, checkpoints, tmp_path):
    source = damaged(checkpoints["sd"], tmp_path / "bad", "vae", "encoder.conv_in.bias", float("inf"))
    done = compose("task=img2img", "model=local", f"model.source={source}", "steps=3")
    assert done.code == 1 and "vae: the encoded image holds numbers that are not finite" in done.err


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3"])
def test_the_vae_decodes_once_more_in_fp32_where_16_bits_overflow(checkpoints, family):
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(checkpoints[family])))
    pipe = getattr(diffusers, checkpoint.pipe).from_pretrained(checkpoints[family])
    make = family_class(checkpoint)
    with torch.no_grad():
        pipe.vae.decoder.conv_in.weight.mul_(
            3e4 / pipe.vae.decoder.conv_in.weight.abs().max()
        )  # is finite in fp16, and the sum of its values is not
        pipe.vae.to(torch.float16)
        latents = torch.randn(1, pipe.vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0)) * 20
        request = Request(prompts=("",), negative_prompts=(None,), seeds=(0,), steps=1, height=64, width=64)
        pipe.vae.register_to_config(force_upcast=False)  # of SDXL's, which says that it would
        decoded = make(pipe).decode(latents, request)
        assert list(decoded.notes) == ["vae: its pixels overflowed in float16, so they were decoded once more in fp32"]
        assert pipe.vae.dtype == torch.float16, "only for the while"
        upcast = make(pipe, FamilySettings(upcast_vae=True)).decode(latents, request)
        assert upcast.images[0].tobytes() == decoded.images[0].tobytes() and not upcast.notes
        with pytest.raises(NonFinite, match="vae: its image"):
            make(pipe, FamilySettings(upcast_vae=False)).decode(latents, request)


def test_any_other_pipeline_says_it_too(compose, checkpoints, tmp_path):
    source = damaged(checkpoints["sd"], tmp_path / "bad", "vae", "decoder.conv_in.bias", float("nan"))
    done = compose("model=local", f"model.source={source}", "model.family=hosted", "steps=2", "callbacks=[]")
    assert done.code == 1 and "vae: its image holds numbers that are not finite" in done.err, done.err


def test_large_values_are_finite():
    assert is_finite(torch.full((1, 4, 64, 64), 6e4, dtype=torch.float16)), "only their sum is beyond fp16"
    assert not is_finite(torch.tensor([1.0, float("-inf")])) and not is_finite(
        torch.tensor([float("inf"), float("-inf")])
    )
    with pytest.raises(NonFinite, match="vae: x holds"):
        check_finite("vae", "x", None, torch.tensor(float("nan")))


def test_on_an_accelerator_the_step_is_named_at_the_end():
    watch = FiniteWatch("unet", 3)
    watch.totals = [torch.tensor(item) for item in (1.0, float("nan"), float("nan"))]
    with pytest.raises(NonFinite, match="unet: what came of its prediction at step 2/3"):
        watch.flush()
    watch.flush()
