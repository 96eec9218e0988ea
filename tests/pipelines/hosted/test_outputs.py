"""Clips and sounds of real pipelines' outputs, in each layout that diffusers returns them in."""

from __future__ import annotations

import numpy as np
import pytest
import zoo
from tiers import slow_but

from composer.media.medium import kind_of
from composer.pipelines.hosted.outputs import decoded_of
from composer.sampling.non_finite import NonFinite

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["wan", "video"])
def test_each_layout_of_frames_is_the_same_clip(name):
    entry = zoo.ZOO[name]
    pipe = entry.make()
    pipe.set_progress_bar_config(disable=True)
    clips = {
        layout: decoded_of(pipe(**entry.call(2) | {"output_type": layout}), pipe, 16).media
        for layout in ("pil", "np", "pt")
    }
    assert len({clip.digest() for (clip,) in clips.values()}) == 1 and clips["pil"][0].fps == 16
    theirs = pipe(**entry.call(2) | {"output_type": "pil"}).frames[0]
    assert [frame.tobytes() for frame in clips["np"][0].frames] == [frame.tobytes() for frame in theirs]


def test_frames_that_are_not_finite_are_refused():
    entry = zoo.ZOO["wan"]
    pipe = entry.make()
    pipe.set_progress_bar_config(disable=True)
    output = pipe(**entry.call(1) | {"output_type": "np"})
    output.frames[0, 1, 2, 3] = np.nan
    with pytest.raises(NonFinite, match="its frames hold numbers that are not finite"):
        decoded_of(output, pipe)


#: Names of the zoo's pipelines that make clips or sounds.
NAMES = [name for name, entry in zoo.ZOO.items() if entry.kind in ("video", "audio") and entry.available]


@pytest.mark.parametrize("name", slow_but(("ltx2", "cogvideox", "svd", "ace_step", "audioldm2"), NAMES))
def test_each_class_makes_a_clip_or_a_sound(name):
    entry = zoo.ZOO[name]
    pipe = entry.make()
    pipe.set_progress_bar_config(disable=True)
    keywords = entry.call(2)
    keywords.pop("output_type", None)  # what the class returns by itself, as in a run
    output = pipe(**keywords)
    (medium,) = decoded_of(output, pipe, 8).media
    (theirs,) = zoo.output(output)
    if entry.kind == "audio":
        assert kind_of(medium) == "sound" and medium.sampling_rate > 0
        assert np.array_equal(medium.samples, np.atleast_2d(theirs).astype(np.float32))
        return
    assert kind_of(medium) == "clip" and (medium.sound is not None) == (getattr(output, "audio", None) is not None)
    pixels = theirs if isinstance(output.frames[0], list) else (np.float32(theirs) * 255).round()
    assert np.array_equal(np.stack([np.asarray(frame) for frame in medium.frames]), pixels)
