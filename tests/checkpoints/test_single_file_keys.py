"""Single files are known by the keys by which diffusers knows them, without importing it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS, infer_diffusers_model_type

from composer.checkpoints.single_file_keys import (
    UNET_INPUT,
    default_config_repository,
    kinds,
    known_keys,
    model_type,
)

ATTENTION, SECOND, REFINER = (known_keys()[kind][0] for kind in ("v2", "xl_base", "xl_refiner"))
FLUX, SD3, LARGE = (known_keys()[kind] for kind in ("flux", "sd3", "sd35_large"))
PREFIX = "model.diffusion_model."
#: Keys of a file, with shapes of their tensors.
FILES = {
    "v1": {UNET_INPUT: (320, 4, 3, 3), ATTENTION: (640, 768)},
    "v2": {UNET_INPUT: (320, 4, 3, 3), ATTENTION: (640, 1024)},
    "inpainting": {UNET_INPUT: (320, 9, 3, 3), ATTENTION: (640, 768)},
    "inpainting_v2": {UNET_INPUT: (320, 9, 3, 3), ATTENTION: (640, 1024)},
    "instruct-pix2pix": {UNET_INPUT: (320, 8, 3, 3)},
    "upscale": {UNET_INPUT: (256, 7, 3, 3), known_keys()["upscale"][0]: (256,)},
    "xl_base": {UNET_INPUT: (320, 4, 3, 3), SECOND: (1280,)},
    "xl_refiner": {UNET_INPUT: (384, 4, 3, 3), REFINER: (1280,)},
    "xl_inpaint": {UNET_INPUT: (320, 9, 3, 3), SECOND: (1280,)},
    "playground-v2-5": {UNET_INPUT: (320, 4, 3, 3), SECOND: (1280,), "edm_mean": (1,)},
    "sd3": {SD3[1]: (9216,), f"{PREFIX}pos_embed": (1, 36864, 1536)},
    "sd35_medium": {SD3[1]: (9216,), f"{PREFIX}pos_embed": (1, 147456, 1536)},
    "sd35_large": {SD3[1]: (14592,), LARGE[1]: (1,)},
    "flux-schnell": {FLUX[0]: (128,)},
    "flux-dev": {FLUX[1]: (128,), f"{PREFIX}guidance_in.in_layer.bias": (1,), f"{PREFIX}img_in.weight": (3072, 64)},
    "flux-fill": {FLUX[0]: (128,), "guidance_in.in_layer.bias": (1,), "img_in.weight": (3072, 384)},
    "flux-depth": {FLUX[0]: (128,), "guidance_in.in_layer.bias": (1,), "img_in.weight": (3072, 128)},
}


@pytest.mark.parametrize("kind", FILES)
def test_the_kind_is_the_one_diffusers_infers(kind):
    header = {key: {"shape": list(shape)} for key, shape in FILES[kind].items()}
    theirs = infer_diffusers_model_type({key: torch.empty(shape, device="meta") for key, shape in FILES[kind].items()})
    assert (model_type(header), theirs) == (kind, kind)
    assert default_config_repository(kind) == DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]


def test_every_kind_that_a_family_reads_is_tried():
    assert set(FILES) == set(kinds())


@pytest.mark.parametrize(
    "kind", ["flux2", "chroma", "auraflow", "wan", "ltx-video", "z-image-turbo", "lumina2", "sana", "hidream"]
)
def test_other_kinds_are_refused_by_name(kind):
    keys = known_keys()[kind]
    assert model_type({key: {"shape": [1]} for key in keys}) == kind and kind not in kinds()


@pytest.mark.parametrize("shape", [[], [4], [4, 4]])
def test_a_tensor_of_any_shape_is_looked_at(shape):
    assert model_type({key: {"shape": shape} for key in (UNET_INPUT, ATTENTION)}) in kinds()


def test_the_keys_are_read_without_diffusers():
    code = "import sys; from composer.checkpoints.single_file_keys import known_keys"
    code += "; assert known_keys()['flux']; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
