"""Records of other tools → overrides, and what could not be mapped."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from composer.config.overrides import quote, split
from composer.errors import ComposerError, printable, shorten
from composer.families.prompt_weights import check_prompts
from composer.reruns.foreign import a1111, comfyui, invokeai, samplers, swarmui
from composer.reruns.foreign.facts import Facts
from composer.tasks import marks

_READERS = (swarmui.read, invokeai.read, comfyui.read, a1111.read)


@dataclass(frozen=True)
class ForeignRecord:
    """A record of another tool in composer's terms.

    Attributes:
        tool: Name of the tool.
        overrides: Key → value in Hydra's grammar; texts are quoted.
        model: Name of the model, which no file or repository is looked up by.
        unmapped: What has no counterpart, or can't be done from the record alone: name → value.
    """

    tool: str
    overrides: Mapping[str, str]
    model: str | None
    unmapped: Mapping[str, str]

    def words(self, typed: Iterable[str] = ()) -> list[str]:
        """Return the overrides as words of a command.

        Args:
            typed: The user's own words, which replace those of the record.
        """
        keys = {split(word)[1] for word in typed}
        return [
            f"{key}={value}"
            for key, value in self.overrides.items()
            if key not in keys and key.split(".")[0] not in keys
        ]

    def command(self) -> str:
        """Return the command that generates by it, for the user to complete."""
        return printable(" ".join(["compose", "model=…", *map(shlex.quote, self.words())]))

    def notes(self) -> list[str]:
        """Return one line for each thing that is not mapped."""
        return [printable(f"not mapped: {name}: {shorten(value, 120)}") for name, value in self.unmapped.items()]


def read_foreign(texts: Mapping[str, str]) -> ForeignRecord | None:
    """Read a record of A1111, Forge, SD.Next, ComfyUI, InvokeAI or SwarmUI; nothing of it is executed.

    Args:
        texts: Texts of an image file.

    Returns:
        The record; ``None`` if there is none, or one of a form that is not known.
    """
    facts = next((facts for read in _READERS if (facts := read(texts)) is not None), None)
    if facts is None:
        return None
    overrides = {**_texts(facts), **{key: str(value) for key, value in facts.values.items()}}
    if facts.guidance is not None:
        overrides["guidance"] = f"{facts.guidance:g}"
    overrides |= _scheduler(facts)
    return ForeignRecord(facts.tool, overrides, facts.model, facts.unmapped)


def _texts(facts: Facts) -> dict[str, str]:
    texts, overrides = dict(facts.texts), {}
    written = [mark for text in texts.values() for mark in marks.marks(text)] if facts.weights else []
    if any(marks.syntax_of(mark) == "weights" for mark in written):
        if "[" not in facts.weights:  # signs of the text in that tool
            texts = {key: re.sub(r"(?<!\\)([\[\]])", r"\\\1", text) for key, text in texts.items()}
        try:
            check_prompts(list(texts.values()), ())
            overrides["prompt_syntax"] = "weights"
        except ComposerError as error:
            texts = facts.texts
            facts.leave("weights of words", error.reason)
    for key, text in texts.items():
        try:
            overrides[key] = quote(text)
        except ComposerError as error:
            facts.leave(key, error.reason)
    return overrides


def _scheduler(facts: Facts) -> dict[str, str]:
    option = samplers.option_of(facts.sampler, facts.model) if facts.sampler else None
    if option is None:
        for name, value in (("sampler", facts.sampler), ("noise schedule", facts.schedule)):
            if value:
                facts.leave(name, value)
        return {}
    if not facts.schedule:
        return {"scheduler": option}
    setting, is_mapped = samplers.setting_of(facts.schedule, option)
    if not is_mapped:
        facts.leave("noise schedule", facts.schedule)
    return {"scheduler": option, **({f"scheduler.{setting}": "true"} if setting else {})}
