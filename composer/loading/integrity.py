"""Checks that a loaded checkpoint is complete: libraries load incomplete ones too, with a log message at most."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch

from composer.checkpoints.checkpoint import OPTIONAL_COMPONENTS, Checkpoint
from composer.compat.attributes import component_names
from composer.errors import ComposerError, shorten
from composer.system.signatures import keywords_of

#: Smallest vocabulary; transformers replaces missing files by an almost empty tokenizer (transformers#45538).
MIN_VOCABULARY = 50
#: Longest prompt in tokens; transformers' value for "no limit" is far beyond.
MAX_PROMPT_TOKENS = 10**6
#: Attribute of a loaded model with the keys of its files that it does not use.
UNUSED_KEYS = "composer_extra"


def require_all_weights(source: str, missing: Collection[str]) -> None:
    """Refuse a model with missing weights, which libraries would fill with random values.

    Args:
        source: The checkpoint or file, for the error.
        missing: Names of the missing weights.

    Raises:
        ComposerError: Weights are missing.
    """
    if missing:
        reason = f"{_describe_keys(missing)} missing in its files: the checkpoint is incomplete, download it again"
        raise ComposerError("model.source", source, reason)


def check_components(checkpoint: Checkpoint, pipe: Any) -> None:
    """Refuse a checkpoint without a component that its pipeline class requires.

    Args:
        checkpoint: The checkpoint.
        pipe: diffusers pipeline class.

    Raises:
        ComposerError: A component is missing.
    """
    names = component_names(pipe) if not checkpoint.blocks else None  # whose workflow was chosen by its components
    if names is None:  # or diffusers' placeholder for a class that needs another package
        return
    required, optional = names
    spare = {*optional, *OPTIONAL_COMPONENTS, "safety_checker", *checkpoint.family_info.optional_components}
    missing = sorted(required - spare - {*checkpoint.classes})
    if missing:
        omitted = missing[0] in checkpoint.missing_components
        advice = f"name one, model.components.{missing[0]}=FOLDER" if omitted else "download it again"
        reason = f"{checkpoint.path.name} has none, and {pipe.__name__} needs it: {advice}"
        raise ComposerError(f"model.components.{missing[0]}", None, reason)


def meta_parameters(error: BaseException) -> list[str]:
    """List the weights that a single file lacks, from the error that diffusers raised for them.

    Args:
        error: The error, whose traceback holds the model with unloaded parameters.

    Returns:
        Names of the weights; none if the error has another cause.
    """
    for frame, _ in walk_tb(error.__traceback__):
        model = frame.f_locals.get("self")
        if isinstance(model, torch.nn.Module):
            return unloaded_parameters(model)
    return []


def unloaded_parameters(model: torch.nn.Module) -> list[str]:
    """List the parameters of a model that were not loaded.

    Args:
        model: The model.

    Returns:
        Names of the parameters on the meta device.
    """
    return [name for name, weight in model.named_parameters() if weight.is_meta]


def check_tokenizers(source: str, pipe: Any) -> None:
    """Refuse a tokenizer without vocabulary, which would encode all prompts alike, or without a limit.

    Args:
        source: The checkpoint, for the error.
        pipe: diffusers pipeline with the tokenizers.

    Raises:
        ComposerError: Files of a tokenizer are missing.
    """
    names = ("tokenizer", "tokenizer_2", "tokenizer_3")
    parts = {name: part for name in names if (part := getattr(pipe, name, None)) is not None}
    tokenizers = {name: getattr(part, "tokenizer", part) for name, part in parts.items()}  # a processor has one inside
    # the pipeline itself limits the prompt of its last tokenizer
    names_of_call = getattr(getattr(pipe, "blocks", None), "input_names", None) or keywords_of(pipe.__call__)
    limited = [*tokenizers][-1:] if "max_sequence_length" in names_of_call else []
    for name, tokenizer in tokenizers.items():
        if len(tokenizer) < MIN_VOCABULARY:
            reason = f"its {name} knows {len(tokenizer)} tokens, so its vocabulary is missing"
            raise ComposerError("model.source", source, f"{reason}: download the checkpoint again")
        if tokenizer.model_max_length > MAX_PROMPT_TOKENS and name not in limited:
            reason = f"its {name} does not say how long a prompt may be: tokenizer_config.json is missing"
            raise ComposerError("model.source", source, reason)


def check_hashes(source: str, path: Path, hashes: Mapping[str, str]) -> None:
    """Compare files with their expected SHA-256.

    Args:
        source: The checkpoint, for the error.
        path: Directory or single file.
        hashes: File below ``path`` → SHA-256 in hexadecimal. The empty name is ``path`` itself.

    Raises:
        ComposerError: A file is missing, or its content differs.
    """
    for name, expected in hashes.items():
        file = path / name if name else path
        if not file.is_file():
            reason = f"{source} holds no such file" if name else "a folder has no hash: give one for each file"
            raise ComposerError("model.sha256", name or expected, reason)
        actual = _hash_file(file)
        if actual != expected.lower():
            reason = f"{name or source} has another content than expected: its SHA-256 is {actual}"
            raise ComposerError("model.sha256", expected, reason)


def unused_key_warnings(models: Mapping[str, Any]) -> Iterator[str]:
    """Warn of files with weights that the models do not use.

    Args:
        models: Component name → loaded model.

    Yields:
        A note for each model.
    """
    for name, model in models.items():
        unused = getattr(model, UNUSED_KEYS, ())
        if unused:
            yield f"{name}: {_describe_keys(unused)} in its files, and not used"


def _describe_keys(keys: Collection[str]) -> str:
    """Return a subject and the form of "to be", such as ``conv_in.weight and 3 more are``."""
    first, *rest = sorted(keys)
    return f"{shorten(first)} and {len(rest)} more are" if rest else f"{shorten(first)} is"


def _hash_file(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(1 << 22):
            total.update(block)
    return total.hexdigest()
