"""`tool=depth`: the embedded estimator, and models of transformers that are refused before a run."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import composer
from composer.checkpoints.sources import EMBEDDED
from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.testing.conformance import ToolTests
from composer.tools.depth import Depth

ESTIMATOR = EMBEDDED / "depth" / "depth_estimator"


class TestDepth(ToolTests):
    option = packaged_conf() / "tool" / "depth.yaml"

    def make(self):
        return Depth()


@pytest.fixture
def folder(tmp_path):
    """The embedded estimator as a directory of its own."""
    shutil.copytree(ESTIMATOR, tmp_path / "depth")
    shutil.copytree(EMBEDDED / "depth" / "feature_extractor", tmp_path / "depth", dirs_exist_ok=True)
    return tmp_path / "depth"


def test_it_is_what_transformers_estimates(folder):
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    image = read_image("image", "sample:scene")
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        predicted = model(**processor(images=image, return_tensors="pt")).predicted_depth
    large = torch.nn.functional.interpolate(predicted[:, None], image.size[::-1], mode="bicubic")[0, 0]
    expected = ((large - large.min()) / (large.max() - large.min()) * 255).round().numpy()
    for tool in Depth(), Depth(source=str(folder)), Depth(source=str(EMBEDDED / "depth")):
        result = np.asarray(tool.run({"image": image}, "cpu"))
        assert np.array_equal(result[..., 0], expected) and np.ptp(expected) == 255
    inverted = Depth(invert=True).run({"image": image}, "cpu")
    assert np.array_equal(np.asarray(inverted)[..., 0], 255 - expected)


def test_the_same_files_have_the_same_fingerprint(folder):
    assert Depth(source=str(folder)).fingerprint() == Depth(source=str(folder)).fingerprint()
    before = Depth(source=str(folder)).fingerprint()
    change(folder, "head.head.0.bias", lambda weight: weight + 1)
    assert Depth(source=str(folder)).fingerprint() != before


def change(folder, name, changed):
    weights = load_file(folder / "model.safetensors")
    weights[name] = changed(weights[name])
    save_file({key: value for key, value in weights.items() if value is not None}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip


def configure(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


BREAK = {
    "no model": (lambda folder: shutil.rmtree(folder), "no hub id|no such folder"),
    "no settings": (lambda folder: (folder / "config.json").unlink(), "is a DPTImageProcessor, which it"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"no \.safetensors file"),
    "no processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "can't be loaded"),
    "a missing weight": (lambda folder: change(folder, "head.head.0.bias", lambda _: None), "loaded: .*missing"),
    "other shapes": (lambda folder: configure(folder, intermediate_size=100), "can't be loaded: .*shapes"),
    "another kind": (lambda folder: configure(folder, architectures=["CLIPModel"]), "is a CLIPModel, which it"),
    "code": (
        lambda folder: configure(folder, architectures=["Own"], auto_map={"AutoModel": "own.Own"}),
        "is a Own, which is code of its repository",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAK)
def test_a_model_that_cannot_run_is_refused_before_a_run(folder, name):
    damage, message = BREAK[name]
    Depth(source=str(folder)).check()
    damage(folder)
    with pytest.raises(ComposerError, match=rf"^tool\.source=.*({message})") as error:
        Depth(source=str(folder)).check()
    assert "\n" not in str(error.value)


def test_a_model_that_is_not_here_is_refused_offline():
    with pytest.raises(ComposerError, match=r"^tool\.source=owner/name: .*hub"):
        Depth(source="owner/name").check()
    with pytest.raises(ComposerError, match=r"tool\.source: a model is needed.*depth-anything"):
        Depth(source=None).check()


def test_depth_is_a_control_image_and_a_mask(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "near.yaml").write_text(
        "# What is near.\nsteps:\n  base: {task: text2img, height: 64, width: 64, steps: 2}\n"
        "  depth: {tool: depth, image: 'step:base'}\n  near: {tool: threshold, image: 'step:depth'}\n"
        "  again: {task: inpaint, image: 'step:base', mask: 'step:near', steps: 2}\n"
    )
    result = composer.compose("recipe=near", "recipe.reuse=false", config_dir=str(tmp_path))
    assert result.record["recipe"]["steps"]["depth"]["record"]["fingerprint"] == Depth().fingerprint()
    assert 0 < np.asarray(result.steps["near"].image).mean() < 255
