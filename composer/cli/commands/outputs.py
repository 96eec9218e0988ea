"""`compose outputs ls`, `du` and `rm`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError, suggest
from composer.system import console
from composer.system.paths import expand_user

if TYPE_CHECKING:
    from composer.outputs.find import Output

ACTIONS = ("ls", "du", "rm")
SETTINGS = ("older_than", "keep", "kind", "dry_run")
#: Folder that is looked into if none is named.
ROOT = "outputs"


def run(line: ParsedArgs) -> int:
    """Run `compose outputs ls|du|rm [DIR …] [--older-than 30d] [--keep N] [kind=run,job] [dry_run=false]`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: There is no such action, setting or folder.
    """
    action, *words = line.overrides or [""]
    if action not in ACTIONS:
        raise ComposerError("outputs", action or None, f"say what to do.{suggest(action, ACTIONS)}", ACTIONS)
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    for key, value in settings.items():
        if key not in SETTINGS or (key == "dry_run" and action != "rm"):
            raise ComposerError(key, value, f"is no setting of outputs {action}.{suggest(key, SETTINGS)}", SETTINGS)
    named = [expand_user(word) for word in words if "=" not in word]
    outputs = _outputs(named, settings)
    if action == "rm":
        return _rm(outputs, bool(named), settings)
    return _ls(outputs) if action == "ls" else _du(outputs)


def _outputs(named: Sequence[Path], settings: dict[str, str]) -> list[Output]:
    from composer.outputs.find import find_outputs
    from composer.outputs.remove import check_kinds, hours_of, selected

    keep = settings.get("keep")
    if keep is not None and not (keep.isdecimal() and len(keep) < 10):
        raise ComposerError("keep", keep, "must be a number of outputs")
    age = settings.get("older_than")
    kinds = check_kinds("kind", settings.get("kind", "run,job,sweep"))
    roots = named or ([Path(ROOT)] if Path(ROOT).is_dir() else [])
    known = {one.path.resolve(): one for root in roots for one in find_outputs(root)}
    newest_first = sorted(known.values(), key=lambda one: -one.written)
    return selected(newest_first, hours_of("older_than", age) if age else None, int(keep) if keep else None, kinds)


def _ls(outputs: Sequence[Output]) -> int:
    lines = [
        f"{_size(one.bytes)}  {datetime.fromtimestamp(one.written):%Y-%m-%d %H:%M}  {one.kind:6} {one.path}"
        for one in outputs
    ]
    console.report_facts(_facts(outputs), "\n".join([*lines, f"{_total(outputs):>13}"]))
    return 0


def _du(outputs: Sequence[Output]) -> int:
    sizes: Counter[tuple[str, str]] = Counter()
    for one in outputs:
        sizes[one.kind, str(one.path.parent)] += one.bytes
    lines = [f"{_size(size)}  {kind:6} {folder}" for (kind, folder), size in sizes.most_common()]
    folders = [{"kind": kind, "folder": folder, "bytes": size} for (kind, folder), size in sizes.most_common()]
    facts = {"folders": folders, "bytes": sum(sizes.values()), "outputs": len(outputs)}
    console.report_facts(facts, "\n".join([*lines, f"{_total(outputs):>13}"]))
    return 0


def _rm(outputs: Sequence[Output], are_named: bool, settings: dict[str, str]) -> int:
    from composer.outputs.remove import remove

    if not are_named and not {"older_than", "keep"} & settings.keys():
        raise ComposerError("outputs rm", None, "say what goes: folders, --older-than 30d or --keep 100")
    if settings.get("dry_run", "true") not in ("true", "false"):
        raise ComposerError("dry_run", settings["dry_run"], "is not known", ("true", "false"))
    if not are_named and "kind" not in settings:
        outputs = [one for one in outputs if one.kind != "sweep"]  # hours of work: they go if they are named
    if settings.get("dry_run") != "false":
        text = "\n".join([*(f"{one.kind:6} {one.path}" for one in outputs), f"would remove {_total(outputs)}"])
        console.report_facts({**_facts(outputs), "removed": False, "other_files": 0}, f"{text}; dry_run=false does it")
        return 0
    gone, stay = [], 0
    for one in outputs:
        try:
            stay += remove(one)
            gone.append(one)
        except ComposerError as error:
            console.print_note(f"{one.path} stays: {error}")
    others = f"; {stay} files that composer did not write stay" if stay else ""
    console.report_facts({**_facts(gone), "removed": True, "other_files": stay}, f"removed {_total(gone)}{others}")
    return 0


def _facts(outputs: Sequence[Output]) -> dict[str, object]:
    entries = [{**asdict(one), "path": str(one.path)} for one in outputs]
    return {"outputs": entries, "bytes": sum(one.bytes for one in outputs)}


def _total(outputs: Sequence[Output]) -> str:
    return f"{_size(sum(one.bytes for one in outputs)).strip()} in {len(outputs)} outputs"


def _size(size: int) -> str:
    return f"{size / 2**20:9,.1f} MiB"
