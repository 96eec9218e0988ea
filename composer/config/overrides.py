r"""What users type → what Hydra parses.

Hydra's grammar gives commas, parentheses, quotes, `=`, `#` and every non-ASCII letter a meaning or an error of its own.
The
value of a text key is therefore quoted before Hydra sees it, unless it already is deliberate syntax:

    'one quoted string'   "or this"   'several','of them' (a sweep)   choice('a','b')   ['a batch','of prompts']   null
    @file.txt             the file's text; in a sweep, one job for each of its lines
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from composer.config.keys import FILE_KEYS, TEXT_KEYS, is_stray
from composer.errors import ComposerError
from composer.system.devices import are_indexed_devices
from composer.system.paths import expand_user
from composer.system.text_files import read_text, split_lines

#: Nodes whose keys are checked against a class, so that a new one needs no `+`.
OPEN_NODES = ("scheduler.", "output.", "model.", "callbacks.", "memory.", "accel.", "precision.")

_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_STRINGS = rf"(?:null\s*,\s*)*{_STRING}(?:\s*,\s*(?:null|{_STRING}))*"  # null beside texts: with and without
_DELIBERATE = re.compile(rf"\s*(?:null|{_STRINGS}|choice\(\s*{_STRINGS}\s*\)|\[\s*{_STRINGS}\s*\])\s*", re.DOTALL)
#: Names that only option files give: whose class an option is, and what Hydra would make of it. In keys, and in values
#: as `{_x_: …}`.
_RESERVED = re.compile(r"(?:^|[.{,\s'\"])_\w+_(?:$|[.@])")
_RESERVED_INSIDE = re.compile(r"[{,\s'\"]_\w+_['\"]?\s*:")
#: A path from a home folder, in a list or a mapping.
_INSIDE = re.compile(r"(?<=[\[,:{\s])~[^,\]}]*")
#: A web address: what comes after its `?` is no grammar of Hydra's.
_ADDRESS = re.compile(r"https?://[^\s'\",$]+", re.IGNORECASE)
_NUMBERS = re.compile(r"[\s\d.,+eE()-]+|[+-]?(?:nan|inf)|(?:range|choice|interval|tag)\(.*\)|null", re.IGNORECASE)


def prepare(overrides: Sequence[str], multirun: bool = False) -> list[str]:
    """Rewrite each `key=value` so that Hydra understands it as it was meant.

    Raises:
        ComposerError: a word that is no `key=value`, with what to type instead.
    """
    if any(is_stray(each) for each in overrides):
        from composer.config.stray_words import explained

        raise explained(overrides)
    return [_prepare(each, multirun) for each in overrides]


def quote(text: str) -> str:
    r"""Text → one quoted string of Hydra's grammar that yields exactly this text.

    Inside quotes Hydra unescapes `\'`, OmegaConf `\${`; both halve the backslashes before them and only there.

    Raises:
        ComposerError: for `???`, which OmegaConf takes for a missing value however it is quoted.
    """
    if text == "???":
        raise ComposerError(
            "override", text, "three question marks alone mean a missing value in a config; add a space or a word"
        )
    text = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)
    text = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", text)
    text = re.sub(r"(\\+)\Z", lambda m: m[1] * 2, text)
    return f"'{text}'"


def quote_all(texts: Iterable[str]) -> str:
    """Several texts as a sweep. Never `choice(…)`: Hydra loses its quotes when it hands the job on."""
    return ",".join(quote(text) for text in texts)


def split(override: str) -> tuple[str, str, str | None]:
    """`++key=value` → (`++`, `key`, `value`); value is None where there is no `=`."""
    match = re.match(r"(~|\+{0,2})([^=]*)(?:=(.*))?$", override, re.DOTALL)
    assert match  # the pattern takes any text
    return match[1], match[2], match[3]


def refuse_odd_text(key: str, text: str) -> None:
    """Refuse bytes of another encoding and halves of characters: no record could hold them.

    Raises:
        ComposerError: the text is none that UTF-8 can write.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        where = f"character {error.start + 1}"
        raise ComposerError(
            key, text, f"is not UTF-8 text at {where}: type it in a terminal whose encoding is UTF-8"
        ) from None


def _prepare(override: str, multirun: bool) -> str:
    prefix, key, value = split(override)
    for part in (key, value or ""):
        refuse_odd_text(key, part)
    name = key.rpartition(".")[2]
    is_text = name in (*TEXT_KEYS, *FILE_KEYS)
    if _RESERVED.search(key) or (value and not is_text and _RESERVED_INSIDE.search(value)):
        raise ComposerError(
            key, value, "classes are chosen by the names of options, which installed packages and your own conf bring"
        )
    if value is None or prefix == "~":
        return override
    if not prefix and key.startswith(OPEN_NODES):
        prefix = "++"
    if name in TEXT_KEYS:
        return f"{prefix}{key}={_text(key, value, multirun)}"
    if name in FILE_KEYS:
        return f"{prefix}{key}={_file(value, multirun)}"
    if key == "device" and are_indexed_devices(value):
        return f"{prefix}device.type={value}"
    if key == "guidance" and _NUMBERS.fullmatch(value):
        return f"{prefix}guidance.scale={value}"
    return f"{prefix}{key}={_homes(value, multirun)}"


def _homes(value: str, multirun: bool) -> str:
    """Paths that begin with `~` and web addresses quoted, which Hydra can't read; whoever reads the path expands it."""
    if _ADDRESS.fullmatch(value):
        return quote(value)
    if "~" not in value or "'" in value or '"' in value:
        return value
    if value.startswith(("[", "{")):
        return _INSIDE.sub(lambda found: quote(found[0]), value)
    return ",".join(
        quote(each) if each.startswith("~") else each for each in (value.split(",") if multirun else [value])
    )


def _text(key: str, value: str, multirun: bool) -> str:
    if value.startswith("@"):
        lines = _read(key, value[1:])
        if not multirun:
            return quote("\n".join(lines))
        wanted = [line for line in lines if line.strip()]
        if not wanted:
            raise ComposerError(key, value, "the file has no lines to sweep over")
        return quote_all(wanted)
    if _DELIBERATE.fullmatch(value):
        return value
    return quote(value)


def _file(value: str, multirun: bool) -> str:
    if _DELIBERATE.fullmatch(value):
        return value
    if value.startswith("[") and value.endswith("]"):
        return f"[{quote_all(name.strip() for name in value[1:-1].split(','))}]"
    return ",".join(name if name == "null" else quote(name) for name in value.split(",")) if multirun else quote(value)


def _read(key: str, name: str) -> list[str]:
    try:
        return split_lines(read_text(expand_user(name)))
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ComposerError(
            key, f"@{name}", f"this file can't be read: {why}. To start a prompt with @, quote it: \"'@…'\"."
        ) from None
