"""argv → a verb or a Hydra run. Imports no torch until a config is valid.

Exit codes: 0 done; 1 the run failed; 2 the request can't be met; 3 another process works in the folder; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from composer.errors import ComposerError, printable, suggest
from composer.line import Line, parse


def main(argv: Sequence[str] | None = None) -> int:
    """The command line's entry; returns the exit code."""
    verbose = False
    try:
        line = parse(list(sys.argv[1:] if argv is None else argv))
        verbose = line.verbose
        return run(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if _interrupted(error):
            print("compose: interrupted", file=sys.stderr)
            return 130
        if isinstance(error, ComposerError):
            print(f"compose: {error}", file=sys.stderr)
            return error.exit_code
        if verbose:
            raise
        print(printable(f"compose: {type(error).__name__}: {error} (-v shows where)"), file=sys.stderr)
        return 1


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is where it began: Hydra's parser, stopped at a bad moment, makes an error of its own of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def run(line: Line) -> int:
    if line.ask == "help":
        from composer.help import TEXT

        print(TEXT)
        return 0
    if line.ask == "version":
        from composer import __version__

        print(f"composer {__version__}")
        return 0
    if line.warm:
        return warm(line)
    if line.verb is None:
        from composer.jobs import hydra_run

        return hydra_run(line)
    if line.verb not in VERBS:
        near = suggest(line.verb, VERBS)
        raise ComposerError(line.verb, None, f"is no verb and no key=value.{near}", VERBS)
    return VERBS[line.verb](line)


def warm(line: Line) -> int:
    """compose --warm overrides; compose warm status|stop"""
    if os.name == "nt":
        raise ComposerError("--warm", None, "needs Unix sockets, which Windows lacks: run without it")
    from composer.warm import client

    if line.verb == "warm":
        return client.asked(line.overrides)
    if line.verb is not None or line.flags or line.verbose:
        what = line.verb or " ".join(line.flags) or "-v"
        raise ComposerError("--warm", what, "is for a single run (a sweep keeps its models by itself): leave one of the two out")
    folder = [] if line.config_dir is None else ["--config-dir", line.config_dir]
    return client.call([*folder, *line.overrides])


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


def plugins(line: Line) -> int:
    """compose plugins [new NAME]"""
    if not line.overrides:
        from composer.plugin_list import listing

        print(listing())
        return 0
    if line.overrides[0] != "new" or len(line.overrides) != 2:
        raise ComposerError("plugins", " ".join(line.overrides), "say `compose plugins` or `compose plugins new NAME`")
    from composer.plugin_new import create

    folder = create(line.overrides[1], Path.cwd())
    print(f"{folder.name}: now `pip install -e ./{folder.name}` and `compose callbacks=[progress,{line.overrides[1]}]`")
    return 0


def plan(line: Line) -> int:
    """compose plan -m overrides"""
    from composer.jobs import SEARCH
    from composer.sweep.run import run as sweep

    if SEARCH in line.overrides:
        raise ComposerError("plan", SEARCH, "a search has no plan: what it tries next depends on what it found")
    return sweep(replace(line, verb=None, overrides=[*line.overrides, "sweep.dry_run=true"]))


def resume(line: Line) -> int:
    """compose resume DIR"""
    from composer.sweep.journal import asked

    folder = _folder(line)
    found = asked(folder)
    if Path(found.get("cwd", ".")).is_dir():
        os.chdir(found.get("cwd", "."))  # where its files were named from
    overrides = [*found["overrides"], *found.get("manner", ()), f"hydra.sweep.dir={folder}"]
    return run(replace(line, verb=None, overrides=overrides, flags=["-m"]))


def status(line: Line) -> int:
    """compose status DIR"""
    from composer.sweep.table import status_text, watch

    folder = _folder(line)
    if sys.stdout.isatty():
        watch(folder)
    else:
        print(status_text(folder))
    return 0


def cached(line: Line) -> int:
    """compose cache ls|clear"""
    from composer import cache

    if line.overrides == ["clear"]:
        print(f"freed {cache.clear() / 2**20:,.0f} MiB in {cache.root()}")
        return 0
    if line.overrides != ["ls"]:
        raise ComposerError("cache", " ".join(line.overrides) or None, "say `compose cache ls` or `compose cache clear`")
    there = cache.entries()
    for entry in there:
        print(f"{entry.size / 2**20:9,.0f} MiB  {datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}  {entry.kind:10} {entry.key}")
    used, most = (each / 2**30 for each in (sum(entry.size for entry in there), cache.limit()))
    print(f"{used:.2f} GiB of at most {most:g} (COMPOSER_CACHE_GIB) in {cache.root()} (COMPOSER_CACHE)")
    return 0


def rerun(line: Line) -> int:
    """compose rerun IMAGE [overrides]"""
    from composer.rerun.verbs import rerun

    return rerun(line)


def info(line: Line) -> int:
    """compose info IMAGE"""
    from composer.rerun.verbs import info

    return info(line)


def _folder(line: Line) -> Path:
    if len(line.overrides) != 1:
        raise ComposerError(line.verb, " ".join(line.overrides), f"say `compose {line.verb} DIR`, with a sweep's folder")
    return Path(line.overrides[0]).resolve()


VERBS: dict[str, Callable[[Line], int]] = {
    "list": list_options,
    "show": show,
    "plugins": plugins,
    "plan": plan,
    "resume": resume,
    "status": status,
    "cache": cached,
    "warm": warm,
    "rerun": rerun,
    "info": info,
}
