"""`tool=remove_background`: a small model in an ONNX file, compared with onnxruntime called by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.images.reading import read_image, read_mask
from composer.testing.conformance import ToolTests
from composer.tools.remove_background import RemoveBackground

IMAGE = read_image("image", "sample:scene").resize((60, 44))


@pytest.fixture(scope="session")
def onnx():
    pytest.importorskip("onnxruntime")
    return pytest.importorskip("onnx")


def save(onnx, file, side=32, channels=3, seed=0):
    """A convolution to one channel, under names and shapes as those of U²-Net."""
    weights = np.random.default_rng(seed).normal(0, 1, (1, channels, 3, 3)).astype(np.float32)
    node = onnx.helper.make_node("Conv", ["input.1", "w"], ["d0"], pads=[1, 1, 1, 1])
    given = onnx.helper.make_tensor_value_info("input.1", onnx.TensorProto.FLOAT, [1, channels, side, side])
    mask = onnx.helper.make_tensor_value_info("d0", onnx.TensorProto.FLOAT, [1, 1, side, side])
    graph = onnx.helper.make_graph([node], "net", [given], [mask], [onnx.numpy_helper.from_array(weights, "w")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(file))
    return file


@pytest.fixture(scope="session")
def weights(onnx, tmp_path_factory):
    return save(onnx, tmp_path_factory.mktemp("background") / "net.onnx")


class TestRemoveBackground(ToolTests):
    option = packaged_conf() / "tool" / "remove_background.yaml"

    @pytest.fixture(autouse=True)
    def _weights(self, weights):
        self.weights = weights

    def make(self):
        return RemoveBackground(weights=str(self.weights), kind="u2net")


@pytest.mark.parametrize("kind", ["u2net", "isnet", "rmbg2", "birefnet"])
def test_it_is_what_onnxruntime_makes(weights, kind):
    import onnxruntime

    pixels = (
        np.asarray(IMAGE.resize((32, 32), Image.Resampling.LANCZOS))
        / np.asarray(IMAGE.resize((32, 32), Image.Resampling.LANCZOS)).max()
    )
    mean, deviation = (0.5, 1.0) if kind == "isnet" else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    given = ((pixels - mean) / deviation).transpose(2, 0, 1)[None].astype(np.float32)
    values = onnxruntime.InferenceSession(str(weights)).run(None, {"input.1": given})[0][0, 0].astype(np.float64)
    values = 1 / (1 + np.exp(-values)) if kind == "birefnet" else values
    unit = (values - values.min()) / (values.max() - values.min())
    expected = Image.fromarray((unit * 255).astype(np.uint8)).resize(IMAGE.size, Image.Resampling.LANCZOS)
    result = RemoveBackground(weights=str(weights), kind=kind).run({"image": IMAGE}, "cpu")
    assert result.mode == "RGBA" and result.convert("RGB").tobytes() == IMAGE.tobytes()
    assert result.getchannel("A").tobytes() == expected.tobytes() and np.ptp(np.asarray(expected)) > 200
    assert read_mask("mask", result).tobytes() == expected.tobytes()  # what is in front, for task=inpaint


def test_it_is_what_rembg_makes(onnx, weights, monkeypatch):
    rembg = pytest.importorskip("rembg")
    monkeypatch.setenv("U2NET_HOME", str(weights.parent))
    file = save(onnx, weights.parent / "large.onnx", side=320)
    session = rembg.new_session("u2net_custom", model_path=str(file), providers=["CPUExecutionProvider"])
    result = RemoveBackground(weights=str(file), kind="u2net").run({"image": IMAGE}, "cpu")
    assert result.getchannel("A").tobytes() == session.predict(IMAGE)[0].tobytes()


def test_other_weights_have_another_fingerprint(onnx, weights, tmp_path):
    other = save(onnx, tmp_path / "other.onnx", seed=1)
    before = RemoveBackground(weights=str(other)).fingerprint()
    assert before != RemoveBackground(weights=str(weights)).fingerprint()
    (tmp_path / "other.onnx_data").write_bytes(b"tensors")
    assert RemoveBackground(weights=str(other)).fingerprint() != before


def damaged(onnx, folder):
    (folder / "damaged.onnx").write_bytes(b"no model")
    return folder / "damaged.onnx"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged, "can't be loaded"),
        (lambda onnx, folder: save(onnx, folder / "four.onnx", channels=4), "and not one RGB image"),
        (lambda onnx, folder: folder / "missing.onnx", "there is no such file"),
    ],
)
def test_what_it_cannot_use_is_refused_before_a_run(onnx, tmp_path, make, message):
    with pytest.raises(ComposerError, match=rf"^tool\.weights=.*{message}") as error:
        RemoveBackground(weights=str(make(onnx, tmp_path))).check()
    assert "\n" not in str(error.value)
    with pytest.raises(ComposerError, match=r"tool\.weights: a file is needed"):
        RemoveBackground().check()
