"""The preprocessor `depth`, by the estimator that the embedded checkpoint has."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from composer.checkpoints.sources import EMBEDDED
from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.loading.depth_estimation import depth


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimator")
    for part in ("depth_estimator", "feature_extractor"):
        shutil.copytree(EMBEDDED / "depth" / part, folder, dirs_exist_ok=True)
    return folder


def test_it_is_what_the_pipeline_of_transformers_estimates(estimator):
    from transformers import pipeline

    image = read_image("image", "sample:scene")
    estimated = np.asarray(depth(image, str(estimator)))
    expected = np.asarray(
        pipeline("depth-estimation", model=str(estimator), dtype="float32")(image)["depth"], np.float64
    )
    assert estimated.shape == (image.height, image.width, 3) and (estimated.min(), estimated.max()) == (0, 255)
    # it scales to [0, 255] by the maximum alone, and truncates: a line maps one to the other
    gray = estimated[..., 0].astype(np.float64)
    slope, offset = np.polyfit(expected.ravel(), gray.ravel(), 1)
    assert slope > 0 and np.abs(slope * expected + offset - gray).max() < 3


def test_a_model_that_is_none_is_refused(tmp_path):
    with pytest.raises(ComposerError, match=r"control\.preprocess\.model=.*can't be loaded"):
        depth(Image.new("RGB", (8, 8)), str(tmp_path))
