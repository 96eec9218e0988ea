"""`compose plugins new NAME`: a complete package with one callback, its option file and its tests."""

from __future__ import annotations

import re
from pathlib import Path

from composer.config.search_path import conf_folders, options
from composer.errors import ComposerError
from composer.system.files import write_atomically
from composer.version import __version__

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
TEMPLATE = Path(__file__).parent / "template"


def create(name: str, parent: Path) -> Path:
    """Write the package to a new directory.

    Args:
        name: Name of the callback, such as `film_grain`.
        parent: Directory that the new one is made in.

    Returns:
        The new directory.

    Raises:
        ComposerError: The name is not valid or is taken by an option, or the directory exists.
    """
    if not NAME.fullmatch(name):
        raise ComposerError(
            "plugins new", name, "must be lower-case letters, digits and single underscores, such as film_grain"
        )
    if name in options("callbacks", conf_folders()):
        raise ComposerError("plugins new", name, f"there is a callbacks={name} already: choose another name")
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "Class": "".join(map(str.capitalize, name.split("_"))),
        "version": __version__,
    }
    folder = parent / f"composer-{words['dashed']}"
    if folder.exists():
        raise ComposerError("plugins new", name, f"{folder.name} is there already")
    for file in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix == ".txt"):
        path = str(file.relative_to(TEMPLATE).with_suffix("")).replace("NAME", name)
        write_atomically(folder / path, filled(file.read_text("utf-8"), words).encode())
    return folder


def filled(text: str, words: dict[str, str]) -> str:
    """Fill in a template.

    Args:
        text: The template, with `<<name>>` for words.
        words: Name to word.

    Returns:
        The text.
    """
    return re.sub(r"<<(\w+)>>", lambda match: words[match[1]], text)
