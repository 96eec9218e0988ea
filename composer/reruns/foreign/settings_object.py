"""What records that are one flat object of JSON have in common: keys of their own for the same settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from composer.reruns.foreign.facts import MAX_SEED, MAX_SIDE, MAX_STEPS, Facts


def take_settings(
    facts: Facts, settings: dict[str, Any], *, prompt: str, negative_prompt: str, guidance: Collection[str]
) -> None:
    """Read prompts, steps, seed, size and guidance, and take them out of the settings.

    Args:
        facts: Where what they say is set.
        settings: Settings of the record by its own keys; those that are read are removed.
        prompt: The record's key of the prompt.
        negative_prompt: The record's key of the negative prompt.
        guidance: The record's keys of the guidance scale; a later one, of models with a scale of their own, decides.
    """
    facts.set_text("prompt", settings.pop(prompt, None))
    facts.set_text("negative_prompt", settings.pop(negative_prompt, None))
    facts.set_integer("steps", settings.pop("steps", None), MAX_STEPS, 1)
    facts.set_integer("seed", settings.pop("seed", None), MAX_SEED)
    for side in ("width", "height"):
        facts.set_integer(side, settings.pop(side, None), MAX_SIDE, 8)
    for key in guidance:
        facts.set_guidance(settings.pop(key, None))


def leave_settings(facts: Facts, settings: Mapping[str, Any], ignored: Collection[str]) -> None:
    """Note the settings that are left as not mapped, but for empty ones.

    Args:
        facts: Where they are noted.
        settings: Settings of the record.
        ignored: Keys that say nothing about what is generated.
    """
    for key, value in settings.items():
        if key not in ignored and value not in (None, "", [], {}):
            facts.leave(str(key), value)
