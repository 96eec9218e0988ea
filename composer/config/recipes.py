"""Recipes: option files with several steps, each a run composed by the ordinary config groups, or a tool.

steps:
  base: {task: text2img}
  enlarge: {tool: resize, image: 'step:base'}
  detail: {task: img2img, image: 'step:enlarge', strength: 0.3}

What a step says is typed as it would be for a single run, and on the command line below the step's name:
`detail.strength=0.5`. Keys without a step's name go to all steps that take them and do not set them themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.config import overrides as argv
from composer.config.catalogue import contents, with_base
from composer.config.compose import compose_with_hydra_node, without_hydra
from composer.config.hydra_settings import OUT, is_hydras
from composer.config.keys import NODES, OF_SWEEPS
from composer.config.node_data import node_to_dict
from composer.config.output_folder import folder_of
from composer.config.python_values import overrides_of
from composer.config.search_path import MAIN, conf_folders, packaged_conf
from composer.errors import ComposerError, suggest
from composer.system.constraints import require

if TYPE_CHECKING:
    from omegaconf import DictConfig

RECIPE, STEPS, TASK, TOOL, METRIC = "recipe", "steps", "task", "tool", "metric"
#: Keys of the tree of a step: its config, keys that it sets itself, and the name of its tool.
CONFIG, SETS = "config", "sets"
#: Key of a run → the default task.
DEFAULT_TASK = "text2img"
#: Groups from which a step chooses options.
GROUPS = (*NODES, "preset", TOOL)
#: Groups from which a step that is a tool chooses too.
OF_TOOLS = ("output", "device", METRIC)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
#: Settings of the recipe itself, typed as `recipe.reuse=false`.
REUSE = "reuse"


@dataclass(frozen=True, kw_only=True)
class StepWords:
    """The overrides of one step.

    Attributes:
        name: Name of the step.
        tool: Name of its tool; None for a run.
        words: Overrides as for a single run, the last one of each key.
        sets: Keys that the step sets itself, in its file or below its name.
    """

    name: str
    tool: str | None
    words: tuple[str, ...]
    sets: tuple[str, ...]

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the step in errors that are raised inside the context, where the step sets the key itself.

        Yields:
            Nothing.
        """
        with errors_of_step(self.name, [argv.split(word)[1] for word in self.words], self.sets):
            yield


@contextmanager
def errors_of_step(name: str, keys: Sequence[str], sets: Sequence[str]) -> Iterator[None]:
    """Put the name of a step before the key of errors that are raised inside the context.

    Args:
        name: Name of the step.
        keys: All keys of its overrides.
        sets: Those that it sets itself; the others were typed for all steps, and stay as they were typed.

    Yields:
        Nothing.
    """
    try:
        yield
    except ComposerError as error:
        if error.key in sets or error.key not in keys:
            error.key = f"{name}.{error.key.removeprefix(f'{TOOL}.')}"
        raise


def recipe_name(overrides: Sequence[str]) -> str | None:
    """Find the recipe that overrides choose.

    Args:
        overrides: `key=value` words.

    Returns:
        Its name; None without one.
    """
    chosen = [value for prefix, key, value in map(argv.split, overrides) if key == RECIPE and prefix != "~"]
    return None if not chosen or chosen[-1] in (None, "", "null") else chosen[-1]


class Recipe:
    """The option file of a recipe.

    Args:
        overrides: `key=value` words that choose it.
        config_dir: Additional directory of option files.

    Attributes:
        name: Its name.
        steps: Step → what its file sets, in the order of the steps.

    Raises:
        ComposerError: There is no such recipe, or its file does not describe steps.
    """

    def __init__(self, overrides: Sequence[str], config_dir: str | None = None) -> None:
        self.name = recipe_name(overrides) or ""
        if "," in self.name:
            raise ComposerError(RECIPE, self.name, "one recipe is chosen: its steps differ from those of another")
        self.config_dir = config_dir
        node = compose_with_hydra_node([f"{RECIPE}={self.name}"], config_dir).get(RECIPE)
        content = {} if node is None else node_to_dict(node, resolve=True)
        self.reuse = require(f"{RECIPE}.{REUSE}", content.pop(REUSE, True), bool)
        steps = content.pop(STEPS, None)
        self._shared = _words(content)
        if not isinstance(steps, Mapping) or not steps:
            raise ComposerError(RECIPE, self.name, "its file must have `steps:`, with a name for each and its settings")
        self.steps: dict[str, tuple[str, ...]] = {}
        taken = {
            *general_keys(),
            *_task_keys(DEFAULT_TASK, self._folders()),
            *OF_SWEEPS,
            RECIPE,
            TOOL,
            "hydra",
            "chosen",
        }
        for name, values in steps.items():
            _require_step(name, values, taken)
            self.steps[name] = _words(values)

    def prepare(self, overrides: Sequence[str], multirun: bool = False) -> list[str]:
        """Rewrite overrides in Hydra's grammar, also those of steps.

        Args:
            overrides: `key=value` words as they are typed.
            multirun: Whether commas separate values of a sweep.

        Returns:
            One override for each word.

        Raises:
            ComposerError: As `composer.config.overrides.prepare`.
        """
        shared = [word for word in overrides if argv.split(word)[1] == "wildcards"]
        return [self._prepared(word, shared, multirun) for word in overrides]

    def _prepared(self, word: str, shared: Sequence[str], multirun: bool) -> str:
        prefix, key, value = argv.split(word)
        step, _, rest = key.partition(".")
        if step not in self.steps or not rest:
            return argv.prepare([*shared, word], multirun)[-1]
        tail = "" if value is None else f"={value}"
        prefix, rest, value = argv.split(argv.prepare([*shared, f"{prefix}{rest}{tail}"], multirun)[-1])
        return f"{prefix}{step}.{rest}" + ("" if value is None else f"={value}")

    def words(self, prepared: Sequence[str]) -> list[StepWords]:
        """Distribute overrides over the steps.

        Args:
            prepared: Prepared overrides, with one value each.

        Returns:
            The overrides of each step, in the order of the steps.

        Raises:
            ComposerError: An override has an effect on no step.
        """
        typed: dict[str, list[str]] = {name: [] for name in self.steps}
        shared: list[str] = []
        for word in prepared:
            prefix, key, value = argv.split(word)
            step, _, rest = key.partition(".")
            if step in typed and rest:
                typed[step].append(f"{prefix}{rest}" + ("" if value is None else f"={value}"))
            elif key.split(".")[0] in (TASK, TOOL) or step in typed:
                first = next(iter(typed))
                advice = f"type {first}.{key}={value}" if step not in typed else f"type {step}.KEY=VALUE"
                raise ComposerError(key, value, f"is of one step of the recipe: {advice}")
            elif key.split(".")[0] != RECIPE:
                shared.append(word)
            elif key not in (RECIPE, f"{RECIPE}.{REUSE}"):
                raise ComposerError(key, value, "there is no such key: settings of a step are typed as STEP.KEY=VALUE")
        return self._distributed(shared, typed)

    def is_reused(self, prepared: Sequence[str]) -> bool:
        """Whether results of steps that were made before are used again.

        Args:
            prepared: Prepared overrides.

        Raises:
            ComposerError: `recipe.reuse` is neither true nor false.
        """
        typed = [value for _, key, value in map(argv.split, prepared) if key == f"{RECIPE}.{REUSE}"]
        if typed and typed[-1] not in ("true", "false"):
            raise ComposerError(f"{RECIPE}.{REUSE}", typed[-1], "must be true or false")
        return typed[-1] == "true" if typed else self.reuse

    def _distributed(self, shared: Sequence[str], typed: Mapping[str, Sequence[str]]) -> list[StepWords]:
        used, result, last = set[str](), list[StepWords](), next(reversed(self.steps))
        for name, of_file in self.steps.items():
            tool, task = _kind(name, [*of_file, *typed[name]])
            words = [_of_tool(word) if tool else word for word in (*of_file, *typed[name])]
            sets = tuple(dict.fromkeys(argv.split(word)[1] for word in words))
            _refuse_output(name, [*of_file, *typed[name]], name == last)
            general = {*OF_TOOLS} if tool else {*general_keys(), *_task_keys(task, self._folders())}
            fits = [word for word in (*self._shared, *shared) if self._fits(word, general, name == last)]
            used |= {word for word in fits if argv.split(word)[1] not in sets}
            result.append(StepWords(name=name, tool=tool, words=_last_of_each([*fits, *words]), sets=sets))
        for word in shared:
            if word not in used:
                raise self._unused(word, result)
        return result

    def _fits(self, word: str, general: set[str], is_last: bool) -> bool:
        """Whether a step takes an override that was typed for all; files and metrics are those of the last one."""
        key = argv.split(word)[1]
        root = re.split(r"[./@]", key)[0]
        return is_last if root in ("output", METRIC) or is_hydras(key) else root in general

    def _unused(self, word: str, steps: Sequence[StepWords]) -> ComposerError:
        _, key, value = argv.split(word)
        setting = [step.name for step in steps if key in step.sets or f"{TOOL}.{key}" in step.sets]
        if setting:
            typed = " or ".join(f"{name}.{key}={value}" for name in setting)
            return ComposerError(key, value, f"is set by each step that takes it: type {typed}")
        step, _, rest = key.partition(".")
        if rest and step not in general_keys():
            reason = f"the recipe {self.name} has no step {step}.{suggest(step, self.steps)}"
            return ComposerError(key, value, reason, tuple(self.steps))
        tasks = {_kind(of.name, of.words)[1] for of in steps if of.tool is None}
        known = {*general_keys(), *(name for task in tasks for name in _task_keys(task, self._folders()))}
        reason = f"no step of the recipe {self.name} takes it.{suggest(key, known)}"
        return ComposerError(key, value, reason)

    def _folders(self) -> list[Path]:
        return conf_folders(self.config_dir)


def compose_request(overrides: list[str], config_dir: str | None = None) -> DictConfig | dict[str, Any]:
    """Compose the overrides of a run or of a recipe.

    Args:
        overrides: `key=value` words as they are typed.
        config_dir: Additional directory of option files.

    Returns:
        The composed config of a run, or the tree of a recipe: `recipe`, `reuse`, and `steps` with a config for each.

    Raises:
        ComposerError: The overrides do not compose, or a run would refuse its output directory.
    """
    return compose_request_and_folder(overrides, config_dir)[0]


def compose_request_and_folder(
    overrides: list[str], config_dir: str | None = None
) -> tuple[DictConfig | dict[str, Any], Path]:
    """Compose the overrides of a run or of a recipe, and determine its output directory.

    Args:
        overrides: `key=value` words as they are typed.
        config_dir: Additional directory of option files.

    Returns:
        As `compose_request`; and the directory.

    Raises:
        ComposerError: As for `compose_request`.
    """
    if recipe_name(overrides) is None:
        config = compose_with_hydra_node(overrides, config_dir)
        folder = folder_of(config)  # what a run would refuse is refused by whoever asks
        return without_hydra(config), folder
    recipe = Recipe(overrides, config_dir)
    prepared = recipe.prepare(overrides)
    trees: dict[str, Any] = {}
    folder = Path()  # that of the last step
    for step in recipe.words(prepared):
        with step.named():
            config = compose_with_hydra_node(list(step.words), config_dir)
            folder = folder_of(config)
            trees[step.name] = step_tree(step, node_to_dict(without_hydra(config), resolve=True))
    return {RECIPE: recipe.name, REUSE: recipe.is_reused(prepared), STEPS: trees}, folder


def is_recipe(tree: Any) -> bool:
    """Whether a composed tree is that of a recipe.

    Args:
        tree: A composed config.
    """
    return isinstance(tree, dict) and isinstance(tree.get(STEPS), dict)


def step_tree(step: StepWords, config: Mapping[str, Any]) -> dict[str, Any]:
    """Make the tree of a step.

    Args:
        step: Its overrides.
        config: Its composed config as plain data, without Hydra's node.

    Returns:
        The config, of a tool without the nodes of runs; with the keys that the step sets itself and its tool's name.
    """
    kept = {key: config.get(key, {}) for key in (TOOL, *OF_TOOLS)} if step.tool else {
        key: value for key, value in config.items() if key not in (TOOL, RECIPE)
    }  # fmt: skip
    return {TOOL: step.tool, SETS: list(step.sets), CONFIG: kept}


def general_keys() -> frozenset[str]:
    """Return the first parts of keys that every run takes, whatever its task."""
    main = contents(packaged_conf() / MAIN)
    return frozenset(
        {*(key for key in main if key not in ("defaults", "hydra")), *NODES, "preset", "arguments"} - {TASK}
    )


def _task_keys(task: str, folders: Sequence[Path]) -> frozenset[str]:
    """Root keys that the option file of a task declares; none if there is no such task."""
    files = (folder / TASK / f"{task}.yaml" for folder in folders)
    file = next((file for file in files if file.is_file()), None)
    return (
        frozenset() if file is None else frozenset(with_base(file, contents(file), list(folders))) - {TASK, "defaults"}
    )


def _words(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of a file as prepared overrides; names of options without quotes, as they are typed."""
    words = argv.prepare([*overrides_of(values)])
    return tuple(word.replace("'", "") if argv.split(word)[1] in GROUPS else word for word in words)


def _require_step(name: Any, values: Any, taken: set[str]) -> None:
    key = f"{RECIPE}.{STEPS}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ComposerError(
            key, name, "the name of a step must be of small letters, digits and _, and begin with a letter"
        )
    if name in taken:
        raise ComposerError(key, name, f"{name} is a key of runs: give this step another name")
    if not isinstance(values, Mapping):
        raise ComposerError(f"{key}.{name}", values, "must hold settings, such as {task: img2img, strength: 0.3}")
    if TASK in values and TOOL in values:
        raise ComposerError(f"{key}.{name}", None, "has a task and a tool: a step is one of the two")


def _kind(name: str, words: Sequence[str]) -> tuple[str | None, str]:
    """The tool of a step, or None; and its task."""
    values = {key: value for _, key, value in map(argv.split, words)}
    tool = values.get(TOOL)
    if tool is not None and TASK in values:
        raise ComposerError(f"{name}.{TASK}", values[TASK], f"this step is the tool {tool}, which has no task")
    return tool, str(values.get(TASK) or DEFAULT_TASK)


def _of_tool(word: str) -> str:
    """An override of a tool's step as Hydra takes it: below the node `tool`, except for nodes that all steps have."""
    _, key, value = argv.split(word)
    root = key.split(".")[0]
    if key == TOOL or root in OF_TOOLS:
        return word
    return f"++{key if root == TOOL else f'{TOOL}.{key}'}" + ("" if value is None else f"={value}")


def _last_of_each(words: Sequence[str]) -> tuple[str, ...]:
    """Of several overrides of a key the last one, in the order of the first."""
    return tuple({argv.split(word)[1]: word for word in words}.values())


def _refuse_output(name: str, words: Sequence[str], is_last: bool) -> None:
    """Files of all steps are in the recipe's directory; those of earlier ones are PNG, which loses nothing."""
    for _, key, value in map(argv.split, words):
        root = key.split(".")[0]
        if is_hydras(key) or key == OUT:
            raise ComposerError(f"{name}.{key}", value, f"all steps write into one directory: type {OUT}=DIR")
        if root == "output" and not is_last:
            reason = f"later steps use its images, which are PNG files in the directory {name}: leave it out"
            raise ComposerError(f"{name}.{key}", value, reason)
