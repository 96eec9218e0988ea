"""The built-in metrics: the kit's tests, and what each computes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.metrics.clip_score import ClipScore
from composer.metrics.distance import K1, K2, RADIUS, SIGMA, Distance, ssim
from composer.metrics.sharpness import Sharpness
from composer.testing.conformance import MetricTests

from .tiny_clip import save_clip

pytestmark = pytest.mark.usefixtures("one_thread")
CONF = packaged_conf() / "metric"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(save_clip(tmp_path_factory.mktemp("clip")))


class TestSharpness(MetricTests):
    option = CONF / "sharpness.yaml"

    def make(self):
        return Sharpness()


class TestDistance(MetricTests):
    size = (512, 512)
    option = CONF / "distance.yaml"

    def make(self):
        return Distance("sample:scene", "ssim")


class TestClipScore(MetricTests):
    option = CONF / "clip_score.yaml"

    @pytest.fixture(autouse=True)
    def _model(self, clip):
        self.model = clip

    def make(self):
        return ClipScore(self.model)


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 20, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image, np.float64) + noise, 0, 255).astype(np.uint8))


def test_distances_are_what_their_formulas_say(tmp_path):
    one = read_image("image", "sample:scene").crop((0, 0, 40, 24))
    one.save(tmp_path / "one.png")
    other = noisy(one)
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    values = {method: Distance(str(tmp_path / "one.png"), method) for method in ("mse", "mae", "ssim")}
    measured = {method: metric.measure(other, "", "cpu") for method, metric in values.items()}
    assert measured["mse"] == pytest.approx((difference**2).mean())
    assert measured["mae"] == pytest.approx(abs(difference).mean())
    assert measured["ssim"] == pytest.approx(1 - windows(one, other)) and 0 < measured["ssim"] < 1
    assert all(metric.measure(one, "", "cpu") == pytest.approx(0, abs=1e-12) for metric in values.values())


def windows(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity by its definition: window by window, channel by channel."""
    at = np.arange(-RADIUS, RADIUS + 1)
    line = np.exp(-(at**2) / (2 * SIGMA**2))
    weights = np.outer(line, line) / line.sum() ** 2
    a, b = (np.asarray(image, np.float64) for image in (one, other))
    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 2 * RADIUS):
        for x in range(a.shape[1] - 2 * RADIUS):
            for channel in range(3):
                p, q = (image[y : y + len(at), x : x + len(at), channel] for image in (a, b))
                mp, mq = (weights * p).sum(), (weights * q).sum()
                vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
                cov = (weights * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_similarity_is_symmetric_and_one_of_an_image_with_itself():
    one = np.asarray(read_image("image", "sample:scene"), np.float64)
    other = np.asarray(noisy(read_image("image", "sample:scene")), np.float64)
    assert ssim(one, one) == pytest.approx(1) and ssim(one, other) == pytest.approx(ssim(other, one))


def test_a_blurred_image_is_less_sharp():
    scene = read_image("image", "sample:scene")
    small = scene.resize((32, 32), Image.Resampling.BICUBIC).resize(scene.size, Image.Resampling.BICUBIC)
    values = [Sharpness().measure(image, "", "cpu") for image in (Image.new("RGB", (8, 8)), small, scene)]
    assert values[0] == 0 and values == sorted(values)


@pytest.mark.parametrize("prompt", ["a red cone", "words " * 40])
def test_clip_score_is_that_of_transformers(clip, prompt):
    import torch
    from transformers import CLIPModel, CLIPProcessor

    image = read_image("image", "sample:scene")
    processor, model = CLIPProcessor.from_pretrained(clip), CLIPModel.from_pretrained(clip).eval()
    inputs = processor(text=[prompt], images=[image], return_tensors="pt", truncation=True, max_length=77)
    with torch.no_grad():
        cosine = float(model(**inputs).logits_per_image / model.logit_scale.exp())
    assert abs(cosine) > 1e-3
    assert ClipScore(clip).measure(image, prompt, "cpu") == pytest.approx(max(100 * cosine, 0), abs=1e-4)


def test_a_model_that_changes_is_loaded_again(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    folder, image = save_clip(tmp_path / "clip"), read_image("image", "sample:scene")
    before, marks = ClipScore(str(folder)).measure(image, "a", "cpu"), ClipScore(str(folder)).fingerprint()
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"] = torch.randn_like(weights["text_projection.weight"])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert ClipScore(str(folder)).fingerprint() != marks
    assert ClipScore(str(folder)).measure(image, "a", "cpu") != before


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda folder: Distance(), "metric.distance.reference"),
        (lambda folder: Distance(str(folder / "no.png")), "metric.distance.reference"),
        (lambda folder: Distance("sample:scene"), "metric.distance.reference"),  # of another size
        (lambda folder: ClipScore(), "metric.clip_score.model"),
        (lambda folder: ClipScore(str(folder / "no")), "metric.clip_score.model"),
        (lambda folder: ClipScore(str(folder)), "metric.clip_score.model"),
        (lambda folder: ClipScore(str(folder / "bert")), "metric.clip_score.model"),
    ],
)
def test_what_cannot_be_measured_is_refused(make, key, tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ComposerError) as error:
        make(tmp_path).check((64, 64), ("a",))
    assert error.value.key == key


def test_an_empty_prompt_has_no_clip_score(clip):
    with pytest.raises(ComposerError, match="compares an image with its prompt"):
        ClipScore(clip).check((64, 64), ("a", ""))
