"""composer's own families pass the kit, and each of its tests fails a family that it is there for."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from composer.families.ddpm.model import Unconditional
from composer.testing import pipelines
from composer.testing.conformance import FamilyTests
from composer.testing.runs import SIZES, TinyModel, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class Own(FamilyTests):
    """composer's families, by name."""

    name: str

    @property
    def info(self) -> str:
        return f"composer.families.{self.name}.info:INFO"

    @property
    def side(self) -> int:
        return SIZES[self.name]

    def make(self):
        return pipelines.MAKERS[self.name]()


class TestSD(Own):
    name = "sd"

    def expected(self, pipe, prompts, steps, scale):
        pipe.set_progress_bar_config(disable=True)
        seeds = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
        return pipe(
            list(prompts), height=64, width=64, num_inference_steps=steps, guidance_scale=scale, generator=seeds
        ).images


class TestDDPM(Own):
    name = "ddpm"


@pytest.mark.slow
class TestSDXL(Own):
    name = "sdxl"


@pytest.mark.slow
class TestSD3(Own):
    name = "sd3"


@pytest.mark.slow
class TestFlux(Own):
    name = "flux"


class OneGenerator(Unconditional):
    def start_noise(self, request, generators):
        return torch.randn((request.batch, 3, request.height, request.width), generator=generators[0])


class Smaller(Unconditional):
    def decode(self, latents, request):
        decoded = super().decode(latents, request)
        return type(decoded)(media=[image.resize((8, 8)) for image in decoded.images])


class Louder(Unconditional):
    calls = 0

    def decode(self, latents, request):
        type(self).calls += 1
        return super().decode(latents + 0.1 * self.calls, request)


class Bare:
    def __init__(self, pipe, settings=None):
        self.pipe = pipe


def model(cls) -> TinyModel:
    """DDPM's tiny pipeline around another class."""
    tiny = tiny_model("ddpm")
    return type("Model", (TinyModel,), {"family": lambda self: cls(self.pipe)})(
        info=tiny.info, pipe=tiny.pipe, side=tiny.side
    )


@pytest.mark.parametrize(
    ("cls", "test"),
    [
        (OneGenerator, "test_noise_comes_from_each_images_generator"),
        (Smaller, "test_images_become_latents_and_images_again"),
        (Louder, "test_nothing_leaks_from_run_to_run"),
        (Bare, "test_it_is_a_complete_family"),
    ],
)
def test_a_faulty_family_is_found(cls, test):
    kit = TestDDPM()
    getattr(kit, test)(model(Unconditional))
    with pytest.raises(AssertionError):
        getattr(kit, test)(model(cls))


def test_another_image_than_diffusers_is_found():
    kit = TestDDPM()
    kit.expected = lambda pipe, prompts, steps, scale: [Image.new("RGB", (16, 16))] * 2
    with pytest.raises(AssertionError):
        kit.test_it_equals_diffusers(tiny_model("ddpm"))
