"""`compose models ls`, `find`, `pull`, `verify` and `rm`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError, suggest
from composer.system import console

#: What can be done → its settings.
ACTIONS: dict[str, tuple[str, ...]] = {
    "ls": ("folders",),
    "find": ("revision",),
    "pull": ("revision", "dry_run"),
    "verify": (),
    "rm": ("dry_run",),
}


def run(line: ParsedArgs) -> int:
    """Run `compose models ACTION [NAME] [settings]`.

    Args:
        line: The command line.

    Returns:
        The exit code; 1 if a file that is verified is damaged or missing.

    Raises:
        ComposerError: There is no such action, setting or model, or the hub cannot be reached.
    """
    action, *words = line.overrides or [""]
    if action not in ACTIONS:
        raise ComposerError("models", action or None, f"say what to do.{suggest(action, ACTIONS)}", tuple(ACTIONS))
    settings = _settings(action, [word for word in words if "=" in word])
    names = [word for word in words if "=" not in word]
    if action == "ls":
        return _ls(names, settings)
    if len(names) != 1:
        raise ComposerError(f"models {action}", " ".join(names) or None, "name one model, such as owner/name")
    if action == "find":
        return _find(names[0], settings.get("revision"))
    if action == "pull":
        return _pull(names[0], settings.get("revision"), _flag(settings, False))
    return _verify(names[0]) if action == "verify" else _rm(names[0], _flag(settings, True))


def _settings(action: str, words: Sequence[str]) -> dict[str, str]:
    settings = dict(word.split("=", 1) for word in words)
    for key, value in settings.items():
        if key not in ACTIONS[action]:
            raise ComposerError(key, value, f"is no setting of models {action}", ACTIONS[action])
    return settings


def _flag(settings: dict[str, str], default: bool) -> bool:
    value = settings.get("dry_run", str(default).lower())
    if value not in ("true", "false"):
        raise ComposerError("dry_run", value, "is not known", ("true", "false"))
    return value == "true"


def _ls(names: Sequence[str], settings: dict[str, str]) -> int:
    from composer.hub.stored import stored_models

    folders = [folder for folder in settings.get("folders", "").split(",") if folder]
    models = [one for one in stored_models(folders) if not names or any(name in one.name for name in names)]
    lines = [
        f"{_size(one.bytes)}  {one.name}  {one.licence or 'licence not named'}  {', '.join(one.tasks) or one.reason}"
        for one in models
    ]
    total = sum(one.bytes for one in models)
    lines.append(f"{_size(total)}  in {len(models)} models; model=local model.source=NAME uses one")
    console.report_facts({"models": [asdict(one) for one in models], "bytes": total}, "\n".join(lines))
    return 0


def _find(name: str, revision: str | None) -> int:
    from composer.hub import online

    if "/" not in name:
        repositories = online.search(name)
        lines = [
            f"{one['downloads'] or 0:>12,} downloads  {one['name']}  {one['licence'] or 'licence not named'}"
            for one in repositories
        ]
        lines.append("compose models find OWNER/NAME shows the sizes and hashes of one")
        console.report_facts({"models": repositories}, "\n".join(lines))
        return 0
    facts = online.describe(online.check_id("models find", name), revision)
    lines = [
        f"{_size(file['bytes'])}  {'' if file['needed'] else '(not needed) '}{file['name']}  {file['sha256'] or ''}"
        for file in facts["files"]
    ]
    lines.append(
        f"{_size(facts['bytes'])}  to download of {name} at {facts['revision']}, "
        f"{facts['licence'] or 'licence not named'}"
    )
    console.report_facts(facts, "\n".join(lines))
    return 0


def _pull(name: str, revision: str | None, dry_run: bool) -> int:
    from composer.hub import online

    facts = online.describe(online.check_id("models pull", name), revision, "models pull")
    console.print_note(
        f"{_size(facts['bytes']).strip()} of {name}, licence {facts['licence'] or 'not named by its card'}"
    )
    if dry_run:
        console.report_facts({**facts, "folder": None}, f"would download {_size(facts['bytes']).strip()} of {name}")
        return 0
    folder = online.pull(name, revision)  # by the branch, so that the cache knows which commit it is at
    console.report_facts({**facts, "folder": str(folder)}, f"{folder}\nuse it: model=local model.source={name}")
    return 0


def _verify(name: str) -> int:
    from composer.hub.verify import verify

    files = verify(name)
    counts = {
        state: sum(file.state == state for file in files) for state in ("intact", "damaged", "missing", "unknown")
    }
    lines = [f"{file.state:8} {file.name}" for file in files if file.state != "intact"]
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no files")
    facts: dict[str, Any] = {"files": [asdict(file) for file in files], **counts}
    console.report_facts(facts, "\n".join(lines))
    return 1 if counts["damaged"] or counts["missing"] else 0


def _rm(name: str, dry_run: bool) -> int:
    from composer.hub.remove import remove

    freed = remove(name, dry_run)
    text = f"would free {_size(freed).strip()}; dry_run=false does it" if dry_run else f"freed {_size(freed).strip()}"
    console.report_facts({"name": name, "removed": not dry_run, "bytes": freed}, text)
    return 0


def _size(size: int) -> str:
    return f"{size / 2**20:9,.1f} MiB"
