"""What `compose VERB` does, a function each; what they need is imported when they are called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from composer import speak
from composer.errors import ComposerError
from composer.homes import expanded
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
    manner = [flag for flag, wanted in {"--json": line.json, "--quiet": line.quiet}.items() if wanted]
    return client.call([*folder, *manner, *line.overrides])


def list_options(line: Line) -> int:
    """compose list [group] [model=NAME]"""
    from composer.listing import listed, text

    found = listed(line.overrides, line.config_dir)
    speak.facts({"options": found}, text(found, bool(line.overrides)))
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
    from composer.build import tried
    from composer.facts import facts
    from composer.show import describe

    notes = tried(checked)
    text = describe(checked, notes)
    speak.facts(facts(checked, notes, text), text)
    return 0


def plugins(line: Line) -> int:
    """compose plugins [new NAME]"""
    if not line.overrides:
        from composer.plugin_list import facts, found, listing

        there = found()
        speak.facts({"plugins": facts(there)}, listing(there))
        return 0
    if line.overrides[0] != "new" or len(line.overrides) != 2:
        raise ComposerError("plugins", " ".join(line.overrides), "say `compose plugins` or `compose plugins new NAME`")
    from composer.plugin_new import create

    folder = create(line.overrides[1], Path.cwd())
    told = f"{folder.name}: now `pip install -e ./{folder.name}` and `compose callbacks=[progress,{line.overrides[1]}]`"
    speak.came_of_it(told, [folder.name])
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

    folder = _folder(line).resolve()
    found = asked(folder)
    if Path(found.get("cwd", ".")).is_dir():
        os.chdir(found.get("cwd", "."))  # where its files were named from
    overrides = [*found["overrides"], *found.get("manner", ()), f"hydra.sweep.dir={folder}"]
    from composer.cli import run

    return run(replace(line, verb=None, overrides=overrides, flags=["-m"]))


def status(line: Line) -> int:
    """compose status DIR"""
    from composer.sweep.ledger import Ledger, facts
    from composer.sweep.table import status_text, watch

    folder = _folder(line)
    if sys.stdout.isatty() and not (line.json or line.quiet):
        watch(folder)
        return 0
    ledger = Ledger.read(folder)
    page = [folder / "index.html"] if (folder / "index.html").exists() else []
    speak.came_of_it(status_text(ledger), page, **facts(folder, ledger.rows(), ledger.journal.briefs))
    return 0


def clean(line: Line) -> int:
    """compose clean [DIR] [older=DAYS] [dry_run=false]"""
    from composer.clean import clean, told

    folders, gone = clean(line.overrides)
    found = [{"path": str(folder.path), "size": folder.size, "sweep": folder.sweep} for folder in folders]
    speak.facts({"removed": gone, "folders": found}, told(folders, gone))
    return 0


def cached(line: Line) -> int:
    """compose cache ls|clear"""
    from composer import cache

    if line.overrides == ["clear"]:
        freed = cache.clear()
        speak.facts({"freed": freed, "folder": cache.root()}, f"freed {freed / 2**20:,.0f} MiB in {cache.root()}")
        return 0
    if line.overrides != ["ls"]:
        raise ComposerError("cache", " ".join(line.overrides) or None, "say `compose cache ls` or `compose cache clear`")
    there = cache.entries()
    used, most = sum(entry.size for entry in there), cache.limit()
    lines = [
        f"{entry.size / 2**20:9,.0f} MiB  {datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}  {entry.kind:10} {entry.key}"
        for entry in there
    ]
    lines.append(f"{used / 2**30:.2f} GiB of at most {most / 2**30:g} (COMPOSER_CACHE_GIB) in {cache.root()} (COMPOSER_CACHE)")
    entries = [{"key": entry.key, "kind": entry.kind, "bytes": entry.size, "used": entry.used} for entry in there]
    speak.facts({"entries": entries, "bytes": used, "limit": most, "folder": cache.root()}, "\n".join(lines))
    return 0


def checked(line: Line) -> int:
    """compose check [-m] overrides"""
    if not line.verbose:
        from composer.quiet import hush

        hush()
    if line.multirun:
        from composer.sweep.run import check

        return check(line)
    from composer.api import compose_config
    from composer.check import check
    from composer.config import read

    found = check(read(compose_config(line.overrides, line.config_dir)))
    from composer.build import tried

    notes = tried(found)
    for each in notes:
        speak.note(each)
    speak.came_of_it("all is well: this can run", [], notes=notes)
    return 0


def config(line: Line) -> int:
    """compose config [overrides]"""
    from composer.origins import listing

    speak.facts(*listing(line.overrides, line.config_dir))
    return 0


def doctor(line: Line) -> int:
    """compose doctor"""
    from composer.quiet import hush

    hush()
    from composer.doctor import report, told

    found = report()
    speak.facts(found, told(found))
    return 0


def completion(line: Line) -> int:
    """compose completion bash|zsh|fish"""
    if line.json:
        raise ComposerError("--json", None, "completion prints a script for a shell: leave it out")
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
    return expanded(line.overrides[0])


VERBS: dict[str, Callable[[Line], int]] = {
    "list": list_options,
    "show": show,
    "plugins": plugins,
    "plan": plan,
    "resume": resume,
    "status": status,
    "clean": clean,
    "cache": cached,
    "warm": warm,
    "check": checked,
    "config": config,
    "doctor": doctor,
    "completion": completion,
    "rerun": rerun,
    "info": info,
}
