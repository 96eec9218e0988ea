"""Mutations of the families' code, each of which the comparison with diffusers' pipelines must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import test_flow_families
import test_videos
import torch

from composer.compat.pipeline_functions import flux_shift
from composer.families.chroma.model import Chroma
from composer.families.flux.fill import Fill
from composer.families.flux2.model import Flux2
from composer.families.given_frames import GivenFrames
from composer.families.ltx.decoding import DenoisingVAE
from composer.families.ltx.model import LTXVideo
from composer.families.lumina2.model import Lumina2
from composer.families.qwen_image.model import QwenImage
from composer.families.sana.model import Sana
from composer.families.wan import model as wan_model
from composer.families.wan.given_frames import timesteps_of_tokens
from composer.families.wan.model import Wan
from composer.families.z_image.model import ZImage
from composer.sampling.guidance import classifier_free

pytestmark = pytest.mark.slow
SCALE = 4.0
_read = Wan._read


def multiplied_by_the_deviation(self: Any, latents: torch.Tensor) -> torch.Tensor:
    mean, reciprocal = self._statistics(latents)
    return latents * (1 / reciprocal) + mean


def without_mask(embed: Callable[..., Any], self: Any, texts: list[str]) -> Any:
    return replace(embed(self, texts), mask=None)


def other_branches_first(predict: Callable[..., Any], self: Any, step: Any) -> Any:
    branches = predict(self, step)
    return replace(branches, positive=branches.negative, negative=branches.positive)


def mask_first(self: Any, step: Any) -> torch.Tensor:
    inputs = step.inputs
    return torch.cat([step.model_input, inputs["mask_channels"], inputs["masked_latents"]], dim=2)


def image(case: str, task: str = "text2img", batch: int = 2) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: test_flow_families.compare(case, task, SCALE, batch)


def video(case: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: test_videos.compare(case, SCALE, 1, monkeypatch)


def method(function: Callable[..., Any], of: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a method, with the original as its first argument."""
    return lambda self, *args: partial(function, of)(self, *args)


#: What is wrong → class or module, name, value, and the comparison that must fail.
MUTANTS: dict[str, tuple[Any, str, Any, Callable[[pytest.MonkeyPatch], None]]] = {
    "z_image: sigmas of numpy": (
        ZImage, "sigmas", classmethod(lambda cls, steps: np.linspace(1.0, 1 / steps, steps)), image("z_image"),
    ),
    "z_image: the plain scale": (ZImage, "combine", staticmethod(classifier_free), image("z_image")),
    "z_image: latents of the image are not normalized": (
        ZImage, "normalize", lambda self, encoded: encoded, image("z_image", "img2img"),
    ),
    "qwen_image: decoded by the deviation": (QwenImage, "denormalize", multiplied_by_the_deviation,
        image("qwen_image")),
    "qwen_image: no norm after guidance": (QwenImage, "combine", staticmethod(classifier_free), image("qwen_image")),
    "flux2: another shift": (
        Flux2, "shift", classmethod(lambda cls, tokens, steps, config: flux_shift(tokens, config)), image("flux2"),
    ),
    "flux2: a sign": (Flux2, "combine", staticmethod(lambda p, n, scale: n - scale * (p - n)), image("flux2")),
    "chroma: one pass": (Chroma, "one_pass", True, image("chroma")),
    "chroma: no mask": (Chroma, "embed", method(without_mask, Chroma.embed), image("chroma")),
    "sana: two passes": (Sana, "one_pass", False, image("sana")),
    "sana: the instruction in negative prompts": (Sana, "embed_negative", Sana.embed, image("sana")),
    "lumina2: shift by the tokens": (
        Lumina2, "shift", classmethod(lambda cls, tokens, steps, config: flux_shift(tokens, config)), image("lumina2"),
    ),
    "lumina2: the branches are swapped": (
        Lumina2, "predict", method(other_branches_first, Lumina2.predict), image("lumina2"),
    ),
    "wan: one pass": (Wan, "one_pass", True, video("wan")),
    "wan: shorter prompts": (wan_model, "MAX_TOKENS", 16, video("wan")),
    "wan: the first transformer alone": (Wan, "boundary", None, video("wan22")),
    "wan: the last frame marks a latent of its own": (
        Wan, "_marks", lambda self, clean, request, last: Wan.first_frame(self, request).repeat(len(clean), 4, 1, 1, 1),
        video("wan first and last"),
    ),
    "wan: the first frame is no clean token": (
        wan_model, "timesteps_of_tokens",
        lambda timestep, latents, given: timesteps_of_tokens(timestep, latents, GivenFrames()), video("wan22_5b first"),
    ),
    "wan: CLIP reads the frames in the other order": (
        Wan, "_read", lambda self, first, last: _read(self, last, first), video("wan first and last"),
    ),
    "ltx: two passes": (LTXVideo, "one_pass", False, video("ltx")),
    "ltx: the plain shift of an image": (
        LTXVideo, "shift", classmethod(lambda cls, tokens, steps, config: flux_shift(tokens // 3, config)),
        video("ltx"),
    ),
    "ltx: decoded without noise": (
        DenoisingVAE, "with_noise", lambda self, clean, *_: clean, video("ltx_denoising_vae"),
    ),
    "ltx: the first frame is not held": (GivenFrames, "hold", lambda self, latents: latents, video("ltx first")),
    "flux_fill: the mask before the image": (Fill, "model_input", mask_first, image("flux_fill", "inpaint")),
    "flux_fill: nothing is sampled before the noise": (
        Fill, "samples_image_first", False,
        lambda monkeypatch: test_flow_families.compare("flux_fill", "inpaint", SCALE, 1, strength=1.0),
    ),
    "wan: a timestep off by one": (
        Wan, "forward",
        lambda self, step, latents, embedding: self.pipe.transformer(
            latents, step.timestep.expand(len(latents)) + 1, embedding.hidden, return_dict=False
        )[0],
        video("wan22_5b"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_the_comparison_notices(name, monkeypatch):
    owner, attribute, value, compare = MUTANTS[name]
    with monkeypatch.context() as patched:
        compare(patched)  # equal without the mutation
    monkeypatch.setattr(owner, attribute, value)
    with pytest.raises((AssertionError, RuntimeError)):
        compare(monkeypatch)
