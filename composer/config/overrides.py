"""Translation of typed overrides into Hydra's grammar.

In Hydra's grammar commas, parentheses, quotes, `=`, `#` and every non-ASCII letter have a meaning or are an error. The
value of a text key is therefore quoted before Hydra parses it, unless it already uses that grammar:

    'one quoted string'   "or this"   'several','of them' (a sweep)   choice('a','b')   ['a batch','of prompts']   null
    @file.txt             the file's text; in a sweep, one job for each of its lines
    combinations(a {red|blue} cone)   in a sweep, one job for each combination of the choices
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from composer.config.adapter_nodes import ADAPTERS, full_key, names_source
from composer.config.dynamic_prompts import DynamicPrompts
from composer.config.keys import is_file_key, is_stray, is_text_key
from composer.errors import ComposerError
from composer.system.devices import are_indexed_devices
from composer.system.paths import expand_user
from composer.system.text_files import read_text, split_lines

#: Nodes whose keys are checked against a class, so that a new one needs no `+`.
OPEN_NODES = ("scheduler.", "output.", "model.", "callbacks.", "memory.", "accel.", "metric.", "precision.",
              "arguments.",              *(f"{root}." for root in ADAPTERS))  # fmt: skip

_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_STRINGS = rf"(?:null\s*,\s*)*{_STRING}(?:\s*,\s*(?:null|{_STRING}))*"  # null beside texts: with and without
_DELIBERATE = re.compile(rf"\s*(?:null|{_STRINGS}|choice\(\s*{_STRINGS}\s*\)|\[\s*{_STRINGS}\s*\])\s*", re.DOTALL)
#: All texts of a prompt with choices, in a sweep.
_COMBINATIONS = re.compile(r"\s*combinations\((.*)\)\s*", re.DOTALL)
#: Names such as `_target_`, which only option files may use; in keys, and in values as `{_target_: …}`.
_RESERVED = re.compile(r"(?:^|[.{,\s'\"])_\w+_(?:$|[.@])")
_RESERVED_INSIDE = re.compile(r"[{,\s'\"]_\w+_['\"]?\s*:")
#: A path that begins with `~`, in a list or a mapping.
_INSIDE = re.compile(r"(?<=[\[,:{\s])~[^,\]}]*")
#: A web address, whose query Hydra's grammar cannot parse.
_ADDRESS = re.compile(r"https?://[^\s'\",$]+", re.IGNORECASE)
_NUMERIC = re.compile(r"[\s\d.,+eE()-]+|[+-]?(?:nan|inf)|(?:range|choice|interval|tag)\(.*\)|null", re.IGNORECASE)


def prepare(overrides: Sequence[str], multirun: bool = False) -> list[str]:
    """Rewrite overrides so that Hydra parses them as they are meant.

    Args:
        overrides: `key=value` words as they are typed.
        multirun: Whether commas separate values of a sweep.

    Returns:
        One override in Hydra's grammar for each word.

    Raises:
        ComposerError: A word is no `key=value`, names a class, is not UTF-8, or names a file that cannot be read.
    """
    if any(is_stray(word) for word in overrides):
        from composer.config.stray_words import stray_word_error

        raise stray_word_error(overrides)
    wildcards = next((value for _, key, value in map(split, overrides) if key == "wildcards"), None)
    return [_prepare(_combined(word, wildcards, multirun), multirun) for word in overrides]


def _combined(word: str, wildcards: str | None, multirun: bool) -> str:
    """Replace `prompt=combinations(…)` by its texts, as values of a sweep."""
    prefix, key, value = split(word)
    match = _COMBINATIONS.fullmatch(value or "") if is_text_key(key) else None
    if match is None:
        return word
    if not multirun:
        reason = "makes a sweep of several prompts: type compose -m, or put quotes around it if it is the prompt itself"
        raise ComposerError(key, value, reason)
    return f"{prefix}{key}={quote_all(DynamicPrompts(wildcards, key).combinations(match[1]))}"


def quote(text: str) -> str:
    r"""Write a text as a quoted string of Hydra's grammar.

    Inside quotes Hydra unescapes `\'` and OmegaConf `\${`; both halve the backslashes before them and only there.

    Args:
        text: Any text.

    Returns:
        A string that Hydra parses to exactly this text.

    Raises:
        ComposerError: The text is `???`, which OmegaConf reads as a missing value even if it is quoted.
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
    """Write several texts as values of a sweep.

    `choice(…)` is not used, since Hydra loses its quotes when it passes the job on.

    Args:
        texts: The values.

    Returns:
        Quoted strings, separated by commas.
    """
    return ",".join(quote(text) for text in texts)


def split(override: str) -> tuple[str, str, str | None]:
    """Split an override into its parts.

    Args:
        override: Such as `++key=value`.

    Returns:
        Prefix (`~`, `+`, `++` or empty), key and value; the value is `None` without `=`.
    """
    match = re.match(r"(~|\+{0,2})([^=]*)(?:=(.*))?$", override, re.DOTALL)
    assert match  # the pattern takes any text
    return match[1], match[2], match[3]


def refuse_odd_text(key: str, text: str) -> None:
    """Refuse text that UTF-8 cannot encode, such as bytes of another encoding: no record could hold it.

    Args:
        key: Config key, for messages.
        text: The text.

    Raises:
        ComposerError: The text cannot be encoded.
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
    is_text = is_text_key(key) or is_file_key(key)
    if _RESERVED.search(key) or (value and not is_text and _RESERVED_INSIDE.search(value)):
        raise ComposerError(
            key, value, "classes are chosen by the names of options, which installed packages and your own conf bring"
        )
    if value is None or prefix == "~":
        return override
    if is_adapter := key.partition(".")[0] in ADAPTERS:
        key = full_key(key)
    if not prefix and key.startswith(OPEN_NODES):
        prefix = "++"
    if is_text_key(key) or (is_adapter and key.endswith(".word")):
        return f"{prefix}{key}={_text(key, value, multirun)}"
    if is_file_key(key) or names_source(key):
        return f"{prefix}{key}={_file(value, multirun)}"
    if key == "device" and are_indexed_devices(value):
        return f"{prefix}device.type={value}"
    if key == "guidance" and _NUMERIC.fullmatch(value):
        return f"{prefix}guidance.scale={value}"
    return f"{prefix}{key}={_quote_paths(value, multirun)}"


def _quote_paths(value: str, multirun: bool) -> str:
    """Quote web addresses and paths that begin with `~`, which Hydra cannot parse; paths are expanded when read."""
    if _ADDRESS.fullmatch(value):
        return quote(value)
    if "~" not in value or "'" in value or '"' in value:
        return value
    if value.startswith(("[", "{")):
        return _INSIDE.sub(lambda found: quote(found[0]), value)
    return ",".join(
        quote(path) if path.startswith("~") else path for path in (value.split(",") if multirun else [value])
    )


def _text(key: str, value: str, multirun: bool) -> str:
    if value.startswith("@"):
        lines = _read(key, value[1:])
        if not multirun:
            return quote("\n".join(lines))
        prompts = [line for line in lines if line.strip()]
        if not prompts:
            raise ComposerError(key, value, "the file has no lines to sweep over")
        return quote_all(prompts)
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
