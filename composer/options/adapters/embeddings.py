"""``embedding=FILE``: words of prompts with vectors of their own. https://arxiv.org/abs/2208.01618

Tokenizers are copied and tables of vectors made anew, so that the model's own are put back as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from tokenizers import AddedToken, Regex, normalizers
from torch import Tensor, nn

from composer.checkpoints.embedding_file import read_vectors
from composer.checkpoints.fingerprints import file_sha256
from composer.checks.embeddings import WordVectors, refuse_known
from composer.config.adapter_nodes import EMBEDDING
from composer.options.base import ModelOption, OptionContext


class Embeddings(ModelOption):
    """All textual inversions of a run.

    Args:
        words: Vectors by name of the setting.
    """

    group, name = "embedding", "embedding"
    base_only = True

    def __init__(self, words: Mapping[str, WordVectors]) -> None:
        self.words = dict(words)

    def expand(self, context: OptionContext) -> tuple[Mapping[str, ModelOption], str | None]:
        refined = context.checked.refiner is not None
        note = "embedding: is for the base model, and the refiner reads its word as text" if refined else None
        return {"embedding.embedding": self}, note

    def attach_key(self) -> Any:
        return [(of.word, file_sha256(of.file.path)) for of in self.words.values()]

    def embedding_key(self) -> Any:
        return self.attach_key()

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        encoders = {encoder: tokenizer for of in self.words.values() for encoder, (tokenizer, _) in of.encoders.items()}
        vectors = {name: read_vectors(of.file.path) for name, of in self.words.items()}
        tokenizers = {name: getattr(pipe, name) for name in encoders.values()}
        tables = {name: getattr(pipe, name).get_input_embeddings() for name in encoders}
        try:
            for encoder, tokenizer in encoders.items():
                rows = {name: vectors[name][of.encoders[encoder][1]] for name, of in self.words.items()}
                ids = self._extend_tokenizer(pipe, tokenizer)
                getattr(pipe, encoder).set_input_embeddings(_extended(tables[encoder], ids, list(rows.values())))
            yield
        finally:
            vars(pipe).update(tokenizers)
            for encoder, table in tables.items():
                getattr(pipe, encoder).set_input_embeddings(table)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe all files for the record: name → settings, word, number of vectors and SHA-256."""
        return {
            name or "embedding": {
                "file": of.spec.file,
                "revision": of.spec.revision,
                "word": of.word,
                "vectors": of.count,
                "sha256": file_sha256(of.file.path),
            }
            for name, of in self.words.items()
        }

    def _extend_tokenizer(self, pipe: Any, component: str) -> list[list[int]]:
        """Put a copy of a tokenizer in its place that knows the words; ids of their vectors.

        A word is replaced by one token for each vector before it is split, so that the offsets of tokens stay those of
        the prompt. The copy is set past diffusers' setter, which would write to the shared config.
        """
        tokenizer = deepcopy(getattr(pipe, component))
        vocabulary, replacing = tokenizer.get_vocab(), []
        pieces = {name: piece_names(of.word, of.count) for name, of in self.words.items()}
        for name, of in self.words.items():
            if of.word in vocabulary:
                refuse_known(EMBEDDING.key_of(name), of.word)
            replacing.append(normalizers.Replace(Regex(_pattern(of.word)), f" {' '.join(pieces[name])} "))
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([*replacing, *filter(None, [backend.normalizer])])
        tokenizer.add_tokens([AddedToken(piece, normalized=True) for of in pieces.values() for piece in of])
        vars(pipe)[component] = tokenizer
        return [tokenizer.convert_tokens_to_ids(of) for of in pieces.values()]


def piece_names(word: str, count: int) -> list[str]:
    """Name the tokens that a word is replaced by, one for each of its vectors.

    Args:
        word: The word.
        count: Number of its vectors.
    """
    return [f"{word}#{index}" for index in range(count)]


def _pattern(word: str) -> str:
    """A pattern that finds a word in a prompt in any case; a word of letters is not found in a longer one."""
    begin = r"(?<!\w)" if re.match(r"\w", word) else ""
    end = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return rf"(?i){begin}{re.escape(word)}{end}(?!#\d)"


def _extended(table: Any, ids: list[list[int]], rows: list[Tensor]) -> nn.Embedding:
    """A new table of vectors with further rows, in the dtype and on the device of the old one."""
    weight = table.weight
    values = weight.new_zeros(max(len(weight), 1 + max(map(max, ids))), weight.shape[1])
    values[: len(weight)] = weight.detach()
    for indices, vectors in zip(ids, rows, strict=True):
        values[indices] = vectors.to(values)
    return nn.Embedding.from_pretrained(values, padding_idx=table.padding_idx).train(table.training)
