"""Where checkpoints and components lie: inside the package, in a folder, in a file, at the hub. Reads json only; no torch."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from composer.errors import ComposerError

EMBEDDED = Path(__file__).parent / "tiny" / "checkpoint"
INDEX = "model_index.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: Weights in 2 to 8 bits, of a denoiser alone.
QUANTISED = ".gguf"
PICKLED = (".ckpt", ".bin", ".pt", ".pth")
#: What to do about pickles.
SAFER = "use a .safetensors file, or type model.allow_pickle=true if you trust where they come from"
#: Packages that a checkpoint's parts may come from, beside the folders of diffusers.pipelines.
_LIBRARIES = ("diffusers", "transformers")
#: Files of which a tokenizer needs one.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_JSON = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")


def locate(key: str, source: str, revision: str | None, pickles: bool = False) -> tuple[Path, str | None]:
    """A folder or .safetensors file, and the hub's commit where it came from there.

    Raises:
        ComposerError: nothing is there, or nothing that may be loaded.
    """
    path = EMBEDDED / source[len("embedded:") :] if source.startswith("embedded:") else Path(source).expanduser()
    if path.suffix in PICKLED and not pickles:
        raise ComposerError(key, source, f"pickled weights can run code when they are loaded: {SAFER}")
    if path.is_file():
        if path.suffix not in (".safetensors", *PICKLED):
            more = "; a .gguf file holds a transformer or unet alone: model.components.transformer=FILE" * (path.suffix == QUANTISED)
            raise ComposerError(key, source, f"a single file must be a .safetensors file{more}")
        return path, None
    if path.is_dir():
        return path, None
    if not HUB_ID.fullmatch(source):
        raise ComposerError(key, source, "there is no such folder or file, and it is no hub id (owner/name)")
    return _fetch_json(key, source, revision)


def _fetch_json(key: str, source: str, revision: str | None) -> tuple[Path, str]:
    """The json files of a hub repository: all that is needed before weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=["*.json", "*/*.json"]))
    except GatedRepoError:
        raise ComposerError(key, source, "its owner wants you to accept terms first: do so at the hub, then `hf auth login`") from None
    except RepositoryNotFoundError:
        raise ComposerError(key, source, "there is no such folder here, and no such repository at the hub") from None
    except RevisionNotFoundError:
        raise ComposerError("model.revision", revision, f"{source} has no such branch, tag or commit") from None
    except (LocalEntryNotFoundError, OSError):
        advice = f"fetch it where it can (`hf download {source}`), or name a folder"
        raise ComposerError(key, source, f"is not a folder here nor in the hub's cache, and the hub can't be reached: {advice}") from None
    return folder, folder.name


def whole(key: str, source: str, folder: Path, pickles: bool = False) -> None:
    """Refuse a component that is missing, empty, without weights or vocabulary, or with a damaged file: half a download."""
    if not folder.is_dir() or not any(folder.iterdir()):
        reason = f"the folder {folder.name} named in {INDEX} is missing or empty: the checkpoint is incomplete"
        raise ComposerError(key, source, reason)
    weights = list(folder.glob("*.safetensors"))
    pickled = any(file.suffix in PICKLED for file in folder.iterdir())
    if (folder / "config.json").is_file() and not weights and not (pickles and pickled):
        why = f"pickled weights are not loaded: {SAFER}" if pickled else "the checkpoint is incomplete, download it again"
        raise ComposerError(key, source, f"there is no .safetensors file in {folder.name}: {why}")
    if (folder / "tokenizer_config.json").is_file() and not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ComposerError(key, source, f"there is no vocabulary in {folder.name}: the checkpoint is incomplete, download it again")
    for file in weights:
        header(file)


def check_libraries(source: str, index: dict[str, Any]) -> None:
    """Refuse a checkpoint whose parts come from any other package: diffusers would import what it names.

    Raises:
        ComposerError: with the package.
    """
    for name, entry in index.items():
        library = entry[0] if isinstance(entry, list) and entry else None
        if library is None or library in _LIBRARIES or (isinstance(library, str) and _is_pipeline(library)):
            continue
        reason = f"its {name} is to come from {library}, and a checkpoint can choose only classes of {' and '.join(_LIBRARIES)}"
        raise ComposerError("model.source", source, reason)


def _is_pipeline(name: str) -> bool:
    """Whether diffusers has a folder of this name among its pipelines, such as `stable_diffusion`; nothing is imported."""
    found = find_spec("diffusers")
    return bool(found and name.isidentifier() and (Path(found.origin or "").parent / "pipelines" / name).is_dir())


def header(path: Path) -> dict[str, Any]:
    """The table of a safetensors file: tensor name → dtype, shape and place. https://huggingface.co/docs/safetensors

    That of a GGUF file is told in the same form. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    if path.suffix == QUANTISED:
        return _gguf_header(path)
    try:
        state = path.stat()
    except OSError as error:
        raise ComposerError("model.source", path, f"can't be read: {error.strerror}") from None
    return _header(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)  # each job of a sweep asks for them
def _header(path: Path, size: int, written: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("it is cut short")
            table = json.loads(file.read(length))
        table.pop("__metadata__", None)
        if 8 + length + max(entry["data_offsets"][1] for entry in table.values()) != size:
            raise ValueError("it is cut short")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ComposerError("model.source", path, f"is damaged, download it again: {error}") from None
    return table


def _gguf_header(path: Path) -> dict[str, Any]:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise ComposerError("model.components", path, "needs the package gguf: pip install 'diffusion-composer[gguf]'") from None
    try:
        tensors = GGUFReader(path).tensors
        table = {
            each.name: {
                "dtype": each.tensor_type.name,
                "shape": [int(n) for n in each.shape],
                "data_offsets": [int(each.data_offset), int(each.data_offset + each.n_bytes)],
            }
            for each in tensors
        }
        if not table or max(entry["data_offsets"][1] for entry in table.values()) > path.stat().st_size:
            raise ValueError("it is cut short")
    except Exception as error:  # the reader trusts what it reads
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ComposerError("model.components", path, f"is damaged, download it again: {why}") from None
    return table


def weights_of(place: Path) -> dict[str, int]:
    """Safetensors files of a component's folder, or the one file, links resolved → how many numbers each holds, from the headers."""
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors")) if place.is_dir() else []
    return {str(file.resolve()): sum(prod(entry["shape"]) for entry in header(file).values()) for file in files}


def component_json(folder: Path) -> dict[str, Any] | None:
    """A component's json, whatever its kind calls it."""
    return next((read_json(folder / name) for name in _JSON if (folder / name).is_file()), None)


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ComposerError("model.source", path, f"can't be read: {error}") from None
