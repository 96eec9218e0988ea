"""What the inpainting, depth and upscaling variants are trained on, and how the base is widened for them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionDepth2ImgPipeline

from composer.tiny import networks
from composer.tiny.captions import EMPTY, WORDS, phrase, vague
from composer.tiny.data import depths, scenes
from composer.tiny.depth_stage import channel
from composer.tiny.masks import around, masked, over_gap, over_thing
from composer.tiny.render import render
from composer.tiny.scenes import HELD_OUT, POSITIONS, SHAPES, SIZES, Scene, sample_scene
from composer.tiny.variant import widened

SIZE = 128


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_mask_over_a_thing_covers_it():
    for i, scene in enumerate(scenes(60, 5)):
        if scene.things:
            mask, text = over_thing(scene, SIZE, rng(i))
            left = [(render(scene, SIZE).masks[k] > 0.5)[~mask].sum() for k in range(len(scene.things))]
            assert text and min(left) <= 12


def test_a_mask_over_a_gap_covers_no_thing():
    """But for a few pixels of a neighbour, where masks reach far."""
    for i in range(40):
        scene = sample_scene(rng(i), count=1)
        if scene.things[0].position != "center":
            mask, text = over_gap(scene, SIZE, rng(i))
            rendered = render(scene, SIZE).masks[0] > 0.5
            assert rendered[mask].sum() < 0.35 * rendered.sum() and any(
                text.count(words) for words in (*EMPTY, "landscape", "scene", "ground")
            )


def test_masks_come_in_all_kinds():
    areas = [masked(scene, SIZE, rng(i))[0].mean() for i, scene in enumerate(scenes(300, 6))]
    assert min(areas) < 0.05 and areas.count(1.0) > 15 and 0.2 < np.mean(areas) < 0.6


def test_outpainting_masks_keep_one_rectangle():
    for i in range(20):
        kept = ~around(SIZE, rng(i))
        rows, cols = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
        assert kept[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all() and kept.sum() == len(rows) * len(cols)


def test_no_held_out_pair_is_trained_on():
    assert not {(t.colour, t.shape) for scene in scenes(500, 1) for t in scene.things} & HELD_OUT


def test_vague_captions_say_no_shape_position_or_size():
    forbidden = {
        word for name in (*SHAPES, *SIZES) for phrase in WORDS.get(name, (name,)) for word in phrase.split()
    } | {
        *POSITIONS,
        "middle",
        "side",
    }
    for i, scene in enumerate(scenes(200, 7)):
        words = vague(scene, rng(i)).replace(",", "").split()
        assert not forbidden & set(words) and all(thing.colour in words for thing in scene.things)


def test_a_phrase_is_about_the_thing_alone():
    lengths = Counter(
        len(phrase(scene.things[0], rng(i)).split()) for i, scene in enumerate(scenes(200, 8)) if scene.things
    )
    assert max(lengths) <= 4 and lengths[3] > 20


def test_depth_reaches_the_model_as_diffusers_passes_it(tmp_path):
    near = torch.from_numpy(depths(tmp_path, 3, 9).astype(np.float32))
    scene: Scene = scenes(3, 9)[1]
    assert np.allclose(near[1], 1 / render(scene, 64).depth, rtol=1e-3)
    from composer.testing import pipelines

    pipe: StableDiffusionDepth2ImgPipeline = pipelines.sd_depth()
    sample = torch.zeros(3, 3, 128, 128)
    theirs = pipe.prepare_depth_map(sample, near, 3, False, torch.float32, torch.device("cpu"))
    assert theirs.shape == (3, 1, 16, 16) and torch.allclose(channel(near), theirs, atol=1e-6)


@pytest.mark.parametrize("new", [1, 5])
def test_a_widened_unet_without_weight_on_the_new_channels_is_the_base(new):
    torch.manual_seed(0)
    base = networks.unet().eval()
    wide = widened(base, torch.zeros(base.conv_in.weight.shape[0], new, 3, 3)).eval()
    x, hidden = torch.randn(1, 4, 16, 16), torch.randn(1, 8, networks.WIDTH)
    with torch.no_grad():
        expected = base(x, 10, hidden).sample
        result = wide(torch.cat([x, torch.randn(1, new, 16, 16)], 1), 10, hidden).sample
    assert torch.allclose(expected, result, atol=1e-5)
