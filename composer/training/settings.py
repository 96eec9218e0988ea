"""Command line of `compose train` → settings of the training, and of the run that makes its sample images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from composer.config import overrides
from composer.config.compose import compose_with_hydra_node, without_hydra
from composer.config.output_folder import folder_of, typed_folder
from composer.config.read import plain
from composer.errors import ComposerError, suggest
from composer.system.constraints import require
from composer.training.spec import METHODS, TrainSpec

#: Root keys of a run that a training takes: they choose the model, and how sample images are made.
OF_RUNS = (
    "model", "precision", "device", "scheduler", "guidance", "prompt", "negative_prompt", "height", "width", "output",
)  # fmt: skip
#: Settings that are text as typed.
_TEXTS = ("data", "caption", "word", "init")
#: Node that holds the settings of the training while the line is composed.
_NODE = "training"


@dataclass(frozen=True, kw_only=True)
class Requested:
    """A parsed command line.

    Attributes:
        method: ``lora`` or ``textual_inversion``.
        spec: Settings of the training.
        config: Config of the run that makes sample images, as plain data.
        typed: Root keys of that run that were typed.
        folder: Directory that was typed; ``None`` where it follows from the settings.
    """

    method: str
    spec: TrainSpec
    config: Mapping[str, Any]
    typed: frozenset[str]
    folder: Path | None


def parse_training(words: Sequence[str], config_dir: str | None = None) -> Requested:
    """Parse the words after `compose train`.

    Args:
        words: The method, then `key=value` words.
        config_dir: Additional directory of option files.

    Returns:
        The settings.

    Raises:
        ComposerError: There is no such method or key, a value is of a wrong type, or `data` is missing.
    """
    method, *rest = words or [""]
    if method not in METHODS:
        raise ComposerError("train", method or None, f"say what to train.{suggest(method, METHODS)}", METHODS)
    cls = METHODS[method]
    names = [field.name for field in fields(cls)]
    prepared = [_prepared(method, word, names) for word in rest]
    config = compose_with_hydra_node([*_quiet(), *prepared], config_dir)
    folder = folder_of(config) if typed_folder(config.hydra)[0] else None
    tree = plain(without_hydra(config))
    spec = _build(cls, tree.pop(_NODE, None) or {})
    typed = frozenset(overrides.split(word)[1].split(".")[0] for word in rest) - set(names)
    return Requested(method=method, spec=spec, config=tree, typed=typed, folder=folder)


def _quiet() -> list[str]:
    """Overrides of the run before those that are typed: nothing is printed while sample images are made."""
    return ["callbacks=[]"]


def _prepared(method: str, word: str, own: Sequence[str]) -> str:
    """A word whose setting, if it is one of the training, is below a node of its own."""
    prefix, key, value = overrides.split(word)
    root = key.split(".")[0]
    if key in own and not prefix and value is not None:
        text = overrides.quote(value) if key in _TEXTS and value != "null" and value[:1] not in "'\"" else value
        return f"++{_NODE}.{key}={text}"
    if root not in OF_RUNS or prefix.startswith("~"):
        allowed = (*own, *OF_RUNS)
        raise ComposerError(key, value, f"is no setting of compose train {method}.{suggest(key, allowed)}", allowed)
    return word


def _build(cls: type[TrainSpec], node: Mapping[str, Any]) -> TrainSpec:
    hints = get_type_hints(cls, include_extras=True)
    if not node.get("data"):
        raise ComposerError("data", None, "a folder of images with captions is needed: data=FOLDER")
    spec = cls(**{name: require(name, value, hints[name]) for name, value in node.items()})
    if spec.word is not None and len(spec.word.split()) != 1:
        raise ComposerError("word", spec.word, "must be one word, such as zorb")
    if spec.warmup >= spec.steps and spec.warmup:
        raise ComposerError("warmup", spec.warmup, f"must be less than steps, which is {spec.steps}")
    return spec
