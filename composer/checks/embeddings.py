"""Checks of textual inversion against a checkpoint: no weights of the model are read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from composer.callbacks.request import Request
from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.embedding_file import SUFFIXES, EmbeddingFile, read_embedding
from composer.config.adapter_nodes import EMBEDDING
from composer.config.spec import EmbeddingSpec, RunSpec
from composer.errors import ComposerError

#: Names of files in directories and repositories, as diffusers writes them.
USUAL_NAMES = ("learned_embeds.safetensors", "learned_embeds.bin")
#: Families whose text encoders take vectors → those encoders and their tokenizers.
ENCODERS = {
    "sd": {"text_encoder": "tokenizer"},
    "sdxl": {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"},
}


@dataclass(frozen=True, kw_only=True)
class WordVectors:
    """Vectors for a word of prompts.

    Attributes:
        word: The word.
        file: Their file.
        encoders: Text encoder → its tokenizer and the name of its vectors in the file.
        spec: Their settings.
    """

    word: str
    file: EmbeddingFile
    encoders: Mapping[str, tuple[str, str]]
    spec: EmbeddingSpec

    @property
    def count(self) -> int:
        """Number of vectors."""
        return next(iter(self.file.shapes.values()))[0]


def check_embeddings(spec: RunSpec, checkpoint: Checkpoint) -> Mapping[str, WordVectors]:
    """Find the files of a run's textual inversions, and refuse those that its text encoders can't read.

    Args:
        spec: Settings of the run.
        checkpoint: Its checkpoint.

    Returns:
        Vectors by name of the setting.

    Raises:
        ComposerError: A file is missing, damaged or for another model, or a word is not free.
    """
    embeddings: dict[str, WordVectors] = {}
    for name, embedding in spec.embeddings.items():
        key = EMBEDDING.key_of(name)
        if checkpoint.family not in ENCODERS:
            reason = f"{checkpoint.family} models take no embeddings of words: use {' or '.join(ENCODERS)}"
            raise ComposerError(key, embedding.file, reason)
        source = AdapterSource(
            key=key, file=embedding.file, revision=embedding.revision, usual_names=USUAL_NAMES, suffixes=SUFFIXES
        )
        file = read_embedding(locate(source), key)
        word = embedding.word or file.word or file.path.stem
        if len(word.split()) > 1:
            reason = f"its word {word!r} has spaces, so no prompt can hold it: {key}.word=WORD gives it another"
            raise ComposerError(key, file.path.name, reason)
        _refuse_taken(key, word, checkpoint, embeddings.values())
        embeddings[name] = WordVectors(word=word, file=file, encoders=_encoders(key, file, checkpoint), spec=embedding)
    return MappingProxyType(embeddings)


def unused_words(embeddings: Mapping[str, WordVectors], request: Request) -> list[str]:
    """Note words that are in no prompt.

    Args:
        embeddings: Vectors by name of the setting.
        request: The request.

    Returns:
        One line for each.
    """
    texts = [text.lower() for text in (*request.prompts, *request.negative_prompts) if text]
    missing = [of.word for of in embeddings.values() if not any(of.word.lower() in text for text in texts)]
    return [f"embedding: {word} is in no prompt, so its file does nothing" for word in missing]


def _encoders(key: str, file: EmbeddingFile, checkpoint: Checkpoint) -> dict[str, tuple[str, str]]:
    """Match the vectors of a file with the text encoders, of which each must get its own."""
    tokenizers = {
        encoder: tokenizer
        for encoder, tokenizer in ENCODERS[checkpoint.family].items()
        if encoder in checkpoint.classes
    }
    alone = set(file.shapes) == {""} and len(tokenizers) == 1
    names = {encoder: "" if alone else encoder for encoder in tokenizers}
    if set(names.values()) != set(file.shapes):
        widths = " and ".join(f"{name or 'one text encoder'} ({width})" for name, (_, width) in file.shapes.items())
        reason = f"has vectors for {widths}, and the model's text encoders are {' and '.join(tokenizers)}"
        raise ComposerError(key, file.path.name, f"{reason}: it is for another model")
    for encoder, name in names.items():
        width, expected = file.shapes[name][1], checkpoint.configs.get(encoder, {}).get("hidden_size")
        if expected is not None and width != expected:
            reason = f"its vectors have {width} channels, and those of {encoder} {expected}"
            raise ComposerError(key, file.path.name, f"{reason}: it is for another model")
    return {encoder: (tokenizers[encoder], name) for encoder, name in names.items()}


def _refuse_taken(key: str, word: str, checkpoint: Checkpoint, others: Iterable[WordVectors]) -> None:
    """Refuse a word that another file has, or that the tokenizer knows."""
    if any(word.lower() == other.word.lower() for other in others):
        raise ComposerError(key, word, f"two embeddings have this word: {key}.word=WORD gives one another")
    if word in _vocabulary(checkpoint.folder("tokenizer")):
        refuse_known(key, word)


@lru_cache(maxsize=4)  # each job of a sweep reads it
def _vocabulary(folder: Path) -> Collection[str]:
    """Tokens of a tokenizer; empty where its files are elsewhere, so that it is checked once it is loaded."""
    for name in ("vocab.json", "tokenizer.json"):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text("utf-8"))
            return content if name == "vocab.json" else content.get("model", {}).get("vocab", ())
    return ()


def refuse_known(key: str, word: str) -> None:
    """Refuse a word that the tokenizer knows.

    Args:
        key: Config key of the embedding.
        word: The word.

    Raises:
        ComposerError: Always.
    """
    reason = f"is a token that the model knows already: {key}.word=WORD gives the vectors a word of their own"
    raise ComposerError(f"{key}.word", word, reason)
