"""Where each word of the prompt looks: cross-attention, averaged over heads, layers and steps.
https://arxiv.org/abs/2210.04885
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F

from composer import ComposerError, Run, StepCallback
from composer_attention_maps.sheet import sheet

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class AttentionMaps(StepCallback):
    """Write attention-000.png, …: the image under a heat map for each word; the run itself is unchanged.

    Args:
        words: Words to show; `None` for all of the prompt.

    Attributes:
        maps: For each image of the last run: word → attention of each pixel to it, `(h, w)` in `[0, 1]`, at the finest
            resolution that the model attends in.
    """

    needs = frozenset({"tokens", "folder"})
    families = frozenset({"sd", "sdxl"})

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.words = None if words is None else [word.lower() for word in words]
        self.maps: list[dict[str, Tensor]] = []

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        unet = run.modules["unet"]
        self.spans = [self._selected(words_of(run.tokens(prompt))) for prompt in run.request.prompts]
        self.attention: dict[int, Tensor] = {}
        self.run, self.maps = run, []
        before = dict(unet.attn_processors)
        unet.set_attn_processor(
            {name: Recorder(one, self) if ".attn2." in name else one for name, one in before.items()}
        )
        try:
            yield
        finally:
            unet.set_attn_processor(dict(before))
            self.run, self.attention = None, {}

    def after_decode(self, run: Run, images: list[Image]) -> None:
        attention = self._together(run)
        for i, (image, spans) in enumerate(zip(images, self.spans)):
            self.maps.append({word: attention[i, positions].sum(0) for word, positions in spans.items()})
            if run.folder is not None:
                sheet(image, self.maps[i]).save(run.folder / f"attention-{i:03d}.png")

    def keep(self, attn: Any, hidden: Tensor, text: Tensor) -> None:
        """Add one layer's attention of the positive branch, whose rows are the last of the batch."""
        images = len(self.run.generators)
        query, key = (attn.head_to_batch_dim(rows[-images:]) for rows in (attn.to_q(hidden), attn.to_k(text)))
        scores = attn.get_attention_scores(query, key).float()  # (images · heads, pixels, tokens)
        mean = scores.unflatten(0, (images, -1)).mean(1)
        self.attention[mean.shape[1]] = self.attention.get(mean.shape[1], 0) + mean

    def _together(self, run: Run) -> Tensor:
        """Mean over layers and steps at the finest resolution: `(images, tokens, h, w)`; tokens add up to 1."""
        ratio = run.request.height / run.request.width
        finest = _grid(max(self.attention), ratio)
        total = 0
        for pixels, scores in self.attention.items():
            maps = scores.transpose(1, 2).unflatten(2, _grid(pixels, ratio))
            total = total + F.interpolate(maps, size=finest, mode="bilinear")
        return (total / total.sum(1, keepdim=True)).cpu()

    def _selected(self, spans: dict[str, list[int]]) -> dict[str, list[int]]:
        missing = [word for word in self.words or () if word not in spans]
        if missing:
            raise ComposerError("callbacks.attention_maps.words", missing[0], "is no word of the prompt", spans)
        return spans if self.words is None else {word: spans[word] for word in self.words}


class Recorder:
    """An attention processor that calls another one and records its attention probabilities."""

    def __init__(self, processor: Any, callback: AttentionMaps) -> None:
        self.processor, self.callback = processor, callback

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        if encoder_hidden_states is not None and hidden_states.ndim == 3:
            text = attn.norm_encoder_hidden_states(encoder_hidden_states) if attn.norm_cross else encoder_hidden_states
            self.callback.keep(attn, hidden_states, text)
        return self.processor(attn, hidden_states, encoder_hidden_states, *args, **kwargs)


def words_of(tokens: Sequence[str]) -> dict[str, list[int]]:
    """CLIP's tokens → word → positions; a word may be of several tokens and come more than once."""
    words: dict[str, list[int]] = {}
    pieces, positions = "", []
    for position, token in enumerate(tokens):
        if token.startswith("<|"):
            continue
        pieces, positions = pieces + token.removesuffix("</w>"), [*positions, position]
        if token.endswith("</w>"):
            words.setdefault(pieces, []).extend(positions)
            pieces, positions = "", []
    return {word: positions for word, positions in words.items() if any(map(str.isalnum, word))}


def _grid(pixels: int, ratio: float) -> tuple[int, int]:
    """Height and width of so many pixels, for an image's height over its width."""
    height = max(1, round((pixels * ratio) ** 0.5))
    while pixels % height:
        height -= 1
    return height, pixels // height
