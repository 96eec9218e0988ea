"""The directory of a component: which weights files a loader reads, and whether all of them exist.

Only names, JSON files and headers are read, without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from composer.checkpoints.headers import PICKLE_ADVICE, PICKLED, check_pickle, read_header
from composer.checkpoints.index import CONFIG_FILES, INDEX, component_json, component_kind, read_json
from composer.checkpoints.sources import sibling_key
from composer.errors import ComposerError

INCOMPLETE = "the checkpoint is incomplete, download it again"
#: Vocabulary files, of which a tokenizer needs one.
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
#: Tokenizers whose tokens are the bytes of a text.
_BYTE_LEVEL = ("ByT5Tokenizer", "PerceiverTokenizer")
#: File names of a model's weights in diffusers and transformers, as safetensors and pickled.
_STEMS = {
    "diffusers": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "transformers": ("model", "pytorch_model"),
}
#: Larger JSON files, such as vocabularies, are not parsed.
_MAX_PARSED_JSON_BYTES = 1 << 18
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
    """Refuse a component of which a file is missing, empty or damaged, such as after an interrupted download.

    Args:
        key: Config key that named the checkpoint, for errors.
        source: The key's value.
        folder: Directory of the component.
        cls: Class of the component.
        variant: Variant of the weights, which applies where the directory has files of it.
        allow_pickle: Whether pickled weights may be loaded.
        weights: Whether weights must exist, or the JSON files are enough.

    Raises:
        ComposerError: A file is missing or damaged; the message names it, or the setting that selects another file.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        raise ComposerError(
            key, source, f"the folder {folder.name} named in {INDEX} is missing or empty: the checkpoint is incomplete"
        )
    kind = component_kind(folder.name, cls)
    if kind == "tokenizer" and "_class_name" in (
        component_json(folder) or {}
    ):  # a model of diffusers that makes tokens
        kind = "model"
    if not any((folder / name).is_file() for name in CONFIG_FILES[kind]):
        raise ComposerError(key, source, f"there is no {CONFIG_FILES[kind][0]} in {folder.name}: {INCOMPLETE}")
    if kind == "tokenizer" and cls not in _BYTE_LEVEL and not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ComposerError(key, source, f"there is no vocabulary in {folder.name}: {INCOMPLETE}")
    for file in sorted(folder.glob("*.json")):
        _check_json(key, file)
    if kind == "model" and weights:
        _check_weights(key, source, folder, variant, allow_pickle)


def weight_files(folder: Path, variant: str | None = None, allow_pickle: bool = False) -> list[Path]:
    """List the files that a model is loaded from, with all shards.

    Args:
        folder: Directory of the component. A file stands for itself.
        variant: Variant of the weights, which applies where the directory has files of it.
        allow_pickle: Whether pickled weights may be loaded.

    Returns:
        The files, of which some may be missing; none if the directory holds no weights.
    """
    if not folder.is_dir():
        return [folder] if folder.is_file() else []
    for stem, suffix in _weight_names(folder, allow_pickle):
        of = f".{variant}" if variant and variant in _variants_of(folder, stem, suffix) else ""
        single, index = folder / f"{stem}{of}.{suffix}", folder / f"{stem}.{suffix}.index{of}.json"
        # transformers prefers the single file, diffusers the shards
        if index.is_file() and (stem != "model" or not single.is_file()):
            return [folder / name for name in sorted({*map(str, read_json(index).get("weight_map", {}).values())})]
        if single.is_file():
            return [single]
    return []


def variants(folders: Iterable[Path]) -> set[str]:
    """Collect the variants of weights in directories of components.

    Args:
        folders: Directories of components.

    Returns:
        Names of variants, such as ``fp16``.
    """
    return {
        variant
        for folder in folders
        for stem, suffix in _weight_names(folder, True)
        for variant in _variants_of(folder, stem, suffix)
    }


def _check_json(key: str, file: Path) -> None:
    """Refuse a damaged JSON file; of a large one, only the first and last bytes are checked."""
    if file.stat().st_size <= _MAX_PARSED_JSON_BYTES:
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
        raise ComposerError(key, source, _why_no_weights(key, folder, allow_pickle))
    for file in files:
        if not file.is_file():
            raise ComposerError(
                key, source, f"{file.name} is missing in {folder.name}, and its index names it: {INCOMPLETE}"
            )
        check_pickle(file, key) if file.suffix in PICKLED else read_header(file, key)


def _why_no_weights(key: str, folder: Path, allow_pickle: bool) -> str:
    safe = _weight_names(folder, False)[0]
    if others := sorted(_variants_of(folder, *safe)):
        setting = sibling_key(key, "variant")
        advice = " or ".join(f"{setting}={variant}" for variant in others)
        return f"{folder.name} holds weights of the variant {' and '.join(others)} alone: {advice}"
    if not allow_pickle and any(file.suffix in PICKLED for file in folder.iterdir()):
        return f"there is no .safetensors file in {folder.name}: pickled weights are not loaded: {PICKLE_ADVICE}"
    if names := sorted(file.name for file in folder.glob("*.safetensors")):
        return f"there is no {'.'.join(safe)} in {folder.name}, only {', '.join(names)}: give it that name"
    return f"there is no .safetensors file in {folder.name}: {INCOMPLETE}"


def _weight_names(folder: Path, allow_pickle: bool) -> list[tuple[str, str]]:
    """Return stems and suffixes of weights files for the library of the component, safetensors first."""
    safe, pickled = _STEMS["diffusers" if "_class_name" in (component_json(folder) or {}) else "transformers"]
    return [(safe, "safetensors"), *([(pickled, "bin")] if allow_pickle else [])]


def _variants_of(folder: Path, stem: str, suffix: str) -> set[str]:
    return set(_variant_names(folder, stem, suffix)) if folder.is_dir() else set()


def _variant_names(folder: Path, stem: str, suffix: str) -> Iterator[str]:
    single = re.compile(rf"{stem}{_SHARD}\.([\w-]+?){_SHARD}\.{suffix}")
    index = re.compile(rf"{stem}\.{suffix}\.index\.([\w-]+)\.json")
    for file in folder.iterdir():
        if match := single.fullmatch(file.name) or index.fullmatch(file.name):
            yield match[1]
