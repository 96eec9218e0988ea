"""Default sizes, steps, frames and factors of hosted classes are those of the pipelines themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
from tiers import slow_but
from zoo import ZOO

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.latent_scale import vae_scale_factor
from composer.checks.class_defaults import FRAME_FACTORS, class_defaults
from composer.config.spec import ModelSpec
from composer.loading.skeleton import create_skeleton

#: Settings of released VAEs → pixels per latent.
VAES = {
    "Stable Diffusion, FLUX.1": ({"block_out_channels": [128, 256, 512, 512]}, 8),
    "FLUX.2": ({"block_out_channels": [128, 256, 512, 512], "latent_channels": 32}, 8),
    "Stable Diffusion upscaler": ({"block_out_channels": [128, 256, 512]}, 4),
    "Sana": ({"encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024]}, 32),
    "Qwen-Image": ({"dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]}, 8),
    "Wan 2.1": ({"scale_factor_spatial": 8, "temperal_downsample": [False, True, True]}, 8),
    "Wan 2.2 5B": ({"scale_factor_spatial": 16, "patch_size": 2, "temperal_downsample": [False, True, True]}, 16),
    "HunyuanVideo": ({"block_out_channels": [128, 256, 512, 512], "spatial_compression_ratio": 8}, 8),
    "LTX-Video": (
        {
            "block_out_channels": [128, 256, 512, 512],
            "patch_size": 4,
            "spatio_temporal_scaling": [True, True, True, False],
        },
        32,
    ),
    "CogVideoX": ({"block_out_channels": [128, 256, 256, 512], "temporal_compression_ratio": 4}, 8),
}


@pytest.mark.parametrize("name", VAES)
def test_the_factor_of_released_vaes(name: str):
    config, factor = VAES[name]
    assert vae_scale_factor({"vae": config}, {"vae": "AutoencoderKL"}) == factor


def test_there_is_no_factor_without_a_vae():
    assert vae_scale_factor({}, {"unet": "UNet2DModel"}) == 1


#: Pipelines → size, multiple of sizes, steps, guidance scale, frames.
DEFAULTS = {
    "qwen": ((1024, 1024), 16, 50, 4.0, None),
    "zimage": ((1024, 1024), 16, 50, 5.0, None),
    "sana": ((1024, 1024), 32, 20, 4.5, None),
    "kontext": ((256, 256), 4, 28, 3.5, None),  # 128 latents of 2 pixels
    "klein": ((256, 256), 4, 50, 4.0, None),
    "lumina2": ((64, 64), 16, 30, 4.0, None),
    "sd_lcm": ((64, 64), 8, 4, 8.5, None),
    "sdcontrol": (None, 8, 50, 7.5, None),  # by its control image
    "qwen_edit": (None, 64, 50, 4.0, None),  # by its references
    "wan": ((480, 832), 16, 50, 5.0, 81),
}


def defaults_of(folder: Path, *given: str) -> tuple[Checkpoint, Any, Any]:
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(folder), family="hosted"))
    skeleton = create_skeleton(checkpoint)
    return checkpoint, skeleton, class_defaults(checkpoint, getattr(diffusers, checkpoint.pipeline), skeleton, given)


@pytest.mark.parametrize("name", slow_but(["qwen", "sana", "kontext", "sdcontrol", "wan"], DEFAULTS))
def test_defaults_are_those_of_the_class(others, name: str):
    _, _, defaults = defaults_of(others[name])
    assert (defaults.size, defaults.multiple, defaults.steps, defaults.guidance_scale, defaults.frames) == DEFAULTS[
        name
    ]


def test_a_size_that_follows_from_references_is_open(others):
    assert defaults_of(others["klein"])[2].size == (256, 256)
    assert defaults_of(others["klein"], "references")[2].size is None


#: Pipelines whose factor counts the patches of the transformer too.
PATCHES = {"bria": 2, "bria_fibo": 2, "ernie": 2}


@pytest.mark.parametrize("name", slow_but(["qwen", "sana", "wan"], [name for name in ZOO if ZOO[name].available]))
def test_factors_are_those_of_the_pipeline_with_weights(others, name: str):
    entry = ZOO[name]
    if not entry.loads:
        pytest.skip("diffusers can't load it")
    checkpoint, skeleton, _ = defaults_of(others[name])
    pipeline = entry.make()
    names = ("vae_scale_factor", "vae_scale_factor_spatial", "vae_spatial_compression_ratio", "default_sample_size")
    for attribute in (*names, *FRAME_FACTORS):
        if skeleton is not None and hasattr(pipeline, attribute):
            assert getattr(skeleton, attribute) == getattr(pipeline, attribute), attribute
    factor = next((getattr(pipeline, attribute) for attribute in names[:3] if hasattr(pipeline, attribute)), None)
    if factor is not None and hasattr(pipeline, "vae") and entry.kind != "audio":  # which has no pixels
        assert checkpoint.vae_scale_factor * PATCHES.get(name, 1) == factor


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["sd_pag", "sdxl_pag", "sd3_pag", "lumina2", "klein", "chroma", "flux2"])
def test_a_call_without_sizes_generates_the_default_size(others, name: str):
    pipeline, arguments = ZOO[name].make(), ZOO[name].call(1)
    images = pipeline(**{key: value for key, value in arguments.items() if key not in ("height", "width")}).images
    assert images[0].shape[:2] == defaults_of(others[name])[2].size
