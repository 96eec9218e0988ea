"""Conformance tests of metrics: inherit `MetricTests` and create the metric.

from composer.testing.conformance import MetricTests

class TestBrightness(MetricTests):
    def make(self):
        return Brightness()
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import ClassVar

from PIL import Image

from composer.images.reading import read_image
from composer.metrics.base import Metric
from composer.testing.option_files import settings_of_file

PROMPT = "a red cone on sand"


class MetricTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        size: Width and height of the images that the metric is given.
        option: Its option file, if it is to be checked.
    """

    size: ClassVar[tuple[int, int]] = (64, 48)
    option: ClassVar[Path | None] = None

    def make(self) -> Metric:
        """Create the metric.

        Returns:
            A new metric.
        """
        raise NotImplementedError(f"{type(self).__name__} does not create its metric")

    def test_it_measures_images_that_it_accepts(self) -> None:
        """It checks, loads, and gives a finite number."""
        assert isfinite(self._measured(self.make(), self._image()))

    def test_it_repeats(self) -> None:
        """The same image gives the same number, from the same metric again, also after another image, and a new one."""
        metric, image = self.make(), self._image()
        first = self._measured(metric, image)
        self._measured(metric, self._image().transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        assert first == self._measured(metric, image) == self._measured(self.make(), image)
        assert metric.fingerprint() == self.make().fingerprint()

    def test_it_leaves_the_image_as_it_was(self) -> None:
        image = self._image()
        before = image.tobytes()
        self._measured(self.make(), image)
        assert image.tobytes() == before, "it changes the image"

    def test_its_option_file_fits(self) -> None:
        """The file describes the metric, names its class, and keywords of its constructor."""
        if self.option is not None:
            assert self.option.parent.name == "metric"
            settings_of_file(self.option, type(self.make()), nested=True)

    def _image(self) -> Image.Image:
        return read_image("image", "sample:scene").resize(self.size)

    def _measured(self, metric: Metric, image: Image.Image) -> float:
        metric.check(image.size, (PROMPT,))
        metric.load()
        return metric.measure(image, PROMPT, "cpu")
