from __future__ import annotations

import pytest
import torch
from composer_attention_maps import AttentionMaps, words_of
from PIL import Image

import composer
from composer import ComposerError, StepCallback
from composer.testing.conformance import CallbackTests
from composer.testing.runs import run


class TestAttentionMaps(CallbackTests):
    neutral = True
    families = ("sd", "sdxl")

    def make(self):
        return AttentionMaps()


def test_words_are_put_together_from_tokens():
    tokens = [
        "<|startoftext|>",
        "a</w>",
        "octa",
        "hedron</w>",
        ",</w>",
        "a</w>",
        "cat</w>",
        "<|endoftext|>",
        "<|endoftext|>",
    ]
    assert words_of(tokens) == {"a": [1, 5], "octahedron": [2, 3], "cat": [6]}


def test_the_processors_are_put_back():
    class Look(StepCallback):
        def around(self, run):
            self.unet = run.modules["unet"]
            self.before = dict(self.unet.attn_processors)
            return super().around(run)

    look = Look()
    run("sd", {"look": look, "maps": AttentionMaps()})
    assert dict(look.unet.attn_processors) == look.before


def test_attention_to_all_tokens_adds_up_to_one():
    maps = AttentionMaps()
    fractions = []
    maps._together, together = lambda run: fractions.append(together(run)) or fractions[0], maps._together
    run("sd", {"maps": maps}, batch=2)
    assert torch.allclose(fractions[0].sum(1), torch.ones_like(fractions[0].sum(1))) and len(fractions[0]) == 2


def test_the_maps_as_an_image(tmp_path):
    maps = AttentionMaps()
    run("sd", {"maps": maps}, batch=2, folder=tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["attention-000.png", "attention-001.png"]
    assert Image.open(tmp_path / "attention-000.png").width > 192
    assert set(maps.maps[0]) == {"a", "cat", "sitting"}


def test_words_look_where_their_things_are():
    """With the checkpoint that comes with composer, 8 × 8 positions: the sphere on the left, the cube on the right."""
    maps = AttentionMaps(["sphere", "cube"])
    composer.compose(
        prompt="a large red sphere on the left and a small blue cube on the right, on snow, at night", callbacks=[maps]
    )
    sphere, cube = (maps.maps[0][word] for word in ("sphere", "cube"))
    assert sphere.shape == (8, 8)
    assert sphere[:, :4].mean() > 2 * sphere[:, 4:].mean() and cube[:, 4:].mean() > 2 * cube[:, :4].mean()


@pytest.mark.parametrize("words", [["dog"], "cat"])
def test_words_that_can_not_be_shown(words):
    with pytest.raises(ComposerError, match=r"callbacks.attention_maps.words="):
        run("sd", {"maps": AttentionMaps(words)})
