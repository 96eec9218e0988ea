"""`tool=upscale_model`: random models in the layouts of their authors, compared with spandrel called by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import composer
from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.testing.conformance import ToolTests
from composer.tools.upscale_model import UpscaleModel


@pytest.fixture(scope="session")
def spandrel():
    return pytest.importorskip("spandrel", exc_type=ImportError)


def real_esrgan(channels: int = 8, growth: int = 32, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of a model that enlarges 4 times, under the names of Real-ESRGAN's `RRDBNet`."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv_first": (channels, 3), "conv_body": (channels, channels), "conv_last": (3, channels)}
    shapes |= {name: (channels, channels) for name in ("conv_up1", "conv_up2", "conv_hr")}
    for dense in (1, 2, 3):
        for conv in range(1, 6):
            width = channels if conv == 5 else growth
            shapes[f"body.0.rdb{dense}.conv{conv}"] = (width, channels + growth * (conv - 1))
    weights = {
        f"{name}.weight": torch.randn(*shape, 3, 3, generator=generator) / (3 * shape[1] ** 0.5)
        for name, shape in shapes.items()
    }
    return weights | {f"{name}.bias": torch.rand(shape[0], generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def weights(spandrel, tmp_path_factory):
    file = tmp_path_factory.mktemp("upscale") / "model.safetensors"
    save_file(real_esrgan(), file)
    return file


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path_factory.mktemp("cache")))


def by_hand(spandrel, file, image, dtype=torch.float32):
    model = spandrel.ModelLoader().load_from_file(file).eval().to(dtype)
    given = torch.from_numpy(np.array(image).transpose(2, 0, 1).copy())[None].float() / 255
    with torch.inference_mode():
        output = model(given.to(dtype)).float()
    return (output[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


class TestUpscaleModel(ToolTests):
    option = packaged_conf() / "tool" / "upscale_model.yaml"

    @pytest.fixture(autouse=True)
    def _weights(self, weights):
        self.weights = weights

    def make(self):
        return UpscaleModel(weights=str(self.weights), tile=32, overlap=8)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_it_is_what_spandrel_makes(spandrel, tmp_path, suffix, dtype):
    file, image = tmp_path / f"x4{suffix}", read_image("image", "sample:scene").resize((40, 24))
    save_file(real_esrgan(), file) if suffix == ".safetensors" else torch.save({"params_ema": real_esrgan()}, file)
    result = UpscaleModel(weights=str(file), dtype=dtype).run({"image": image}, "cpu")
    expected = by_hand(spandrel, file, image, {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype])
    assert result.size == (160, 96) and np.ptp(expected) > 20 and np.array_equal(np.asarray(result), expected)


def test_tiles_are_what_all_at_once_makes(spandrel, weights):
    image = read_image("image", "sample:scene").resize((75, 50))
    expected = np.asarray(UpscaleModel(weights=str(weights), tile=None).run({"image": image}, "cpu"), np.int16)
    tiled = np.asarray(UpscaleModel(weights=str(weights), tile=16, overlap=32).run({"image": image}, "cpu"), np.int16)
    assert np.abs(tiled - expected).max() <= 1  # of 255: convolutions of other sizes round differently
    bare = np.asarray(UpscaleModel(weights=str(weights), tile=16, overlap=0).run({"image": image}, "cpu"), np.int16)
    assert np.abs(bare - expected).max() > 1


def test_the_factor_is_that_of_the_result(spandrel, weights):
    image = read_image("image", "sample:scene").resize((40, 24))
    half, plain = (UpscaleModel(weights=str(weights), factor=factor) for factor in (2.0, None))
    expected = plain.run({"image": image}, "cpu").resize((80, 48), Image.Resampling.LANCZOS)
    assert half.size(40, 24) == (80, 48) and half.run({"image": image}, "cpu").tobytes() == expected.tobytes()


def test_other_weights_have_another_fingerprint(spandrel, weights, tmp_path):
    save_file(real_esrgan(seed=1), tmp_path / "other.safetensors")
    (tmp_path / "same.safetensors").write_bytes(weights.read_bytes())
    first, other, same = (UpscaleModel(weights=str(file)).fingerprint() for file in
                          (weights, tmp_path / "other.safetensors", tmp_path / "same.safetensors"))  # fmt: skip
    assert first == same != other


def test_a_recipe_takes_the_enlarged_image(spandrel, weights, tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "larger.yaml").write_text(
        "# Larger.\nsteps:\n  base: {task: text2img, height: 64, width: 64, steps: 2}\n"
        f"  larger: {{tool: upscale_model, image: 'step:base', weights: '{weights}', factor: 2}}\n"
        "  again: {task: img2img, image: 'step:larger', steps: 2, strength: 0.5}\n"
    )
    result = composer.compose("recipe=larger", config_dir=str(tmp_path))
    assert result.image.size == (128, 128)
    with pytest.raises(ComposerError, match=r"larger\.factor.*16384"):
        composer.check("recipe=larger", "larger.factor=1000", config_dir=str(tmp_path))


def unknown(folder):
    save_file({"conv.weight": torch.zeros(3, 3, 1, 1)}, folder / "unknown.safetensors")
    return folder / "unknown.safetensors"


def code(folder):
    torch.save({"conv": torch.nn.Conv2d(3, 3, 1)}, folder / "code.pth")
    return folder / "code.pth"


def incomplete(folder):
    weights = {name: weight for name, weight in real_esrgan().items() if name != "conv_hr.weight"}
    save_file(weights, folder / "incomplete.safetensors")
    return folder / "incomplete.safetensors"


def cut(folder):
    save_file(real_esrgan(), folder / "cut.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "cut.safetensors").read_bytes()[:-10])
    return folder / "cut.safetensors"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (unknown, "is of no architecture that spandrel knows"),
        (code, "can't be loaded: .*forbidden"),
        (incomplete, "can't be loaded|no architecture"),
        (cut, "is damaged"),
        (lambda folder: folder / "missing.pth", "there is no such file"),
        (lambda folder: folder / "x.onnx", "there is no such file"),
    ],
)
def test_what_it_cannot_load_is_refused_before_a_run(spandrel, tmp_path, make, message):
    with pytest.raises(ComposerError, match=rf"tool\.weights=.*{message}"):
        UpscaleModel(weights=str(make(tmp_path))).check()


def test_without_a_file_or_spandrel_it_is_refused_by_name():
    with pytest.raises(ComposerError, match=r"tool\.weights: a file is needed: tool\.weights=FILE"):
        UpscaleModel().check()
    try:
        import spandrel  # noqa: F401
    except ImportError:
        with pytest.raises(ComposerError, match=r"pip install 'diffusion-composer\[upscale\]'"):
            UpscaleModel(weights="owner/name").check()
