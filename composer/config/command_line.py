"""The words of a command line, sorted: command, overrides, flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from composer.errors import ComposerError, suggest

#: Hydra's own flags that composer has made its own; `True`: takes a value.
HYDRA_FLAGS = {"-m": False, "--multirun": False, "-c": True, "--cfg": True, "--package": True, "--resolve": False}
#: Those that it has not, and what to type instead.
INSTEAD = {
    "-p": 'prompt="…" for a prompt',
    **dict.fromkeys(("-i", "--info"), "`compose config`, which tells where each value comes from"),
    **dict.fromkeys(("-sc", "--shell-completion"), "`compose completion bash`"),
    "--hydra-help": "`compose --help`",
    **dict.fromkeys(("-cp", "--config-path", "-cn", "--config-name"), "--config-dir DIR"),
    "--experimental-rerun": "`compose rerun IMAGE`",
}

#: Commands that can be about several runs.
SWEEPING = ("check", "plan")

#: Our own that take no value → fields of a line.
SWITCHES = {"-v": "verbose", "--verbose": "verbose", "--warm": "warm", "--trust": "trust", "--json": "json", "-q": "quiet",
            "--quiet": "quiet"}  # fmt: skip


@dataclass(frozen=True)
class ParsedArgs:
    """A parsed command line."""

    command: str | None
    overrides: list[str]
    flags: list[str]
    config_dir: str | None
    ask: str | None  # "help" or "version"
    verbose: bool = False
    warm: bool = False  # in the resident process
    trust: bool = False  # an image's record, whatever it names
    json: bool = False
    quiet: bool = False

    @property
    def multirun(self) -> bool:
        return "-m" in self.flags or "--multirun" in self.flags

    @property
    def shows(self) -> tuple[str, str | None] | None:
        """Which part of the config --cfg and --package ask for, if any."""
        given = {flag: self.flags[i + 1] for i, flag in enumerate(self.flags) if HYDRA_FLAGS.get(flag)}
        kind = given.get("--cfg", given.get("-c"))
        return None if kind is None else (kind, given.get("--package"))

    @property
    def resolve(self) -> bool:
        return "--resolve" in self.flags


def parse(argv: list[str]) -> ParsedArgs:
    """Sort the words of a command line."""
    command, ask, config_dir = None, None, None
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
            flags.append(name)
            if HYDRA_FLAGS[name]:
                flags.append(value or next(words, ""))
        elif word.startswith("-"):
            raise _no_flag(word, name, next(words, None))
        elif command is None and not overrides and "=" not in word and not word.startswith(("~", "+")):
            command = word
        else:
            overrides.append(word)
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ComposerError("--config-dir", config_dir, "there is no such folder")
    line = ParsedArgs(command, overrides, flags, config_dir, ask, **said)
    _refuse_flags(line)
    return line


def _no_flag(word: str, name: str, following: str | None) -> ComposerError:
    from composer.config.spellings import for_flag

    advice = f"Type {INSTEAD[name]}." if name in INSTEAD else for_flag(word, following)
    near = f" {advice}" if advice else suggest(word, (*HYDRA_FLAGS, *SWITCHES))
    return ComposerError(word, None, f"there is no such flag.{near} `compose --help` shows what there is.")


def _refuse_flags(line: ParsedArgs) -> None:
    """Refuse flags that would have no effect."""
    if line.command is None:
        if not line.shows and (line.resolve or "--package" in line.flags):
            raise ComposerError(next(flag for flag in line.flags if flag.startswith("--")), None, "goes with --cfg job")
        return
    for flag in (each for each in line.flags if each.startswith("-")):
        if flag not in ("-m", "--multirun"):
            raise ComposerError(flag, None, f"does not go with a command: `compose {flag} …`, without {line.command}")
        if line.command not in SWEEPING:
            reason = f"{' and '.join(SWEEPING)} take it, and {line.command} does not: leave it out, and give one value to each key"
            raise ComposerError(flag, None, reason)
