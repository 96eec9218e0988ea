"""Names of devices, as torch spells them: `cuda`, `cuda:1`, `mps`; and what can be said of them without importing
torch.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, suggest

KINDS = ("auto", "cpu", "cuda", "mps")
#: Kinds of which there can be several.
COUNTED = ("cuda", "mps")
_INDEXED = re.compile(rf"({'|'.join(COUNTED)}):(0|[1-9]\d{{0,3}})")


def indexed(value: str) -> bool:
    """Whether all values of `device=…` are names with an index or without, and at least one has an index."""
    names = [name.strip() for name in value.split(",")]
    return any(map(_INDEXED.fullmatch, names)) and all(name in KINDS or _INDEXED.fullmatch(name) for name in names)


def named(key: str, value: Any) -> str:
    """A device's name.

    Raises:
        ComposerError: torch has no device of this name.
    """
    if value in KINDS or (isinstance(value, str) and _INDEXED.fullmatch(value)):
        return value
    near = suggest(str(value).partition(":")[0], KINDS)
    raise ComposerError(key, value, f"is not known.{near}", (*KINDS, "cuda:0", "cuda:1", "…"))


def refuse_absent(name: str) -> None:
    """Refuse a kind of device that this machine can't have, without torch.

    Raises:
        ComposerError: torch was built without it, or it belongs to another system.
    """
    kind = name.partition(":")[0]
    if (kind == "cuda" and not built_for_cuda()) or (kind == "mps" and sys.platform != "darwin"):
        why = "the torch that is installed is built without CUDA" if kind == "cuda" else "only Macs have one"
        raise ComposerError("device", name, f"this machine has none: {why}", ["cpu"])


@cache
def built_for_cuda() -> bool:
    """By the file in which torch says what it was built with; True where it does not tell."""
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    try:
        text = file.read_text("utf-8") if file else ""
    except (OSError, UnicodeDecodeError):
        return True
    found = [
        match[1] for name in ("cuda", "hip") if (match := re.search(rf"^{name}\b[^=\n]*=\s*(\S+)", text, re.MULTILINE))
    ]
    return not found or any(value != "None" for value in found)
