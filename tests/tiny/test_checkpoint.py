"""The embedded checkpoint generates what prompts describe; `benchmarks/adherence.py` measures how well."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from tiers import slow_but

import composer
from composer.checkpoints.sources import EMBEDDED

CHANNEL = {"red": 0, "green": 1, "blue": 2}


def pixels(*overrides: str, **values) -> np.ndarray:
    """(B, H, W, 3), 0–255."""
    return np.stack([np.asarray(image, int) for image in composer.compose(*overrides, "callbacks=[]", **values).images])


def fraction(image: np.ndarray, colour: str) -> float:
    """Fraction of pixels in which a colour clearly leads."""
    channel = CHANNEL[colour]
    others = np.delete(image, channel, axis=-1).max(-1)
    return float((image[..., channel] > others + 50).mean())


@pytest.mark.parametrize("scheduler", slow_but(["euler"], ["euler", "ddim", "dpmpp_2m"]))
def test_colour_and_position_follow_the_prompt(scheduler):
    images = pixels(
        f"scheduler={scheduler}",
        prompt="a large red sphere on the left and a large blue cube on the right, on snow, under a cloudy sky",
        images=4,
    )
    half = images.shape[2] // 2
    right = [
        fraction(p[:, :half], "red") > 0.05
        and fraction(p[:, half:], "blue") > 0.05
        and fraction(p[:, half:], "red") < 0.01
        for p in images
    ]
    assert sum(right) >= 3


def test_the_sky_follows_the_prompt():
    night, day = pixels(prompt=["a red cone, at night", "a red cone, by day"], seed_step=0)
    top = night.shape[0] // 5
    assert night[:top].mean() < 70 < 120 < day[:top].mean()


def test_guidance_and_the_negative_prompt_have_a_say():
    plain, weak, pushed = (
        pixels(prompt="a red cone", **more)[0] for more in ({}, {"guidance": 1}, {"negative_prompt": "a cloudy sky"})
    )
    assert np.abs(plain - weak).mean() > 0.5 and np.abs(plain - pushed).mean() > 0.5


@pytest.mark.parametrize("scheduler", slow_but(["unipc"], ["default", "euler", "heun", "unipc", "dpmpp_2m"]))
def test_the_unconditional_model_generates_scenes_and_not_noise(scheduler):
    images = pixels("task=unconditional", f"scheduler={scheduler}", images=4)
    assert images.shape[1:3] == (64, 64)
    neighbours = np.abs(np.diff(images, axis=2)).mean((1, 2, 3))
    noise = np.abs(np.diff(np.random.default_rng(0).integers(0, 256, images.shape), axis=2)).mean()
    assert (neighbours < noise / 6).all()
    assert images.mean((1, 2)).std(0).max() > 15, "all images alike"


def test_what_a_prompt_leaves_open_differs_between_images():
    images = pixels("scheduler=dpmpp_2m", prompt="a red cone", images=4, steps=6)
    assert np.mean([np.abs(one - other).mean() for one, other in itertools.combinations(images, 2)]) > 20


def test_the_files_name_no_machine():
    for path in EMBEDDED.rglob("*.json"):
        assert "/tmp" not in path.read_text("utf-8") and "_name_or_path" not in json.dumps(
            json.loads(path.read_text("utf-8"))
        )


def test_weights_are_stored_in_half_precision():
    from composer.checkpoints.headers import read_header

    files = list(Path(EMBEDDED).rglob("*.safetensors"))
    assert len(files) >= 4
    integers = ("position_ids", "num_batches_tracked")
    assert {
        entry["dtype"] for file in files for name, entry in read_header(file).items() if not name.endswith(integers)
    } == {"F16"}


# --- the variants; `benchmarks/semantics.py` measures them
# ---------------------------------------------------------------


def sample(name: str) -> np.ndarray:
    from PIL import Image

    from composer.images import samples

    return np.asarray(Image.open(samples.path(name)).resize((128, 128), Image.Resampling.LANCZOS), int)


def test_inpainting_puts_an_unseen_thing_into_the_mask_alone():
    images, mask = pixels("task=inpaint", prompt="a red cone", images=4), sample("mask") >= 128
    assert (images[:, ~mask] == sample("scene")[~mask]).all()
    inside = images[:, mask]
    assert sum(fraction(image[None], "red") > 0.08 for image in inside) >= 3 and fraction(inside, "blue") < 0.03


def test_inpainting_can_take_a_thing_away():
    (image,) = pixels("task=inpaint", prompt="nothing")
    inside = image[sample("mask") >= 128]
    assert fraction(inside[None], "blue") < 0.3 and fraction(inside[None], "red") < 0.01  # the sky has some blue


def test_outpainting_goes_on_where_the_image_ends():
    (image,) = pixels("task=outpaint")
    margin = np.ones((128, 128), bool)
    margin[32:96, 32:96] = False
    assert np.abs(image - sample("scene"))[margin].mean() < 25
    top, bottom = image[:20].mean((0, 1)), image[-20:].mean((0, 1))
    assert top[2] > top[1] and bottom[1] > bottom[2], "sky above, grass below"


def test_upscaling_doubles_nothing():
    words = {"prompt": "a red cone, at night", "steps": 8, "scheduler": "dpmpp_2m"}
    (small,), (large,) = pixels(**words), pixels("task=upscale", **words)
    stars = [bright_spots(image[: len(image) * 2 // 5]) for image in (small, large)]
    assert len(large) == 2 * len(small) and stars[0] > 5 and stars[1] <= stars[0] + 1


def bright_spots(image: np.ndarray) -> int:
    """Connected groups of pixels that are much brighter than the sky at night."""
    from scipy.ndimage import label

    return label(image.min(-1) > 110, np.ones((3, 3)))[1]


def test_depth_keeps_the_scene_and_the_prompt_changes_its_colours():
    image = pixels("task=depth2img", prompt="a green object and a red object, on snow")[0]
    half = image.shape[1] // 2
    assert fraction(image[:, :half], "green") > 0.05 and fraction(image[:, half:], "red") > 0.02
    after, before = fraction(image[40:90, 15:58], "green"), fraction(sample("scene")[40:90, 15:58], "red")
    assert abs(after - before) < 0.25, "the large thing is where the sphere was"
