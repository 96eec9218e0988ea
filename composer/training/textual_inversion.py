"""Textual inversion: vectors of the text encoders for a new word. https://arxiv.org/abs/2208.01618

The word is put into copies of the tokenizers, and into tables of vectors of their own, by the option `embedding`; here
the rows of the new word learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from composer.checks.embeddings import ENCODERS
from composer.errors import ComposerError
from composer.options.adapters.embeddings import piece_names
from composer.options.adapters.lora_peft import ModelState
from composer.options.lifecycle import apply_options
from composer.pipelines.pipeline import Pipeline
from composer.training.first_file import tensor_names
from composer.training.order import derive_seed
from composer.training.spec import InversionTraining, TrainSpec


class TrainedTable(nn.Module):
    """A table of vectors, some rows of which learn.

    Args:
        table: The complete table.
        ids: Indices of the rows.
        rows: The rows `(vectors, width)`, fp32.
    """

    def __init__(self, table: nn.Module, ids: Sequence[int], rows: nn.Parameter) -> None:
        super().__init__()
        self.table, self.ids, self.rows = table, tuple(ids), rows

    @property
    def weight(self) -> Any:
        """The complete table, for those who ask for its dtype or device."""
        return self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up vectors.

        Args:
            tokens: Indices `(…)`.

        Returns:
            Vectors `(…, width)`.
        """
        vectors = self.table(tokens)
        for row, index in enumerate(self.ids):
            vectors = torch.where((tokens == index)[..., None], self.rows[row].to(vectors.dtype), vectors)
        return vectors


class LearnedVectors:
    """The vectors of a word.

    Args:
        word: The word.
        rows: Text encoder → vectors.
    """

    text = True

    def __init__(self, word: str, rows: Mapping[str, nn.Parameter]) -> None:
        self.word, self.parameters = word, dict(rows)

    def tensors(self) -> dict[str, Tensor]:
        """Return the vectors as diffusers names them: by the word, or by the text encoder where there are two."""
        names = tensor_names(self.word, list(self.parameters))
        return {names[encoder]: rows.detach().cpu().clone() for encoder, rows in self.parameters.items()}

    def metadata(self) -> dict[str, str]:
        """Nothing: the vectors are the complete file."""
        return {}


class InversionMethod:
    """`compose train textual_inversion`."""

    file_name = "embedding.safetensors"
    config_key = "embedding"

    @contextmanager
    def attached(self, pipeline: Pipeline, spec: TrainSpec) -> Iterator[LearnedVectors]:
        """Put rows into the tables of the text encoders.

        Args:
            pipeline: The pipeline, with the option `embedding` for the word.
            spec: Settings of the training.

        Yields:
            The rows.
        """
        assert isinstance(spec, InversionTraining) and spec.word is not None
        pipe = pipeline.family.pipe
        before = [ModelState(model) for model in pipeline.family.modules.values()]
        apply_options(pipe, pipeline.options, pipeline.device)
        encoders = {name: tokenizer for name, tokenizer in _tokenizers(pipe).items() if getattr(pipe, name, None)}
        tables = {name: getattr(pipe, name).get_input_embeddings() for name in encoders}
        rows = {}
        try:
            for model in pipeline.family.modules.values():
                model.requires_grad_(False)
            for encoder, tokenizer in encoders.items():
                words = getattr(pipe, tokenizer)
                ids = words.convert_tokens_to_ids(piece_names(spec.word, spec.vectors))
                rows[encoder] = nn.Parameter(_first_rows(tables[encoder], words, min(ids), spec))
                getattr(pipe, encoder).set_input_embeddings(TrainedTable(tables[encoder], ids, rows[encoder]))
            yield LearnedVectors(spec.word, rows)
        finally:
            for encoder, table in tables.items():
                getattr(pipe, encoder).set_input_embeddings(table)
            apply_options(pipe, {}, pipeline.device)
            for state in before:
                state.restore()


def _tokenizers(pipe: Any) -> dict[str, str]:
    return ENCODERS["sdxl"] if hasattr(pipe, "tokenizer_2") else ENCODERS["sd"]


def _first_rows(table: Any, tokenizer: Any, known: int, spec: InversionTraining) -> Tensor:
    """First vectors: those of a known word, or the mean of the table; several differ by a little noise."""
    vectors = table.weight.detach()[:known].float()
    if spec.init is None:
        start = vectors.mean(0, keepdim=True)
    else:
        ids = tokenizer(spec.init, add_special_tokens=False).input_ids
        if len(ids) != 1:
            raise ComposerError("init", spec.init, f"must be one token of the model, and is {len(ids)}: choose another")
        start = vectors[ids]
    generator = torch.Generator("cpu").manual_seed(derive_seed(spec.seed, "vectors"))
    noise = torch.randn(spec.vectors, start.shape[1], generator=generator).to(start.device)
    return start + (0.1 * vectors.std() * noise if spec.vectors > 1 else 0.0)
