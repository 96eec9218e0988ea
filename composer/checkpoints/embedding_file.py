"""Files of textual inversion, described by the shapes of their vectors.

diffusers' ``learned_embeds`` have the word as the key of its vectors; A1111 writes ``emb_params``, or a pickled file
with ``string_to_param``; files for SDXL have ``clip_l`` and ``clip_g``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.checkpoints.headers import PICKLED, SAFETENSORS, check_pickle, read_header, read_metadata
from composer.errors import ComposerError

if TYPE_CHECKING:
    from torch import Tensor

#: Key of a word in the metadata of files, whose tensors may be named by text encoders.
TRIGGER = "modelspec.trigger_phrase"
#: Suffixes of the files.
SUFFIXES = (SAFETENSORS, *PICKLED)
#: Keys of vectors → text encoder that they are for; any other key is a word.
_ENCODERS = {
    "clip_l": "text_encoder", "clip_g": "text_encoder_2", "text_encoders_0": "text_encoder",
    "text_encoders_1": "text_encoder_2",
}  # fmt: skip
#: Keys that name neither a word nor a text encoder.
_UNNAMED = ("emb_params", "*")


@dataclass(frozen=True, kw_only=True)
class EmbeddingFile:
    """A file of textual inversion.

    Attributes:
        path: The file.
        word: Word that the file names; ``None`` if it names none.
        shapes: Text encoder → number of vectors and their width; the empty name is that of a model's only text encoder.
    """

    path: Path
    word: str | None
    shapes: Mapping[str, tuple[int, int]]


def read_embedding(path: Path, key: str) -> EmbeddingFile:
    """Describe a file of textual inversion; safetensors by their header, pickled files without running their code.

    Args:
        path: The file.
        key: Config key that named it, for errors.

    Returns:
        The description; nothing of it is compared with a model yet.

    Raises:
        ComposerError: The file is damaged, or of another kind.
    """
    if path.suffix == SAFETENSORS:
        named = {name: tuple(entry["shape"]) for name, entry in read_header(path, key).items()}
        word = _word(named) or read_metadata(path).get(TRIGGER)
    elif path.suffix in PICKLED:
        check_pickle(path, key)
        tensors, word = _unpickled(path, key)
        named = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    else:
        raise ComposerError(key, path, f"an embedding is a {', '.join(SUFFIXES)} file")
    word = word or _word(named)
    usable = all(len(shape) in (1, 2) and 0 not in shape for shape in named.values())
    shapes = {_ENCODERS.get(name, ""): _table(shape) for name, shape in named.items()} if usable else {}
    if not shapes or len(shapes) < len(named) or ("" in shapes and len(shapes) > 1):
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in list(named.items())[:3])
        raise ComposerError(key, path, f"holds no vectors of textual inversion, but {listed or 'nothing'}")
    if len({vectors for vectors, _ in shapes.values()}) > 1:
        raise ComposerError(key, path, f"has a different number of vectors for each text encoder: {_counts(shapes)}")
    return EmbeddingFile(path=path, word=word, shapes=shapes)


def read_vectors(path: Path) -> dict[str, Tensor]:
    """Read the vectors of a file that `read_embedding` accepts.

    Args:
        path: The file.

    Returns:
        Text encoder → vectors `(vectors, width)`; the empty name is that of a model's only text encoder.
    """
    if path.suffix == SAFETENSORS:
        from safetensors.torch import load_file

        tensors: Mapping[str, Tensor] = load_file(path)
    else:
        tensors, _ = _unpickled(path, "embedding")
    return {_ENCODERS.get(name, ""): tensor.reshape(-1, tensor.shape[-1]) for name, tensor in tensors.items()}


def _table(shape: tuple[int, ...]) -> tuple[int, int]:
    """Number of vectors and their width."""
    return (shape[0] if len(shape) == 2 else 1), shape[-1]


def _word(named: Mapping[str, Any]) -> str | None:
    """The word of a file that has it as its only key."""
    name = next(iter(named), "")
    return name if len(named) == 1 and name not in (*_ENCODERS, *_UNNAMED) else None


def _counts(shapes: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{vectors} for {encoder}" for encoder, (vectors, _) in shapes.items())


def _unpickled(path: Path, key: str) -> tuple[Mapping[str, Tensor], str | None]:
    state = path.stat()
    try:
        return _tensors(path, state.st_size, state.st_mtime_ns)
    except ComposerError as error:
        raise ComposerError(key, path, error.reason) from None


@lru_cache(maxsize=16)  # each job of a sweep reads them
def _tensors(path: Path, size: int, written: int) -> tuple[Mapping[str, Tensor], str | None]:
    """Tensors by key, and the word that A1111 names. Only tensors and plain data are unpickled: no code runs."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the protocol of pickles
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, from the depths of two libraries
        why = "holds more than tensors and plain data, which only running its code would read: use a .safetensors file"
        damaged = not type(error).__name__.startswith("Unpickling") or "Unsupported" not in str(error)
        raise ComposerError("embedding", path, "is damaged: download it again" if damaged else why) from None
    if isinstance(content, torch.Tensor):
        return {"emb_params": content.detach()}, None
    if not isinstance(content, Mapping):
        return {}, None
    if "string_to_param" in content:
        vectors, word = content["string_to_param"], content.get("name")
        content = vectors if isinstance(vectors, Mapping) else {}
    else:
        word = None
    tensors = {str(name): tensor.detach() for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
    return tensors, word if isinstance(word, str) else None
