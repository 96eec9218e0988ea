"""A component's folder: which of its files a loader reads, and whether all of them are there. Reads names, json and
headers; no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from composer.checkpoints.headers import PICKLED, SAFER, check_pickle, header
from composer.checkpoints.index import INDEX, JSON_OF, component_json, kind_of, read_json
from composer.checkpoints.sources import beside
from composer.errors import ComposerError

INCOMPLETE = "the checkpoint is incomplete, download it again"
#: Files of which a tokenizer needs one.
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
#: How diffusers and transformers call a model's weights, safe and pickled.
_STEMS = {
    "diffusers": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "transformers": ("model", "pytorch_model"),
}
#: Bytes of a json file that is not read whole.
_LONG = 1 << 18
_SHARD = r"(?:-\d+-of-\d+)?"


def check_component(
    key: str,
    source: str,
    folder: Path,
    cls: str,
    variant: str | None = None,
    allow_pickle: bool = False,
    weights: bool = True,
) -> None:
    """Refuse a component of which a file is missing, empty or damaged: half a download.

    Args:
        key: that named the checkpoint. variant: of the weights, where the folder has any of it. pickles: whether
        pickled weights
            will do. weights: whether there must be any, or the json files are enough.

    Raises:
        ComposerError: with the file, or with the setting that finds it.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        raise ComposerError(
            key, source, f"the folder {folder.name} named in {INDEX} is missing or empty: the checkpoint is incomplete"
        )
    kind = kind_of(folder.name, cls)
    if not any((folder / name).is_file() for name in JSON_OF[kind]):
        raise ComposerError(key, source, f"there is no {JSON_OF[kind][0]} in {folder.name}: {INCOMPLETE}")
    if kind == "tokenizer" and not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ComposerError(key, source, f"there is no vocabulary in {folder.name}: {INCOMPLETE}")
    for file in sorted(folder.glob("*.json")):
        _check_json(key, file)
    if kind == "model" and weights:
        _check_weights(key, source, folder, variant, allow_pickle)


def weight_files(folder: Path, variant: str | None = None, allow_pickle: bool = False) -> list[Path]:
    """The files that a model is loaded from, all shards of it; some of them may be missing. A file stands for itself.

    Args:
        variant: is taken where the folder has any of it, and the plain files elsewhere.
    """
    if not folder.is_dir():
        return [folder] if folder.is_file() else []
    for stem, suffix in _names(folder, allow_pickle):
        of = f".{variant}" if variant and variant in _variants_of(folder, stem, suffix) else ""
        single, index = folder / f"{stem}{of}.{suffix}", folder / f"{stem}.{suffix}.index{of}.json"
        if index.is_file() and (
            stem != "model" or not single.is_file()
        ):  # transformers prefers the one file, diffusers the shards
            return [folder / name for name in sorted({*map(str, read_json(index).get("weight_map", {}).values())})]
        if single.is_file():
            return [single]
    return []


def variants(folders: Iterable[Path]) -> set[str]:
    """Variants of weights in some components' folders."""
    return {
        found
        for folder in folders
        for stem, suffix in _names(folder, True)
        for found in _variants_of(folder, stem, suffix)
    }


def _check_json(key: str, file: Path) -> None:
    """Refuse a json file that is cut short or something else; a long one, such as a vocabulary, by its ends alone."""
    if file.stat().st_size <= _LONG:
        read_json(file, key)
        return
    with file.open("rb") as handle:
        begin = handle.read(64).lstrip()[:1]
        handle.seek(-64, 2)
        end = handle.read().rstrip()[-1:]
    if begin + end != b"{}":
        raise ComposerError(
            key, file, f"is damaged: it does not {'end' if begin == b'{' else 'begin'} as json files do: {INCOMPLETE}"
        )


def _check_weights(key: str, source: str, folder: Path, variant: str | None, allow_pickle: bool) -> None:
    files = weight_files(folder, variant, allow_pickle)
    if not files:
        raise ComposerError(key, source, _why_none(key, folder, allow_pickle))
    for file in files:
        if not file.is_file():
            raise ComposerError(
                key, source, f"{file.name} is missing in {folder.name}, and its index names it: {INCOMPLETE}"
            )
        check_pickle(file, key) if file.suffix in PICKLED else header(file, key)


def _why_none(key: str, folder: Path, allow_pickle: bool) -> str:
    """Why there is nothing to load in a model's folder, and what to do."""
    safe = _names(folder, False)[0]
    if others := sorted(_variants_of(folder, *safe)):
        setting = beside(key, "variant")
        return f"{folder.name} holds weights of the variant {' and '.join(others)} alone: {' or '.join(f'{setting}={v}' for v in others)}"
    if not allow_pickle and any(file.suffix in PICKLED for file in folder.iterdir()):
        return f"there is no .safetensors file in {folder.name}: pickled weights are not loaded: {SAFER}"
    if there := sorted(file.name for file in folder.glob("*.safetensors")):
        return f"there is no {'.'.join(safe)} in {folder.name}, only {', '.join(there)}: give it that name"
    return f"there is no .safetensors file in {folder.name}: {INCOMPLETE}"


def _names(folder: Path, allow_pickle: bool) -> list[tuple[str, str]]:
    """What a folder's weights are called, by the library that its json speaks of: stems and suffixes, the safe ones
    first.
    """
    safe, pickled = _STEMS["diffusers" if "_class_name" in (component_json(folder) or {}) else "transformers"]
    return [(safe, "safetensors"), *([(pickled, "bin")] if allow_pickle else [])]


def _variants_of(folder: Path, stem: str, suffix: str) -> set[str]:
    return set(_variant_names(folder, stem, suffix)) if folder.is_dir() else set()


def _variant_names(folder: Path, stem: str, suffix: str) -> Iterator[str]:
    single = re.compile(rf"{stem}{_SHARD}\.([\w-]+?){_SHARD}\.{suffix}")
    index = re.compile(rf"{stem}\.{suffix}\.index\.([\w-]+)\.json")
    for file in folder.iterdir():
        if found := single.fullmatch(file.name) or index.fullmatch(file.name):
            yield found[1]
