"""Whether what was loaded is what the files hold: libraries load half a checkpoint too, with a line in a log at most."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch

from composer.checkpoints.checkpoint import OPTIONAL_COMPONENTS, Checkpoint
from composer.errors import ComposerError, shorten
from composer.system.signatures import keywords_of

#: A tokenizer with fewer tokens has lost its files: transformers then makes one up (transformers#45538).
FEWEST_TOKENS = 50
#: transformers' own "no limit" is far beyond; a model with positions has one.
LONGEST = 10**6
#: Attribute of a loaded model: keys of its files that it has no use for.
EXTRA = "composer_extra"


def whole(where: str, missing: Collection[str]) -> None:
    """Refuse a model of which weights are missing: they would be random numbers, others each time.

    Raises:
        ComposerError: with the first names.
    """
    if missing:
        raise ComposerError(
            "model.source",
            where,
            f"{_names(missing)} missing in its files: the checkpoint is incomplete, download it again",
        )


def check_components(checkpoint: Checkpoint, pipe: type) -> None:
    """Refuse a checkpoint without a component that its pipeline can't do without, whether its index leaves it out or
    names none.

    Raises:
        ComposerError: with the component.
    """
    if not hasattr(pipe, "_get_signature_keys"):  # a stand-in of diffusers for a class that wants another package
        return
    wanted, _ = pipe._get_signature_keys(pipe)
    optional = checkpoint.family_info.optional_components
    spare = {*pipe._optional_components, *OPTIONAL_COMPONENTS, "safety_checker", *optional}
    missing = sorted({*wanted} - spare - {*checkpoint.classes})
    if missing:
        cure = (
            f"name one, model.components.{missing[0]}=FOLDER"
            if missing[0] in checkpoint.missing_components
            else "download it again"
        )
        reason = f"{checkpoint.path.name} has none, and {pipe.__name__} needs it: {cure}"
        raise ComposerError(f"model.components.{missing[0]}", None, reason)


def meta_parameters(error: BaseException) -> list[str]:
    """Weights that a single file left without numbers: diffusers stumbles over the model that waits for them, and does
    not name them.
    """
    for frame, _ in walk_tb(error.__traceback__):
        model = frame.f_locals.get("self")
        if isinstance(model, torch.nn.Module):
            return empty(model)
    return []


def empty(model: torch.nn.Module) -> list[str]:
    return [name for name, weight in model.named_parameters() if weight.is_meta]


def check_tokenizers(source: str, pipe: Any) -> None:
    """Refuse a tokenizer without a vocabulary.

    Raises:
        ComposerError: every prompt would come out the same.
    """
    there = {
        name: part
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3")
        if (part := getattr(pipe, name, None)) is not None
    }
    cut = (
        [*there][-1:] if "max_sequence_length" in keywords_of(pipe.__call__) else []
    )  # of which the pipeline says how much it reads
    for name, tokenizer in there.items():
        if len(tokenizer) < FEWEST_TOKENS:
            reason = (
                f"its {name} knows {len(tokenizer)} tokens, so its vocabulary is missing: download the checkpoint again"
            )
            raise ComposerError("model.source", source, reason)
        if tokenizer.model_max_length > LONGEST and name not in cut:
            raise ComposerError(
                "model.source",
                source,
                f"its {name} does not say how long a prompt may be: tokenizer_config.json is missing",
            )


def check_hashes(source: str, place: Path, sums: Mapping[str, str]) -> None:
    """Hold files against their SHA-256. sums: file below `place` → its sum; `` is the file that `place` itself is.

    Raises:
        ComposerError: a file is not there, or is another.
    """
    for name, wanted in sums.items():
        file = place / name if name else place
        if not file.is_file():
            raise ComposerError(
                "model.sha256",
                name or wanted,
                f"{source} holds no such file" if name else "a folder has no sum: give one for each file",
            )
        found = _sum(file)
        if found != wanted.lower():
            reason = f"{name or source} has another content than was asked for: its sum is {found}"
            raise ComposerError("model.sha256", wanted, reason)


def unused_key_warnings(models: Mapping[str, Any]) -> Iterator[str]:
    """What the user should know of files that hold more than the models need."""
    for name, model in models.items():
        extra = getattr(model, EXTRA, ())
        if extra:
            yield f"{name}: {_names(extra)} in its files, and not used"


def _names(keys: Collection[str]) -> str:
    """`conv_in.weight and 3 more are`."""
    first, *rest = sorted(keys)
    return f"{shorten(first)} and {len(rest)} more are" if rest else f"{shorten(first)} is"


def _sum(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(1 << 22):
            total.update(block)
    return total.hexdigest()
