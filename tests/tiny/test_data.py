from __future__ import annotations

import numpy as np
import pytest

from composer.tiny.captions import caption
from composer.tiny.data import captions, images, scenes
from composer.tiny.render import FAR, render
from composer.tiny.scenes import HELD_OUT, POSITIONS, SHAPES, SIZES, Scene, make_thing, sample_scene

GREY = {"ground": "stone", "sky": "cloudy"}


def scene(
    shape: str = "sphere", colour: str = "red", size: str = "large", position: str = "center", **backdrop: str
) -> Scene:
    thing = make_thing(np.random.default_rng(0), colour, shape, size, position)
    return Scene(things=(thing,), light=-0.5, seed=1, **{**GREY, **backdrop})


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_is_rendered_in_its_colour_where_its_mask_is(shape, size):
    rendering = render(scene(shape), size)
    assert rendering.image.shape == (size, size, 3) and rendering.image.dtype == np.uint8
    inside = rendering.image[rendering.masks[0] > 0.99].astype(int)
    assert len(inside) > size * size // 40
    assert (inside[:, 0] > inside[:, 1:].max(1)).mean() > 0.95


@pytest.mark.parametrize("shape", SHAPES)
def test_depth_is_nearer_on_the_thing_than_behind_it(shape):
    empty = Scene(things=(), light=-0.5, seed=1, **GREY)
    near, far = render(scene(shape)), render(empty)
    on = near.masks[0] > 0.99
    assert (near.depth[on] < far.depth[on] + 1e-3).all() and 2 < near.depth[on].min() < 4
    assert far.depth[0].max() == FAR and np.isfinite(near.depth).all()


def test_positions_and_sizes_are_as_they_are_called():
    columns = [np.argwhere(render(scene(position=position)).masks[0] > 0.5)[:, 1].mean() for position in POSITIONS]
    assert columns == sorted(columns) and abs(columns[1] - 31.5) < 6
    areas = [(render(scene(size=size)).masks[0]).sum() for size in SIZES]
    assert areas[1] > 1.4 * areas[0] and areas[2] > 1.4 * areas[1]


def test_every_cube_shows_two_faces():
    for position in POSITIONS:
        rendering = render(scene("cube", colour="white", position=position), 128)
        solid = rendering.masks[0] > 0.99
        row = np.argwhere(solid)[:, 0].max() - 12  # below the top face
        brightness = rendering.image[row][solid[row]].astype(int).sum(-1)
        assert np.abs(np.diff(brightness)).max() > 20, f"no edge between faces at {position}"


def test_the_night_has_stars():
    assert (render(scene(sky="night"), 128).image[:40].max(-1) > 150).sum() > 10


def test_held_out_pairs_never_appear_in_training():
    seen = {(thing.colour, thing.shape) for scene in scenes(2000, 1) for thing in scene.things}
    assert not seen & HELD_OUT and len(seen) == 8 * 4 - len(HELD_OUT)
    assert {(thing.colour, thing.shape) for scene in scenes(200, 1, "held_out") for thing in scene.things} == HELD_OUT


def test_a_scene_does_not_depend_on_how_many_there_are():
    assert scenes(3, 5) == scenes(10, 5)[:3]


def test_a_caption_says_what_it_claims():
    rng = np.random.default_rng(3)
    for _ in range(300):
        sample = sample_scene(rng, "any")
        text, facts = caption(sample, rng)
        for thing in facts.things:
            assert thing[0] is None or thing[0] in text
        full, all_facts = caption(sample, rng, full=True)
        assert all(thing.colour in full for thing in sample.things)
        assert all(None not in (colour, shape, position) for colour, shape, _, position in all_facts.things)


def test_the_prompt_of_the_readme_is_within_the_grammar():
    rng = np.random.default_rng(0)
    texts = {text for ways in captions(scenes(3000, 9), 9) for text, _ in ways}
    assert any(", on snow" in text for text in texts) and any(text.endswith(", at night") for text in texts)
    assert rng is not None


def test_images_are_rendered_once(tmp_path):
    first = images(tmp_path, 6, 3, 64)
    stamp = next(tmp_path.glob("*images.npy")).stat().st_mtime_ns
    again = images(tmp_path, 6, 3, 64)
    assert np.array_equal(first.images, again.images) and next(tmp_path.glob("*images.npy")).stat().st_mtime_ns == stamp
    assert np.array_equal(first.images[4], render(scenes(6, 3)[4], 64).image)
