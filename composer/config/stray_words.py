"""Errors for words of a command line that are neither a command nor `key=value`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from composer.config.catalogue import catalogue, root_keys
from composer.config.commands import COMMANDS
from composer.config.foreign_words import COMMANDS as ELSEWHERE
from composer.config.foreign_words import KEYS, NO_COMMAND, NOT_YET, plain
from composer.config.keys import TEXT_KEYS, is_stray
from composer.config.search_path import conf_folders
from composer.config.spellings import WEIGHTS, for_key, for_option, group_of, typed
from composer.errors import ComposerError, suggest

IMAGES = (".png", ".jpg", ".jpeg", ".webp")


def stray_word_error(words: Sequence[str]) -> ComposerError:
    """Create the error for the first stray word, for command lines and for `composer.compose(…)`.

    Args:
        words: Words of the line, with at least one stray word.

    Returns:
        The error, with what to type instead.
    """
    at = next(i for i, word in enumerate(words) if is_stray(word))
    stray = list(takewhile(is_stray, words[at:]))
    return ComposerError(words[at], None, f"is no command and no key=value. {_advice(words, at, stray, COMMANDS)}")


def _advice(words: Sequence[str], at: int, stray: list[str], commands: Iterable[str]) -> str:
    word, known = stray[0], catalogue(conf_folders())
    if at and word in commands:
        return f"Commands come first: type compose {word} …"
    if not at and plain(word) in ELSEWHERE:
        return f"Type {ELSEWHERE[plain(word)]}."
    if not at and plain(word) in NO_COMMAND:
        return f"To generate needs no command: type compose {_without_command(words[1:])}."
    if pairs := _pairs(stray, root_keys(known)):
        return pairs
    if len(stray) == 1 and (one := _one_word(word)):
        return one
    if len(stray) == 1 and (group := group_of(known, word)):
        return (
            for_key(word, None)
            if group not in ("task", "model", "scheduler")
            else for_option(group, word) or f"Type {group}={word}."
        )
    near = suggest(word, commands) if not at else ""
    return f"{near.strip()} For a prompt type {_prompt(words, at, stray)}.".strip()


def _without_command(words: Sequence[str]) -> str:
    """What to type without the command: leading stray words are the prompt."""
    stray = list(takewhile(is_stray, words))
    rest = [typed(*word.split("=", 1)) for word in words[len(stray) :] if "=" in word]
    return " ".join([*([typed("prompt", " ".join(stray))] if stray or not rest else []), *rest])


def _pairs(stray: list[str], known: list[str]) -> str:
    """Advice for keys and values that are separated by spaces, such as `steps 20 seed 3`."""
    if len(stray) > 2 and plain(stray[0]) in TEXT_KEYS:
        return f"Type {typed(stray[0], ' '.join(stray[1:]))}."
    keys, values = stray[::2], stray[1::2]
    if len(keys) != len(values) or not all(key in known or plain(key) in {**KEYS, **NOT_YET} for key in keys):
        return ""
    if len(keys) == 1 and keys[0] not in known:
        return for_key(keys[0], values[0])
    return f"Type {' '.join(typed(key, value) for key, value in zip(keys, values))}."


def _one_word(word: str) -> str:
    """Advice for a single word that is a file, an address, or a feature that is missing."""
    if word.lower().endswith(IMAGES):
        return f"Type task=img2img image={word} to start from it, or compose info {word} to read its record."
    if (
        word.lower().endswith(WEIGHTS)
        or "://" in word
        or (Path(word).is_dir() and (Path(word) / "model_index.json").is_file())
    ):
        return for_option("model", word)
    return for_key(word, None) if plain(word) in NOT_YET else ""


def _prompt(words: Sequence[str], at: int, stray: list[str]) -> str:
    """The prompt to type, joined again where the shell split an unquoted `prompt=a cat`."""
    begun = [words[at - 1].partition("=")[2]] if at and words[at - 1].startswith("prompt=") else []
    return typed("prompt", " ".join([*begun, *stray]))
