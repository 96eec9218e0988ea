"""Extra inputs of an embedding reach the denoiser of every family, with and without pooled embeddings."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.families.sd.model import StableDiffusion
from composer.families.sd3.model import StableDiffusion3
from composer.testing import pipelines
from composer.testing.parts import WIDTH

pytestmark = pytest.mark.usefixtures("one_thread")


def step(latents: torch.Tensor, embedding: Embedding) -> Step:
    return Step(
        index=0, total=1, timestep=torch.tensor(500), sigma=1.0, latents=latents, model_input=latents,
        conditioning=Conditioning(positive=embedding), guidance_scale=1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def image_conditioned():
    """Stable Diffusion with a UNet that is given an image's embedding beside the timestep."""
    pipe = pipelines.sd()
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config(pipe.unet.config, addition_embed_type="image", encoder_hid_dim=WIDTH)
    pipe.unet = unet.eval()
    return pipe


@torch.no_grad()
def test_an_image_embedding_reaches_a_unet_without_pooled(image_conditioned):
    latents, hidden = torch.randn(1, 4, 8, 8), torch.randn(1, 77, WIDTH)
    added = {"image_embeds": torch.randn(1, WIDTH)}
    prediction = (
        StableDiffusion(image_conditioned).predict(step(latents, Embedding(hidden=hidden, extra=added))).positive
    )
    theirs = image_conditioned.unet(
        latents, torch.tensor(500), encoder_hidden_states=hidden, added_cond_kwargs=added
    ).sample
    assert torch.equal(prediction, theirs)


@torch.no_grad()
def test_extra_inputs_reach_the_transformer_of_sd3():
    pipe = pipelines.sd3()
    latents, hidden = torch.randn(1, 16, 8, 8), torch.randn(1, 20, 2 * WIDTH)
    more = {"block_controlnet_hidden_states": torch.randn(1, 1, 16, WIDTH)}
    pooled = torch.randn(1, 2 * WIDTH)
    prediction = (
        StableDiffusion3(pipe).predict(step(latents, Embedding(hidden=hidden, pooled=pooled, extra=more))).positive
    )
    given = {
        "hidden_states": latents,
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": hidden,
        "pooled_projections": pooled,
    }
    assert torch.equal(prediction, pipe.transformer(**given, **more).sample)
    assert not torch.equal(prediction, pipe.transformer(**given).sample)
