"""The words of a command line, sorted: verb, overrides, flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from composer.errors import ComposerError, suggest

#: Hydra's own flags that are of use here; `True`: takes a value.
HYDRA_FLAGS = {
    "-m": False, "--multirun": False, "-c": True, "--cfg": True, "-p": True, "--package": True, "--resolve": False,
    "-i": True, "--info": True, "-sc": True, "--shell-completion": True, "--hydra-help": False,
}  # fmt: skip

#: Our own that take no value → fields of a line.
SWITCHES = {"-v": "verbose", "--verbose": "verbose", "--warm": "warm", "--trust": "trust", "--json": "json", "-q": "quiet",
            "--quiet": "quiet"}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A parsed command line."""

    verb: str | None
    overrides: list[str]
    flags: list[str]
    config_dir: str | None
    ask: str | None  # "help" or "version"
    verbose: bool = False
    warm: bool = False  # in the resident process
    trust: bool = False  # a picture's record, whatever it names
    json: bool = False
    quiet: bool = False

    @property
    def multirun(self) -> bool:
        return "-m" in self.flags or "--multirun" in self.flags


def parse(argv: list[str]) -> Line:
    """Sort the words of a command line."""
    verb, ask, config_dir = None, None, None
    said = dict.fromkeys(SWITCHES.values(), False)
    overrides: list[str] = []
    flags: list[str] = []
    words = iter(argv)
    for word in words:
        name, _, value = word.partition("=")
        if word in ("-h", "--help", "help"):
            ask = "help"
        elif word == "--version":
            ask = "version"
        elif word in SWITCHES:
            said[SWITCHES[word]] = True
        elif name in ("--config-dir", "-cd"):
            config_dir = value or next(words, None) or "(nothing)"
        elif name in HYDRA_FLAGS:
            flags.append(word)
            if HYDRA_FLAGS[name] and not value:
                flags.append(next(words, ""))
        elif word.startswith("-"):
            raise ComposerError(
                word, None, f"there is no such flag.{suggest(word, (*HYDRA_FLAGS, *SWITCHES))} `compose --help` shows what there is."
            )
        elif verb is None and not overrides and "=" not in word and not word.startswith(("~", "+")):
            verb = word
        else:
            overrides.append(word)
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ComposerError("--config-dir", config_dir, "there is no such folder")
    return Line(verb, overrides, flags, config_dir, ask, **said)
