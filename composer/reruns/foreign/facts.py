"""What a record of another tool says, in composer's terms, and JSON of untrusted files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Characters of the longest text that is read, and of a value that is shown.
MAX_CHARACTERS, MAX_SHOWN = 2_000_000, 80
#: Largest values that are read: of a seed, of steps, and of a side in pixels.
MAX_SEED, MAX_STEPS, MAX_SIDE = 2**64 - 1, 1000, 16_384


@dataclass
class Facts:
    """What a record says; fields that it does not state are ``None``.

    Attributes:
        tool: Name of the tool.
        texts: Prompt and negative prompt under composer's keys.
        values: Steps, seed, width and height under composer's keys.
        guidance: Guidance scale.
        sampler: Name of the sampler in that tool.
        schedule: Name of its noise schedule.
        model: Name of the model.
        weights: Brackets that give words weights in the tool's prompts.
        unmapped: What has no counterpart, or can't be done from the record alone: name → value.
    """

    tool: str
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    guidance: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    model: str | None = None
    weights: str = "()[]"
    unmapped: dict[str, str] = field(default_factory=dict)

    def set_text(self, key: str, value: Any) -> None:
        """Set a prompt; what is no text is not mapped.

        Args:
            key: ``prompt`` or ``negative_prompt``.
            value: Value of the record.
        """
        if isinstance(value, str):
            if value.strip() or key == "prompt":
                self.texts[key] = value.strip()
        elif value is not None:
            self.leave(key, value)

    def set_integer(self, key: str, value: Any, most: int, least: int = 0) -> None:
        """Set an integer; what is none, or not in the range, is not mapped.

        Args:
            key: Composer's key.
            value: Value of the record, as a number or as text.
            most: Largest number.
            least: Smallest number.
        """
        number = as_number(value)
        is_exact = len(str(value)) <= 40 and (type(value) is int or (isinstance(value, str) and value.isdecimal()))
        if is_exact:  # a float has 53 bits, and a seed 64
            number = int(value)
        if number is not None and number == int(number) and least <= number <= most:
            self.values[key] = int(number)
        elif value is not None:
            self.leave(key, value)

    def set_guidance(self, value: Any) -> None:
        """Set the guidance scale; what is no number is not mapped.

        Args:
            value: Value of the record.
        """
        number = as_number(value)
        if number is not None and 0 <= number <= 1000:
            self.guidance = number
        elif value is not None:
            self.leave("guidance", value)

    def leave_lora(self, name: Any, weight: Any, kind: str = "lora") -> None:
        """Note a LoRA, whose file a record only names.

        Args:
            name: Its name in the record.
            weight: Its scale.
            kind: What the tool calls it.
        """
        self.leave(f"{kind} {name}", f"{weight} (lora=FILE lora.scale=…)")

    def leave(self, name: str, value: Any) -> None:
        """Note what is not mapped.

        Args:
            name: Its name in the record.
            value: Its value; shortened to be shown.
        """
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        self.unmapped[name[:MAX_SHOWN]] = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def as_number(value: Any) -> float | None:
    """Read a finite number.

    Args:
        value: A number, or a text that is one.

    Returns:
        The number; ``None`` for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < 1e30 else None  # false for NaN too


def read_json(text: str) -> Mapping[str, Any] | None:
    """Read an object of JSON from an untrusted file.

    Args:
        text: The text.

    Returns:
        The object, with null for NaN, which ComfyUI writes; ``None`` if it is none.
    """
    try:
        value = json.loads(text, parse_constant=lambda name: None) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Mapping) else None
