"""Clips and sounds of real pipelines' outputs, in each layout that diffusers returns them in."""

from __future__ import annotations

import numpy as np
import pytest
import zoo

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
