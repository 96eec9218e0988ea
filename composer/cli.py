"""argv → a verb or a Hydra run. Imports no torch until a config is valid.

Exit codes: 0 done; 1 the run failed; 2 the request can't be met; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from composer import argv as typed
from composer.errors import ComposerError, printable, suggest

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Hydra's own flags that are of use here; `True`: takes a value.
HYDRA_FLAGS = {
    "-m": False, "--multirun": False, "-c": True, "--cfg": True, "-p": True, "--package": True, "--resolve": False,
    "-i": True, "--info": True, "-sc": True, "--shell-completion": True, "--hydra-help": False,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A parsed command line."""

    verb: str | None
    overrides: list[str]
    flags: list[str]
    config_dir: str | None
    verbose: bool
    ask: str | None  # "help" or "version"

    @property
    def multirun(self) -> bool:
        return "-m" in self.flags or "--multirun" in self.flags


def main(argv: Sequence[str] | None = None) -> int:
    """The command line's entry; returns the exit code."""
    verbose = False
    try:
        line = parse(list(sys.argv[1:] if argv is None else argv))
        verbose = line.verbose
        return run(line)
    except ComposerError as error:
        print(f"compose: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("compose: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if verbose:
            raise
        print(printable(f"compose: {type(error).__name__}: {error} (-v shows where)"), file=sys.stderr)
        return 1


def parse(argv: list[str]) -> Line:
    """Sort the words of a command line."""
    verb, ask, config_dir, verbose = None, None, None, False
    overrides: list[str] = []
    flags: list[str] = []
    words = iter(argv)
    for position, word in enumerate(words):
        name, _, value = word.partition("=")
        if word in ("-h", "--help", "help"):
            ask = "help"
        elif word == "--version":
            ask = "version"
        elif word in ("-v", "--verbose"):
            verbose = True
        elif name in ("--config-dir", "-cd"):
            config_dir = value or next(words, None) or "(nothing)"
        elif name in HYDRA_FLAGS:
            flags.append(word)
            if HYDRA_FLAGS[name] and not value:
                flags.append(next(words, ""))
        elif word.startswith("-"):
            raise ComposerError(word, None, f"there is no such flag.{suggest(word, HYDRA_FLAGS)} `compose --help` shows what there is.")
        elif position == 0 and "=" not in word and not word.startswith(("~", "+")):
            verb = word
        else:
            overrides.append(word)
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ComposerError("--config-dir", config_dir, "there is no such folder")
    return Line(verb, overrides, flags, config_dir, verbose, ask)


def run(line: Line) -> int:
    if line.ask == "help":
        from composer.help import TEXT

        print(TEXT)
        return 0
    if line.ask == "version":
        from composer import __version__

        print(f"composer {__version__}")
        return 0
    if line.verb is None:
        return hydra_run(line)
    if line.verb not in VERBS:
        near = suggest(line.verb, VERBS)
        raise ComposerError(line.verb, None, f"is no verb and no key=value.{near}", VERBS)
    return VERBS[line.verb](line)


def list_options(line: Line) -> int:
    """compose list [group]"""
    from composer.plugins import conf_folders, groups, options

    folders = conf_folders(line.config_dir)
    there = groups(folders)
    if not line.overrides:
        print("\n".join(f"{group:12}{len(options(group, folders)):3} options   compose list {group}" for group in there))
    for group in line.overrides:
        if group not in there:
            raise ComposerError("list", group, f"there is no such group.{suggest(group, there)}", there)
        found = options(group, folders)
        width = max(map(len, found)) + 2
        print("\n".join(f"{group}={name:{width}}{text}" for name, text in found.items()))
    return 0


def show(line: Line) -> int:
    """compose show [overrides]"""
    from composer.api import compose_config
    from composer.check import check
    from composer.config import read

    checked = check(read(compose_config(line.overrides, line.config_dir)))
    if not line.verbose:
        from composer.quiet import hush

        hush()
    from composer.show import describe

    print(describe(checked))
    return 0


VERBS: dict[str, Callable[[Line], int]] = {"list": list_options, "show": show}


def hydra_run(line: Line) -> int:
    """Let Hydra compose the config and make the folder, then run the job in it; in a multirun, one job after the other."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands us its exceptions instead of printing them
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from composer.explain import explain
    from composer.plugins import conf_folders, register_search_path

    failures: list[tuple[str, Exception]] = []

    def job(config: DictConfig) -> None:
        try:
            run_job(config, Path(HydraConfig.get().runtime.output_dir), line.verbose)
        except Exception as error:  # kept from Hydra, which would print a line of its own
            failures.append((str(HydraConfig.get().job.get("num", 0)), error))

    register_search_path(line.config_dir)
    overrides = typed.prepare(line.overrides, line.multirun)
    before = sys.argv
    sys.argv = ["compose", *line.flags, *overrides]
    try:
        hydra.main(config_path=None, config_name="compose", version_base="1.3")(job)()
    except Exception as error:
        raise explain(error, overrides, conf_folders(line.config_dir)) from error
    finally:
        sys.argv = before
    return report(failures, line.multirun)


def report(failures: list[tuple[str, Exception]], multirun: bool) -> int:
    """A single run fails as its job did; a multirun lists what failed."""
    if failures and not multirun:
        raise failures[0][1]
    for number, error in failures:
        print(printable(f"compose: job {number}: {error}"), file=sys.stderr)
    return 1 if failures else 0


def run_job(config: DictConfig, folder: Path, verbose: bool) -> None:
    """Make the pictures of one composed config and say where they are."""
    from composer.config import read
    from composer.execute import execute

    if not verbose:
        from composer.quiet import hush

        hush()
    try:
        result = execute(read(config), folder)
    except BaseException:
        leave_nothing(folder)
        raise
    paths = result.save(folder)
    where = paths[0] if len(paths) == 1 else f"{len(paths)} pictures in {paths[0].parent}"
    print(f"{shown(where)}  (seed {result.seeds[0]}, {result.iterations} iterations, {result.seconds:.1f} s)")


def shown(path: Path | str) -> str:
    """A path relative to the current folder where that is shorter."""
    text = str(path)
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def leave_nothing(folder: Path) -> None:
    """Remove the folder that Hydra made for a job that wrote nothing, with the date and `outputs` above it while they are empty."""
    for each in (folder, *folder.parents[:2]):
        try:
            each.rmdir()
        except OSError:
            return
