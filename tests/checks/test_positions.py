"""Sizes beyond the positions that a denoiser knows are refused, natively and hosted; the largest ones run."""

from __future__ import annotations

import numpy as np
import pytest
import zoo
from diffusers import DiffusionPipeline
from tiers import slow_but

import composer
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.layouts import families
from composer.config.spec import ModelSpec
from composer.errors import ComposerError
from composer.testing import pipelines

#: Tiny checkpoint → the longest side in pixels: positions × latents of a token × pixels of a latent.
MOST = {"sd3": 16 * 2 * 8, "lumina2": 32 * 2 * 8, "zimage": 64 * 2 * 8, "wan": 64 * 2 * 8}
#: Words that a family needs besides.
MORE = {"wan": ["task=text2video", "frames=5", "output=gif"]}


def words_of(name, folder, **sides):
    sizes = [f"{side}={pixels}" for side, pixels in sides.items()]
    return [
        "model=local",
        f"model.source={folder}",
        "prompt=a cat",
        "steps=1",
        "callbacks=[]",
        *MORE.get(name, []),
        *sizes,
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    def save(name):
        folder = tmp_path_factory.mktemp("positions") / name
        return pipelines.save(name, folder) if name in pipelines.MAKERS else zoo.save(name, folder)

    return save


@pytest.mark.parametrize("engine", ["auto", "hosted"])
@pytest.mark.parametrize("side", ["height", "width"])
@pytest.mark.parametrize("name", MOST)
def test_a_side_beyond_the_positions_is_refused(saved, name, side, engine):
    words = [*words_of(name, saved(name), height=64, width=64), f"model.family={engine}"]
    composer.check(*words, f"{side}={MOST[name]}")
    with pytest.raises(ComposerError, match=f"^{side}=.*at most {MOST[name]} pixels"):
        composer.check(*words, f"{side}={MOST[name] + 16}")


def test_the_second_pass_counts_too(saved):
    words = [*words_of("sd3", saved("sd3"), height=64, width=64), "task=upscale", "strength=0.5"]
    composer.check(*words, "factor=4")
    with pytest.raises(ComposerError, match="at most 256 pixels"):
        composer.check(*words, "factor=4.5")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", slow_but(["sd3"], MOST))
def test_the_largest_side_runs(saved, name):
    result = composer.compose(*words_of(name, saved(name), height=MOST[name], width=64))
    assert np.asarray(result.media[0].frames[0] if name in MORE else result.image).shape[:2] == (MOST[name], 64)


@pytest.mark.parametrize("name", slow_but(["sd3"], MOST))
def test_beyond_it_diffusers_fails(saved, name):
    pipe = DiffusionPipeline.from_pretrained(saved(name))
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        pipe("a cat", height=MOST[name] + 16, width=64, num_inference_steps=1)


def test_every_model_with_a_table_of_positions_names_it():
    """Wan's limit is beyond the largest size that can be typed."""
    limited = {name for name, info in families().items() if info.positions is not None}
    assert limited == {"sd3", "lumina2", "z_image", "wan"}
    assert families()["wan"].positions({}) == (1024, 1024)


def test_a_family_without_a_limit_has_none(saved):
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(saved("sd"))))
    assert checkpoint.family_info.positions is None
