"""`compose plugins new NAME --kind KIND`: a complete package with one extension, its option file and its tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from composer.config.search_path import conf_folders, options
from composer.errors import ComposerError, suggest
from composer.system.files import write_atomically
from composer.version import __version__

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
TEMPLATES = Path(__file__).parent / "template"
#: Templates of files that every package has; `{kind}` beside it holds those of a kind.
COMMON = "common"


@dataclass(frozen=True)
class Kind:
    """What a new package brings.

    Attributes:
        group: Group of its option file.
        what: What it is, for the texts of the package.
        usage: Command lines that use it, with `<<name>>` for its name; the first is printed.
    """

    group: str
    what: str
    usage: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "callback": Kind(
        "callbacks",
        "a callback",
        (
            "compose callbacks=[progress,<<name>>]",
            "compose callbacks=[progress,<<name>>] callbacks.<<name>>.amount=0.5",
        ),
    ),
    "task": Kind("task", "a task", ("compose task=<<name>>", "compose task=<<name>> noise=1.05 images=4")),
    "guidance": Kind(
        "guidance", "a guidance", ("compose guidance=<<name>>", "compose guidance=<<name>> guidance.scale=9")
    ),
    "option": Kind("accel", "an option of accel", ("compose accel=[<<name>>]",)),
    "metric": Kind("metric", "a metric", ("compose metric=[<<name>>]", "compose -m seed=1,2,3 metric=[<<name>>]")),
    "tool": Kind("tool", "a tool", ("compose recipe=<<name>>", "compose -m recipe=<<name>> changed.bits=1,2,4")),
    "family": Kind("model", "a model family", ("compose model=<<name>>", "compose model=local model.source=FOLDER")),
}


def create(name: str, parent: Path, kind: str = "callback") -> Path:
    """Write the package to a new directory.

    Args:
        name: Name of the extension, such as `film_grain`.
        parent: Directory that the new one is made in.
        kind: A key of `KINDS`.

    Returns:
        The new directory.

    Raises:
        ComposerError: The kind is unknown, the name is not valid or is taken by an option or a family, or the directory
            exists.
    """
    if kind not in KINDS:
        raise ComposerError("--kind", kind, f"there is no such kind of plugin.{suggest(kind, tuple(KINDS))}", KINDS)
    if not NAME.fullmatch(name):
        raise ComposerError(
            "plugins new", name, "must be lower-case letters, digits and single underscores, such as film_grain"
        )
    _refuse_taken(name, kind)
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "Class": "".join(map(str.capitalize, name.split("_"))),
        "version": __version__,
        "what": KINDS[kind].what,
        "What": KINDS[kind].what.capitalize(),
        "usage": "\n".join(f"    {fill(line, {'name': name})}" for line in KINDS[kind].usage),
        "families": FAMILIES.format(name=name) if kind == "family" else "",
    }
    folder = parent / f"composer-{words['dashed']}"
    if folder.exists():
        raise ComposerError("plugins new", name, f"{folder.name} is there already")
    for root in (TEMPLATES / COMMON, TEMPLATES / kind):
        for file in sorted(path for path in root.rglob("*.txt") if path.is_file()):
            path = str(file.relative_to(root).with_suffix("")).replace("NAME", name)
            write_atomically(folder / path, fill(file.read_text("utf-8"), words).encode())
    return folder


#: Entry point of a model family, in the package's pyproject.toml.
FAMILIES = """
# Its model family, in a module that imports no torch.
[project.entry-points."composer.families"]
{name} = "composer_{name}.info:INFO"
"""


def usage(name: str, kind: str) -> str:
    """Return a command line that uses a new extension.

    Args:
        name: Its name.
        kind: A key of `KINDS`.

    Returns:
        The line.
    """
    return fill(KINDS[kind].usage[0], {"name": name})


def fill(text: str, words: Mapping[str, str]) -> str:
    """Fill in a template.

    Args:
        text: The template, with `<<name>>` for words.
        words: Name to word.

    Returns:
        The text.
    """
    return re.sub(r"<<(\w+)>>", lambda match: words[match[1]], text)


def _refuse_taken(name: str, kind: str) -> None:
    """Refuse a name that an option of the group has, or a model family."""
    from composer.checkpoints.layouts import families

    groups = ("tool", "recipe") if kind == "tool" else (KINDS[kind].group,)  # a recipe shows how a tool is used
    for group in groups:
        if name in options(group, conf_folders()):
            raise ComposerError("plugins new", name, f"{group}={name} is there already: choose another name")
    if kind == "family" and name in families():
        raise ComposerError("plugins new", name, f"model.family={name} is there already: choose another name")
