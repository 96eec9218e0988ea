"""Parsing of a command line into command, overrides and flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from composer.errors import ComposerError, suggest

#: Flags of Hydra that composer supports → whether they take a value.
HYDRA_FLAGS = {"-m": False, "--multirun": False, "-c": True, "--cfg": True, "--package": True, "--resolve": False}
#: Flags of Hydra that composer does not support → what to type instead.
INSTEAD = {
    "-p": 'prompt="…" for a prompt',
    **dict.fromkeys(("-i", "--info"), "`compose config`, which shows where each value comes from"),
    **dict.fromkeys(("-sc", "--shell-completion"), "`compose completion bash`"),
    "--hydra-help": "`compose --help`",
    **dict.fromkeys(("-cp", "--config-path", "-cn", "--config-name"), "--config-dir DIR"),
    "--experimental-rerun": "`compose rerun FILE`",
}

#: Commands that accept several runs.
SWEEPING = ("check", "plan")

#: Command → flags with a value that are short for a setting of the same name: `--port 80` for `port=80`.
SETTING_FLAGS = {
    "serve": ("--host", "--port", "--log"), "outputs": ("--older-than", "--keep"), "plugins": ("--kind",),
}  # fmt: skip

#: Flags without a value → attributes of `ParsedArgs`.
SWITCHES = {
    "-v": "verbose", "--verbose": "verbose", "-q": "quiet", "--quiet": "quiet",
    "--warm": "warm", "--trust": "trust", "--json": "json",
}  # fmt: skip


@dataclass(frozen=True)
class ParsedArgs:
    """A parsed command line.

    Attributes:
        command: Name of the command; `None` for a run.
        overrides: Words of the form `key=value` or `~key`, as they were typed.
        flags: Flags of Hydra, each followed by its value if it takes one.
        config_dir: Directory of option files that `--config-dir` names.
        help_or_version: `"help"` or `"version"` if one of them is requested.
        verbose: Whether the libraries log.
        warm: Whether to run in the resident process.
        trust: Whether to follow an image's record whatever it names.
        json: Whether to print JSON.
        quiet: Whether to print less.
    """

    command: str | None
    overrides: list[str]
    flags: list[str]
    config_dir: str | None
    help_or_version: str | None  # "help" or "version"
    verbose: bool = False
    warm: bool = False  # in the resident process
    trust: bool = False  # an image's record, whatever it names
    json: bool = False
    quiet: bool = False

    @property
    def multirun(self) -> bool:
        """Whether the line describes several runs."""
        return "-m" in self.flags or "--multirun" in self.flags

    def refuse_words(self, reason: str) -> None:
        """Refuse words behind a command that takes none.

        Args:
            reason: Why it takes none.

        Raises:
            ComposerError: There is a word.
        """
        if self.overrides:
            raise ComposerError(str(self.command), self.overrides[0], f"takes no words: {reason}")

    @property
    def config_part(self) -> tuple[str, str | None] | None:
        """The part of the config that `--cfg` requests and the node that `--package` requests, if any."""
        given = {flag: self.flags[i + 1] for i, flag in enumerate(self.flags) if HYDRA_FLAGS.get(flag)}
        kind = given.get("--cfg", given.get("-c"))
        return None if kind is None else (kind, given.get("--package"))

    @property
    def resolve(self) -> bool:
        """Whether interpolations are to be resolved in a config that is shown."""
        return "--resolve" in self.flags


def parse(argv: list[str]) -> ParsedArgs:
    """Parse a command line.

    Args:
        argv: Words of the command line, without the name of the program.

    Returns:
        The parsed line.

    Raises:
        ComposerError: A flag is unknown or has no effect, or the directory of `--config-dir` does not exist.
    """
    command, help_or_version, config_dir = None, None, None
    switches = dict.fromkeys(SWITCHES.values(), False)
    overrides: list[str] = []
    flags: list[str] = []
    words = iter(argv)
    for word in words:
        name, _, value = word.partition("=")
        if word in ("-h", "--help", "help"):
            help_or_version = "help"
        elif word == "--version":
            help_or_version = "version"
        elif word in SWITCHES:
            switches[SWITCHES[word]] = True
        elif name in ("--config-dir", "-cd"):
            config_dir = value or next(words, None) or "(nothing)"
        elif name in HYDRA_FLAGS:
            flags.append(name)
            if HYDRA_FLAGS[name]:
                flags.append(value or next(words, ""))
        elif name in SETTING_FLAGS.get(command or "", ()):
            overrides.append(f"{name.lstrip('-').replace('-', '_')}={value or next(words, '')}")
        elif word.startswith("-"):
            raise _no_flag(word, name, next(words, None))
        elif command is None and not overrides and "=" not in word and not word.startswith(("~", "+")):
            command = word
        else:
            overrides.append(word)
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ComposerError("--config-dir", config_dir, "there is no such folder")
    line = ParsedArgs(command, overrides, flags, config_dir, help_or_version, **switches)
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
        if not line.config_part and (line.resolve or "--package" in line.flags):
            raise ComposerError(next(flag for flag in line.flags if flag.startswith("--")), None, "goes with --cfg job")
        return
    for flag in filter(HYDRA_FLAGS.__contains__, line.flags):
        if flag not in ("-m", "--multirun"):
            raise ComposerError(flag, None, f"does not go with a command: `compose {flag} …`, without {line.command}")
        if line.command not in SWEEPING:
            takers = f"{' and '.join(SWEEPING)} take it, and {line.command} does not"
            reason = f"{takers}: leave it out, and give one value to each key"
            raise ComposerError(flag, None, reason)
