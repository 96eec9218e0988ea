"""Regeneration of a recipe's images from their record: all steps again, or a variation of some.

A record can come from any source. Each run of it is replayed as a single run is, see `replay_config`; of a tool, the
record selects an installed option by name and sets values of keys that its option file has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from composer.checks.compatibility import Checked
from composer.config import overrides as argv
from composer.config.compose import compose_with_hydra_node, without_hydra
from composer.config.node_data import node_to_dict
from composer.config.output_folder import folder_of
from composer.config.recipes import CONFIG, METRIC, OF_TOOLS, RECIPE, REUSE, SETS, STEPS, TOOL, errors_of_step
from composer.config.search_path import conf_folders, options
from composer.errors import ComposerError
from composer.recipes.check import check_recipe
from composer.recipes.record import RECORD
from composer.recipes.run import Runner, Say, run_recipe
from composer.recipes.spec import RecipeSpec, is_reference, read_recipe
from composer.records.result import Result
from composer.reruns.regenerate import regenerate, regenerate_checked
from composer.reruns.replay_config import Overlay, ReplayConfig, is_near, option_word, replay_config
from composer.system.run_lock import in_turn


@dataclass(frozen=True, kw_only=True)
class RecipeReplay:
    """Settings to generate the images of a recipe's record again.

    Attributes:
        spec: The recipe.
        records: Step → its record.
        tree: Config of the last run as plain data.
        folder: Folder for the files, or None.
        same: Whether the same images are requested, and not a variation of them.
    """

    spec: RecipeSpec
    records: Mapping[str, Mapping[str, Any]]
    tree: dict[str, Any]
    folder: Path | None
    same: bool


def replay_of(
    path: Path, record: Mapping[str, Any], overrides: Sequence[str], config_dir: str | None = None, trust: bool = False
) -> ReplayConfig | RecipeReplay:
    """Compose the settings to generate the images of a record again, of a run or a recipe.

    Args:
        path: The image; files beside it may be used.
        record: Its record.
        overrides: The user's own, which take precedence; those of a step below its name.
        config_dir: Additional directory of option files.
        trust: Whether to use files and models that the record names wherever they are.

    Returns:
        The settings, and whether they describe the same images.

    Raises:
        ComposerError: As `replay_config`; the key begins with the name of a step.
    """
    if RECIPE not in record:
        return replay_config(path, record, overrides, config_dir, trust)
    entries = record[RECIPE][STEPS]
    records = {name: _complete(entry.get(RECORD) or record) for name, entry in entries.items()}
    words = _distributed(overrides, entries, records)
    trees: dict[str, Any] = {}
    same, last = True, list(entries)[-1]
    folder: Path | None = None
    where: Path | None
    tree: dict[str, Any] = {}
    for name, entry in entries.items():
        with errors_of_step(name, (), ()):
            if TOOL in entry:
                config, where = _tool_config(path, entry, records[name], words[name], config_dir, trust)
                same &= not {argv.split(word)[1].split(".")[0] for word in words[name]} - {*OF_TOOLS}
            else:
                replayed = replay_config(path, records[name], words[name], config_dir, trust)
                config, where = replayed.tree, replayed.folder
                tree, same = config, same and replayed.same
        folder = where if name == last else folder
        trees[name] = {TOOL: entry.get(TOOL), SETS: list(entry[SETS]), CONFIG: config}
    spec = read_recipe({RECIPE: record[RECIPE]["name"], REUSE: record[RECIPE][REUSE], STEPS: trees})
    return RecipeReplay(spec=spec, records=records, tree=tree, folder=folder, same=same)


@in_turn
def regenerate_any(
    record: Mapping[str, Any], replay: ReplayConfig | RecipeReplay, say: Callable[[str], None]
) -> Result:
    """Generate the images of a run's or a recipe's record again, or a variation of them.

    Args:
        record: The record.
        replay: Settings to generate with.
        say: Receives one line for each note.

    Returns:
        The images, with a record that they can be regenerated from.

    Raises:
        ComposerError: The images cannot be generated on this machine, or the record contradicts itself.
    """
    if isinstance(replay, ReplayConfig):
        return regenerate(record, replay, say)
    checked = replace(check_recipe(replay.spec), lenient=replay.same)
    if not replay.same:
        return run_recipe(checked, replay.folder, say)

    def again(name: str, run: Checked, folder: Path, note: Say) -> Result:
        return regenerate_checked(replay.records[name], run, folder, note)

    result = run_recipe(checked, replay.folder, say, Runner(generate=again, reuse=False))
    for name, step in result.steps.items():
        if step.record["pixels"] != replay.records[name]["pixels"]:
            say(f"{name}: not the same as the record of this step, the first that differs")
            break
    number = record["number"]
    indices = tuple(range(len(result.media))) if number is None else (number,)
    if indices and max(indices) >= len(result.media):
        raise ComposerError("images", number, "its record does not agree with itself about how many there are")
    return replace(
        result,
        media=[result.media[index] for index in indices],
        seeds=tuple(result.seeds[index] for index in indices),
        numbers=indices,
    )


def _complete(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a step, of all its images."""
    return {**{key: value for key, value in record.items() if key != RECIPE}, "number": None}


def _distributed(
    overrides: Sequence[str], entries: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Overrides of each step: below its name, or for all steps that take the key and do not set it themselves."""
    words: dict[str, list[str]] = {name: [] for name in entries}
    last = list(entries)[-1]
    for word in overrides:
        prefix, key, value = argv.split(word)
        step, _, rest = key.partition(".")
        root = key.split(".")[0].split("/")[0]
        if step in words and rest:
            words[step].append(f"{prefix}{rest}" + ("" if value is None else f"={value}"))
            continue
        fits = [last] if root in ("output", METRIC, "hydra") else [
            name for name, entry in entries.items() if key not in entry[SETS] and _takes(entry, records[name], root)
        ]  # fmt: skip
        if not fits:
            reason = f"is set by each step that takes it, or by none: type STEP.{key}={value}"
            raise ComposerError(key, value, reason, tuple(words))
        for name in fits:
            words[name].append(word)
    return words


def _takes(entry: Mapping[str, Any], record: Mapping[str, Any], root: str) -> bool:
    return root in OF_TOOLS if TOOL in entry else root in record["config"]


def _tool_config(
    path: Path,
    entry: Mapping[str, Any],
    record: Mapping[str, Any],
    words: Sequence[str],
    config_dir: str | None,
    trust: bool,
) -> tuple[dict[str, Any], Path]:
    """Config of a tool's step, and the directory of the files."""
    name = entry[TOOL]
    if name not in options(TOOL, conf_folders(config_dir)):
        raise ComposerError(TOOL, name, "its record names a tool that is not installed here")
    typed = [_below_tool(word) for word in words]
    keys = {argv.split(word)[1].removeprefix(f"{TOOL}.") for word in typed}
    recorded = record["config"].get(METRIC)
    metrics = recorded if isinstance(recorded, dict) and METRIC not in keys else {}
    chosen = option_word({"choices": []}, METRIC, [*metrics], conf_folders(config_dir))
    config = compose_with_hydra_node([f"{TOOL}={name}", chosen, *typed], config_dir)
    folder = folder_of(config)
    tree = node_to_dict(without_hydra(config), resolve=True)
    for key, value in record["config"][TOOL].items():
        if key in keys:
            continue
        if key not in tree[TOOL] or key.startswith("_"):
            raise ComposerError(key, value, "its record sets a key that there is not")
        if not trust:
            for text in _texts(value):
                if not (is_reference(text) or text == tree[TOOL][key] or _is_word(text) or is_near(path, text)):
                    advice = f"add --trust if you know where the image comes from, or type {key}=… yourself"
                    reason = f"its record names what is neither in this folder nor beside the image: {advice}"
                    raise ComposerError(key, value, reason)
        tree[TOOL][key] = value
    Overlay(path, keys, trust).apply_to(tree.setdefault(METRIC, {}), metrics, METRIC)
    return {key: tree[key] for key in (TOOL, *OF_TOOLS)}, folder


def _below_tool(word: str) -> str:
    _, key, value = argv.split(argv.prepare([word])[0])
    if key.split(".")[0] in (*OF_TOOLS, "hydra"):
        return word
    return f"++{TOOL}.{key.removeprefix(f'{TOOL}.')}={value}"


def _texts(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(one, str):
            yield one


def _is_word(text: str) -> bool:
    """Whether a text is a word such as the name of a filter or a sample, which names no file elsewhere."""
    return not any(c in text for c in "/\\\0~.") or text.startswith("sample:")
