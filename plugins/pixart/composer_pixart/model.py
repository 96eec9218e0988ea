"""PixArt-α: a diffusion transformer on 4-channel latents that reads its prompt by T5.
https://arxiv.org/abs/2310.00426
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.utils import is_bs4_available, is_ftfy_available
from torch import Tensor

from composer import Conditioning, Decoded, Embedding, LatentFamily, Request, Step

#: Positions of T5 in the embedding.
TOKENS = 120
#: Side in latents of the models that are also conditioned on the size of the image.
SIZED = 128


class PixArt(LatentFamily):
    """Latents `(B, 4, H/8, W/8)`. The text's attention mask and the image's size go to the transformer beside the
    text.
    """

    @property
    def takes_guidance_scale(self) -> bool:
        return False

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        """Encode the texts as diffusers' pipeline does; without a negative prompt, the empty text is one."""
        negatives = [text or "" for text in request.negative_prompts]
        hidden, mask, negative, negative_mask = self.pipe.encode_prompt(
            list(request.prompts), do_classifier_free_guidance, negatives, device=self.device,
            max_sequence_length=TOKENS,
            clean_caption=is_bs4_available() and is_ftfy_available(),
        )  # fmt: skip
        return Conditioning(
            positive=self._embedded(request, hidden, mask),
            negative=self._embedded(request, negative, negative_mask) if do_classifier_free_guidance else None,
        )

    def tokens(self, prompt: str) -> list[str]:
        """Split a prompt into the tokens that T5 reads, padding included."""
        tokenizer = self.pipe.tokenizer
        ids = tokenizer(prompt.lower().strip(), padding="max_length", max_length=TOKENS, truncation=True).input_ids
        return tokenizer.convert_ids_to_tokens(ids)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int]:
        """T5's tokenizer, and how many tokens it reads."""
        return self.pipe.tokenizer, TOKENS

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Encode images by the VAE, in the scale of the transformer."""
        return self.encode_pixels(pixels, generators) * self.pipe.vae.config.scaling_factor

    @classmethod
    def set_timesteps(cls, scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str) -> None:
        """Lay out as many steps as are requested."""
        scheduler.set_timesteps(request.steps, device=device)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        """Predict the noise; models with learned variance return that too, in further channels."""
        prediction = self.pipe.transformer(
            latents,
            encoder_hidden_states=embedding.hidden,
            encoder_attention_mask=embedding.extra["mask"],
            timestep=step.timestep.expand(len(latents)),
            added_cond_kwargs={name: embedding.extra.get(name) for name in ("resolution", "aspect_ratio")},
            return_dict=False,
        )[0]
        return prediction[:, : self.pipe.vae.config.latent_channels]

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        """Decode by the VAE."""
        pixels, notes = self.decode_latents(latents, lambda latents: latents / self.pipe.vae.config.scaling_factor)
        return Decoded(media=self.pipe.image_processor.postprocess(pixels), notes=notes)

    def _embedded(self, request: Request, hidden: Tensor, mask: Tensor) -> Embedding:
        extra = {"mask": mask}
        if self.pipe.transformer.config.sample_size == SIZED:
            size, ratio = (request.height, request.width), request.height / request.width
            extra["resolution"] = torch.tensor([size], device=self.device).repeat(len(hidden), 1)
            extra["aspect_ratio"] = torch.tensor([[ratio]], device=self.device).repeat(len(hidden), 1)
        return self.embedding(hidden, extra=extra)
