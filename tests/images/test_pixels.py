from __future__ import annotations

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from composer.images.pixels import to_mask, to_pixels

RNG = np.random.default_rng(0)


def test_pixels_are_what_diffusers_makes_of_them():
    images = [Image.fromarray(RNG.integers(0, 256, (16, 24, 3), np.uint8)) for _ in range(2)]
    theirs = VaeImageProcessor().preprocess(images, 16, 24)
    assert torch.equal(to_pixels(images), theirs) and to_pixels(images).stride() == theirs.stride()


def test_masks_are_what_diffusers_makes_of_them():
    masks = [Image.fromarray(RNG.integers(0, 256, (16, 24), np.uint8)) for _ in range(2)]
    processor = VaeImageProcessor(do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    assert torch.equal(to_mask(masks), processor.preprocess(masks, 16, 24))
    assert to_mask([Image.new("L", (1, 1), 127)]).item() == 0 and to_mask([Image.new("L", (1, 1), 128)]).item() == 1
