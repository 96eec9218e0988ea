"""Code blocks of a page of the documentation, and how they are run."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.config.compose import compose_config
from composer.config.read import read
from composer.training.settings import parse_training

ROOT = Path(__file__).parent.parent
#: The mark of a block that needs a GPU, a hub or a terminal: its commands are only composed.
NO_RUN = "no-run"
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<\s*'?(\w+)'?")


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        language: First word of the info string, such as `bash`.
        runs: Whether it is run; otherwise only its overrides are checked.
        text: The code, without the indentation of the fence.
    """

    language: str
    runs: bool
    text: str


def blocks_of(page: str) -> list[Block]:
    """Return the code blocks of a page, by its path in the repository, in their order."""
    content = (ROOT / page).read_text("utf-8")
    return [_block(match) for match in _BLOCK.finditer(content)]


def commands_of(text: str) -> Iterator[str]:
    """Split a shell block into commands; a here-document belongs to the command that opens it."""
    lines = iter(text.replace("\\\n", " ").splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if opening := _HEREDOC.search(line):
            rest = iter(lambda: next(lines), opening[1])
            line = "\n".join([line, *rest, opening[1]])
        yield line


def words_of(command: str) -> list[str]:
    """Return the arguments of a `compose` command, without its comment."""
    return shlex.split(command, comments=True)[1:]


def run_page(page: str, compose: Callable[..., Any], folder: Path) -> int:
    """Run all blocks of a page in their order and in one directory; return how many commands and blocks there were."""
    names: dict[str, Any] = {"__name__": "page"}
    count = 0
    for block in blocks_of(page):
        if block.language == "python" and block.runs:
            exec(compile(block.text, page, "exec"), names)
            count += 1
        for command in commands_of(block.text) if block.language == "bash" else ():
            run_command(command, block.runs, compose, folder)
            count += 1
    return count


def run_command(command: str, runs: bool, compose: Callable[..., Any], folder: Path) -> None:
    """Run a command, `compose` in this process and others in a shell, or only compose its config."""
    if not command.startswith("compose"):
        if runs:
            subprocess.run(["sh", "-c", command], cwd=folder, check=True)
        return
    words = words_of(command)
    if not runs:
        check_overrides(words)
        return
    done = compose(*words)
    assert done.code == 0, f"{command}: {done.err}"


def check_overrides(words: list[str]) -> None:
    """Compose the config of a single run, or of a training, that can't be run here."""
    if words[:1] == ["train"]:
        assert parse_training(words[1:])
        return
    if not {"-m", "rerun", "cache", "plan"} & set(words):
        overrides = [word for word in words if "=" in word and not word.startswith("--")]
        assert read(compose_config(overrides))


def _block(match: re.Match[str]) -> Block:
    language, *marks = match["info"].split() or [""]
    indent = len(match["indent"])
    text = "".join(line[indent:] if line.strip() else line for line in match["text"].splitlines(keepends=True))
    return Block(language, NO_RUN not in marks, text)
