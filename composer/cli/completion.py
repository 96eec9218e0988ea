"""Shell completion: `eval "$(compose completion bash)"`. Reads option files; imports neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from composer.config.catalogue import with_base
from composer.config.keys import LISTS
from composer.config.search_path import conf_folders, groups, options

#: Commands whose argument is a file or directory, which the shell completes itself.
OF_FILES = ("rerun", "info", "resume", "status")
#: Shell → its script; `compose completion words SHELL LINE` prints the candidates.
SCRIPTS = {
    "bash": r"""_compose() {
  local IFS=$'\n'
  COMPREPLY=($(compose completion words bash "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
  [[ "${COMPREPLY[0]}" == *= || "${COMPREPLY[0]}" == *. ]] && compopt -o nospace
}
complete -o default -F _compose compose""",
    "zsh": r"""autoload -Uz compinit && (( $+functions[compdef] )) || compinit
_compose() {
  local -a found
  found=("${(@f)$(compose completion words zsh "${LBUFFER}" 2>/dev/null)}")
  [[ -n "$found" ]] && compadd -Q -S '' -a found || _files
}
compdef _compose compose""",
    "fish": r"""complete -c compose -f -a '(compose completion words fish (commandline -cp) 2>/dev/null)'""",
}


def words(shell: str, line: str, commands: list[str]) -> list[str]:
    """List completions of the last word of a line.

    bash takes `=` for the end of a word, so for it only the part after `=` is returned.

    Args:
        shell: `bash`, `zsh` or `fish`.
        line: The line up to the cursor.
        commands: Names of all commands.

    Returns:
        Candidates, sorted.
    """
    *before, last = [*line.split()[1:], ""] if line[-1:].isspace() else line.split()[1:] or [""]
    command = before[0] if before and before[0] in commands else None
    if command in OF_FILES and not before[1:]:
        return []
    if command == "list":
        candidates = groups(conf_folders())
    else:
        candidates = [*_values(last)] if "=" in last else [*_keys(last), *(commands if not before else ())]
    start = last.rpartition("=")[2] if shell == "bash" else last
    cut = len(last) - len(start)
    return sorted({word[cut:] for word in candidates if word.startswith(last) and word != last})


def _keys(last: str) -> Iterator[str]:
    folders = conf_folders()
    if "." in last:  # a setting of some option of the group
        group = last.split(".")[0]
        for name in options(group, folders):
            yield from (f"{group}.{key}=" for key in _settings(group, name, folders))
        return
    for group in groups(folders):
        yield f"{group}="
    for name in options("task", folders):
        yield from (f"{key}=" for key in _settings("task", name, folders) if "." not in key)


def _values(last: str) -> Iterator[str]:
    """`group=` and what can follow; in a list or a sweep, after the last comma."""
    key, _, value = last.partition("=")
    head = value[: max(value.rfind(","), value.rfind("[")) + 1]
    opening = "[" if key in LISTS and not value.startswith("[") and not head else ""
    for name in options(key, conf_folders()):
        yield f"{key}={head or opening}{name}"


def _settings(group: str, name: str, folders: list[Path]) -> Iterator[str]:
    """Dotted keys that an option file has."""
    file = next(file for folder in folders if (file := folder / group / f"{name}.yaml").is_file())
    tree = yaml.safe_load(file.read_text("utf-8"))
    for key, value in (with_base(file, tree, folders) if isinstance(tree, dict) else {}).items():
        if key == "defaults" or key.startswith("_"):
            continue
        inner = (
            [f"{key}.{setting}" for setting in value if not setting.startswith("_")] if isinstance(value, dict) else []
        )
        yield from (inner if group in LISTS else [key, *inner])
