"""composer's own options pass the kit, and each of its tests fails an option that it is there for."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from composer.options.accel.fused import FusedQKV
from composer.options.base import ModelOption
from composer.options.memory.slicing import VaeSlicing
from composer.testing.conformance import OptionTests

pytestmark = pytest.mark.usefixtures("one_thread")
CONF = Path(__file__).resolve().parents[2] / "conf"


class TestVaeSlicing(OptionTests):
    families = ("sd", "sd3")
    option = CONF / "memory" / "vae_slicing.yaml"

    def make(self):
        return VaeSlicing()


class Shallow(ModelOption):
    """Skips the middle block of a UNet."""

    group, name, component = "accel", "shallow", "unet"

    @contextmanager
    def attach(self, pipe, device):
        block = pipe.unet.mid_block
        pipe.unet.mid_block = None
        try:
            yield
        finally:
            pipe.unet.mid_block = block


class TestShallow(OptionTests):
    families = ("sd",)
    changes_images = True

    def make(self):
        return Shallow()


class Stays(Shallow):
    @contextmanager
    def attach(self, pipe, device):
        pipe.unet.kept = True
        with super().attach(pipe, device):
            yield


class StaysAfterErrors(Shallow):
    @contextmanager
    def attach(self, pipe, device):
        handle = pipe.unet.register_forward_hook(lambda module, args, output: output)
        yield
        handle.remove()


class Unkeyed(Shallow):
    def attach_key(self):
        return object()


class NoGroup(Shallow):
    group = "speed"


class OfTransformers(Shallow):
    component = "transformer"


@pytest.mark.parametrize(
    ("cls", "test"),
    [
        (Stays, "test_it_has_its_effect_and_is_undone"),
        (StaysAfterErrors, "test_it_is_undone_after_an_error"),
        (Unkeyed, "test_equal_settings_have_equal_keys"),
        (NoGroup, "test_it_has_a_group_and_a_name"),
        (OfTransformers, "test_its_families_have_what_it_changes"),
    ],
)
def test_a_faulty_option_is_found(cls, test, monkeypatch):
    from composer.testing.pipelines import MAKERS
    from composer.testing.runs import TinyModel, tiny_model

    known = tiny_model("sd")
    model = TinyModel(info=known.info, pipe=MAKERS["sd"](), side=known.side)  # it is left broken
    monkeypatch.setattr("composer.testing.options.tiny_model", lambda family: model)
    kit = type("Kit", (TestShallow,), {"make": lambda self: cls()})()
    with pytest.raises(AssertionError):
        getattr(kit, test)()


@pytest.mark.parametrize(("cls", "changes"), [(Shallow, False), (FusedQKV, True)])
def test_a_wrong_claim_on_images_is_found(cls, changes):
    kit = type("Kit", (TestShallow,), {"changes_images": changes, "make": lambda self: cls()})()
    with pytest.raises(AssertionError, match="changes_images is"):
        kit.test_it_has_its_effect_and_is_undone()
