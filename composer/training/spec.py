"""The settings of a training as frozen dataclasses, of the standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from composer.system.constraints import Fraction, Ge, Gt, Interval


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """Settings that all methods of training have.

    Attributes:
        data: Directory of images with their captions.
        steps: Updates of the weights.
        batch: Images in a batch; those of a batch have one size.
        accumulate: Batches in an update.
        lr: Learning rate of AdamW.
        lr_schedule: ``constant``, or ``cosine`` down to 0 at the last step.
        warmup: Steps in which the learning rate rises from 0.
        seed: Seed of the first weights, the order of the data and the noise, in ``[0, 2⁶³ − 1]``.
        resolution: Side in pixels of the square whose area no image exceeds; ``None`` for the model's own.
        buckets: Whether images keep about their shape, in sizes of equal area; else all are cut to squares.
        caption: Caption of images that have none.
        caption_dropout: Fraction of captions that are left empty.
        word: Word that the images teach; it is recorded in the result, and captions must hold it.
        min_snr: Largest signal-to-noise ratio that a step counts for, https://arxiv.org/abs/2303.09556; ``None``
            weighs all timesteps alike.
        gradient_checkpointing: Whether activations are computed twice instead of kept, which saves memory.
        save_every: Steps between two checkpoints.
        sample_every: Steps between two sheets of sample images; 0 for none.
        sample_steps: Denoising steps of sample images; ``None`` for the model's recommended number.
        fresh: Whether to start over in a directory that holds a training.
    """

    data: str
    steps: Annotated[int, Ge(1)] = 500
    batch: Annotated[int, Ge(1)] = 1
    accumulate: Annotated[int, Ge(1)] = 1
    lr: Annotated[float, Gt(0)] = 1e-4
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup: Annotated[int, Ge(0)] = 0
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    resolution: Annotated[int, Ge(1)] | None = None
    buckets: bool = True
    caption: str | None = None
    caption_dropout: Fraction = 0.0
    word: str | None = None
    min_snr: Annotated[float, Gt(0)] | None = None
    gradient_checkpointing: bool = False
    save_every: Annotated[int, Ge(1)] = 100
    sample_every: Annotated[int, Ge(0)] = 100
    sample_steps: Annotated[int, Ge(1)] | None = None
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class LoraTraining(TrainSpec):
    """Settings of a LoRA: factors of small changes to the denoiser's attention blocks.

    Attributes:
        rank: Rank of the changes.
        alpha: The changes are multiplied by ``alpha / rank``; ``None`` for the rank, so by 1.
    """

    rank: Annotated[int, Ge(1)] = 8
    alpha: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class InversionTraining(TrainSpec):
    """Settings of a textual inversion: vectors of the text encoders for a new word.

    Attributes:
        vectors: Number of vectors for the word.
        init: Word that the tokenizer knows, whose vector the new ones begin as; ``None`` for the mean of all vectors.
    """

    lr: Annotated[float, Gt(0)] = 5e-3
    vectors: Annotated[int, Ge(1)] = 1
    init: str | None = None


#: Method of `compose train` → class of its settings.
METHODS: dict[str, type[TrainSpec]] = {"lora": LoraTraining, "textual_inversion": InversionTraining}
#: Settings that change neither the weights nor their order in time, so that a training can go on with others.
FREE = ("save_every", "sample_every", "sample_steps", "fresh", "data")
