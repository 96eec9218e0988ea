"""The waveform of a sound, as an image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

#: Width of a waveform, and the height of each channel in it, in pixels.
WIDTH, HEIGHT = 512, 128
WAVE, AXIS = "#1f6fb4", "#cccccc"


def plot(all_samples: NDArray[np.float32]) -> Image.Image:
    """Plot the samples of a sound.

    Args:
        all_samples: `(channels, n)`; those outside of `[-1, 1]` are clipped.

    Returns:
        An RGB image, one row a channel: for each column of pixels the range of its samples.
    """
    channels, count = all_samples.shape
    image = Image.new("RGB", (WIDTH, HEIGHT * channels), "white")
    pen = ImageDraw.Draw(image)
    edges = np.linspace(0, count, WIDTH + 1).astype(int)
    for row, samples in enumerate(np.clip(all_samples, -1, 1)):
        middle = row * HEIGHT + HEIGHT // 2
        pen.line((0, middle, WIDTH, middle), fill=AXIS)
        for x, (begin, end) in enumerate(pairwise(edges)):
            part = samples[begin : max(end, begin + 1)]
            low, high = (round(middle - float(value) * (HEIGHT // 2 - 2)) for value in (part.min(), part.max()))
            pen.line((x, high, x, low), fill=WAVE)
    return image
