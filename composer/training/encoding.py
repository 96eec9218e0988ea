"""Images and captions as the family encodes them for a run: latents and embeddings, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.families.base import Family
from composer.images.pixels import to_pixels
from composer.images.reading import read_image
from composer.pipelines.long_prompts import check_prompt_length
from composer.pipelines.pipeline import Pipeline
from composer.training.buckets import cover
from composer.training.data import Dataset, Example
from composer.training.order import derive_seed


@dataclass(frozen=True)
class EncodedImage:
    """An image as its model sees it.

    Attributes:
        latents: Clean latents `(1, …)` in the family's layout, on the CPU.
        caption: Its caption.
        canvas: Height and width in pixels.
    """

    latents: Tensor
    caption: str
    canvas: tuple[int, int]


@torch.no_grad()
def encode_images(
    family: Family, examples: Sequence[Example], sizes: Sequence[tuple[int, int]], seed: int
) -> list[EncodedImage]:
    """Encode all images. Each samples the VAE's distribution once.

    Args:
        family: The models.
        examples: The images.
        sizes: Height and width that each is trained in.
        seed: Seed of the training.

    Returns:
        The encoded images, in their order.
    """
    encoded = []
    for index, (example, canvas) in enumerate(zip(examples, sizes, strict=True)):
        image = read_image("data", str(example.path))
        size, box = cover(image.size, *canvas)
        pixels = to_pixels([image.resize(size, Image.Resampling.LANCZOS).crop(box)])
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, "vae", index))
        latents = family.encode_image(pixels, (generator,)).cpu()
        encoded.append(EncodedImage(latents, example.caption, canvas))
    return encoded


def check_caption_length(pipeline: Pipeline, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Note captions that the text encoders read only the beginning of.

    Args:
        pipeline: The pipeline.
        dataset: The images.
        say: Receives a note.
    """
    captions = list(dict.fromkeys(example.caption for example in dataset.examples))
    check_prompt_length(pipeline.family.prompt_tokenizer, request_for(captions, (0, 0)), pipeline.overflow, say)


class Captions:
    """Embeddings of captions.

    Args:
        family: The models.
        learned: Whether the text encoders learn: embeddings are then computed anew for each batch.
    """

    def __init__(self, family: Family, learned: bool) -> None:
        self.family, self.learned = family, learned
        self._kept: dict[Hashable, Embedding] = {}

    def encode(self, captions: Sequence[str], canvas: tuple[int, int]) -> Embedding:
        """Encode the captions of a batch.

        Args:
            captions: One text an image.
            canvas: Height and width in pixels, which some models are conditioned on.

        Returns:
            Embeddings with one row for each image.
        """
        if self.learned:
            return self._encode(captions, canvas)
        with torch.no_grad():
            rows = [self._once(caption, canvas) for caption in captions]
        return join_rows(rows, getattr(self.family, "shared_inputs", frozenset()))

    def _once(self, caption: str, canvas: tuple[int, int]) -> Embedding:
        key = caption, canvas
        if key not in self._kept:
            self._kept[key] = self._encode([caption], canvas)
        return self._kept[key]

    def _encode(self, captions: Sequence[str], canvas: tuple[int, int]) -> Embedding:
        return self.family.encode(request_for(captions, canvas), False).require_positive()


def request_for(captions: Sequence[str], canvas: tuple[int, int]) -> Request:
    """Make the request whose texts are captions.

    Args:
        captions: One text an image.
        canvas: Height and width in pixels.

    Returns:
        The request.
    """
    count = len(captions)
    return Request(
        prompts=tuple(captions), negative_prompts=(None,) * count, seeds=(0,) * count, steps=1, height=canvas[0],
        width=canvas[1],
    )  # fmt: skip


def join_rows(rows: Sequence[Embedding], shared: frozenset[str]) -> Embedding:
    """Join the embeddings of several texts.

    Args:
        rows: Embeddings of one text each.
        shared: Names in `Embedding.extra` of inputs that have no row for each image.

    Returns:
        Embeddings with one row for each text.
    """
    first = rows[0]

    def joined(values: Sequence[Any]) -> Any:
        return None if values[0] is None else torch.cat(list(values))

    extra = {
        name: value if name in shared else joined([row.extra[name] for row in rows])
        for name, value in first.extra.items()
    }
    return replace(
        first, hidden=joined([row.hidden for row in rows]), pooled=joined([row.pooled for row in rows]),
        mask=joined([row.mask for row in rows]), extra=extra,
    )  # fmt: skip


def predict(
    family: Family, latents: Tensor, timesteps: Tensor, embedding: Embedding, canvas: tuple[int, int]
) -> Tensor:
    """Evaluate the denoiser as a step of a run does, with a timestep for each image.

    Args:
        family: The models.
        latents: Noisy latents `(B, …)` in the family's layout and dtype.
        timesteps: `(B,)`.
        embedding: Embeddings of the captions.
        canvas: Height and width in pixels.

    Returns:
        The prediction, in the shape of the latents.
    """
    step = Step(
        index=0, total=1, timestep=timesteps, sigma=float("nan"), latents=latents, model_input=latents,
        conditioning=Conditioning(positive=embedding), guidance_scale=1.0, canvas=canvas,
    )  # fmt: skip
    return family.predict(step).positive
