"""What `compose VERB` does, a function each; what they need is imported when they are called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from composer import speak
from composer.errors import ComposerError, suggest
from composer.line import Line


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
    from composer.cli import run

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


def checked(line: Line) -> int:
    """compose check [-m] overrides"""
    if line.multirun:
        from composer.sweep.run import check

        return check(line)
    from composer.api import compose_config
    from composer.check import check
    from composer.config import read

    found = check(read(compose_config(line.overrides, line.config_dir)))
    if not line.verbose:
        from composer.quiet import hush

        hush()
    from composer.build import parts

    notes = (*found.request.notes, *parts(found).notes)
    for each in notes:
        speak.note(each)
    speak.came_of_it("all is well: this can run", [], notes=notes)
    return 0


def config(line: Line) -> int:
    """compose config [overrides]"""
    from composer.origins import listing

    print(listing(line.overrides, line.config_dir, line.json))
    return 0


def doctor(line: Line) -> int:
    """compose doctor"""
    from composer.quiet import hush

    hush()
    from composer.doctor import report, told

    found = report()
    print(json.dumps(found, indent=1) if line.json else told(found))
    return 0


def completion(line: Line) -> int:
    """compose completion bash|zsh|fish"""
    from composer.completion import SCRIPTS, words

    if line.overrides[:1] == ["words"] and len(line.overrides) == 3:
        print("\n".join(words(*line.overrides[1:], verbs=sorted(VERBS))))
        return 0
    if len(line.overrides) != 1 or line.overrides[0] not in SCRIPTS:
        raise ComposerError("completion", " ".join(line.overrides) or None, "for which shell?", SCRIPTS)
    print(SCRIPTS[line.overrides[0]])
    return 0


def rerun(line: Line) -> int:
    """compose rerun IMAGE [overrides]"""
    from composer.rerun import verbs

    return verbs.rerun(line)


def info(line: Line) -> int:
    """compose info IMAGE"""
    from composer.rerun import verbs

    return verbs.info(line)


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
    "check": checked,
    "config": config,
    "doctor": doctor,
    "completion": completion,
    "rerun": rerun,
    "info": info,
}
