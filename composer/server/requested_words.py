"""Overrides of a request: the checks of the command line, and the limits of requests, which come from other machines.

A request chooses options and sets values. It names no file and no model of its own, reads no environment variable, and
does not choose where files go: images come as uploads, models as options of the operator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from composer.config import overrides as argv
from composer.config.choices import class_in
from composer.config.hydra_errors import translate_errors
from composer.config.hydra_loader import loader
from composer.config.keys import is_file_key, is_text_key
from composer.config.recipes import RECIPE, REUSE, TOOL, Recipe, recipe_name
from composer.config.search_path import conf_folders
from composer.config.spec import Choice
from composer.config.targets import resolve
from composer.errors import ComposerError
from composer.images.reading import is_sample
from composer.recipes.spec import is_reference
from composer.sweeps.grammar import Grammar, iter_jobs
from composer.sweeps.job_configs import has_interpolation
from composer.sweeps.settings import read_sweep
from composer.tools.base import Tool

#: Most words of a request, characters of one, images of a job, pixels of a side, and jobs of a sweep.
MAX_WORDS, MAX_CHARACTERS, MAX_IMAGES, MAX_SIDE, MAX_JOBS = 100, 20_000, 64, 4096, 1000
#: Most combinations of values that are made for `sweep.where`, `sweep.zip` and `sweep.limit` to select from.
MAX_COMBINATIONS = 100 * MAX_JOBS
#: Prefix of an image that was uploaded.
UPLOAD = "upload:"
_UPLOAD_ID = re.compile(r"upload:([0-9a-f]{32})")
#: Keys that only the operator sets, and why.
REFUSED = {
    "hydra": "is set by the operator of the service alone",
    "output.folder": "is chosen by the service",
    "model": "is chosen by an option of the operator: model=NAME",
    "lora": "names a file: the operator of the service offers LoRA by presets",
    "embedding": "names a file of the machine that serves",
    "control": "names a model: the operator of the service offers control models by presets",
    "ip_adapter": "names a file of the machine that serves",
    "recipe": "is chosen by an option of the operator: recipe=NAME",
    "tool": "is chosen by the recipe of the operator",
    "wildcards": "names a directory of the machine that serves",
    "ray": "is set by the operator of the service alone",
    "search": "is a command of its own, and no job",
    "sheet": "is about the page of a sweep on the command line",
}
#: Keys that a request may set all the same: of a control model that a preset of the operator names.
ALLOWED = re.compile(r"control(\.[A-Za-z][\w-]*)?\.(image|scale|start|end)")
#: Settings of a sweep that a request may use.
SWEEP_KEYS = ("sweep.zip", "sweep.where", "sweep.limit", "sweep.shuffle")
#: Root key → its largest value in a request.
LARGEST = {"images": MAX_IMAGES, "height": MAX_SIDE, "width": MAX_SIDE, "batch": MAX_IMAGES}


def request_words(words: Any, uploads: Path, sweep: bool = False) -> list[str]:
    """Check the overrides of a request.

    Args:
        words: What the request has: a list of `key=value`.
        uploads: Directory of uploaded images.
        sweep: Whether several values of a key make several jobs.

    Returns:
        Overrides in Hydra's grammar; `upload:ID` is replaced by the path of the image.

    Raises:
        ComposerError: A word is refused.
    """
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ComposerError("overrides", None, 'must be a list of words, such as ["steps=10", "seed=3"]')
    if len(words) > MAX_WORDS:
        raise ComposerError("overrides", len(words), f"are at most {MAX_WORDS} words")
    recipe = _recipe(words)
    for word in words:
        if len(word) > MAX_CHARACTERS:
            raise ComposerError("overrides", word, f"has {len(word)} characters: at most {MAX_CHARACTERS} are read")
        if "\0" in word:
            raise ComposerError("overrides", word, "has a null character")
        step, inner = _of_step(word, recipe)
        if step and argv.split(inner)[1].partition(".")[0] == RECIPE:
            raise ComposerError(argv.split(word)[1], None, "a step of a recipe is no recipe")
        refuse_key(inner, sweep)
    prepared = (recipe or argv).prepare([_with_uploads(word, uploads, recipe) for word in words], multirun=sweep)
    with translate_errors(prepared, None):
        grammar = Grammar(loader())
        for text in prepared:
            step, inner = _of_step(text, recipe)
            _check_value(grammar, inner, uploads, sweep, _tool(step, recipe))
    return prepared


def _recipe(words: Sequence[str]) -> Recipe | None:
    """The recipe of a request, which is one of the operator's options."""
    name = recipe_name(words)
    if name is None:
        return None
    if not re.fullmatch(r"[A-Za-z][\w-]{0,80}", name):
        raise ComposerError(RECIPE, name, "must be the name of one option: `GET /schema` lists them")
    return Recipe([f"{RECIPE}={name}"])


def _of_step(word: str, recipe: Recipe | None) -> tuple[str, str]:
    """The step that a word is of, empty for all; and the word as it is typed for a single run."""
    prefix, key, value = argv.split(word)
    step, _, rest = key.partition(".")
    if recipe is None or step not in recipe.steps or not rest:
        return "", word
    return step, f"{prefix}{rest}" + ("" if value is None else f"={value}")


def _tool(step: str, recipe: Recipe | None) -> tuple[str, ...] | None:
    """Inputs of a step's tool; None if it is a run."""
    if recipe is None or not step:
        return None
    names = [value for _, key, value in map(argv.split, recipe.steps[step]) if key == TOOL]
    if not names:
        return None
    name = str(names[-1])
    files = (class_in(folder, TOOL, name) for folder in conf_folders())
    path = next((path for path in files if path), "")
    tool: type[Tool] = resolve(TOOL, Choice(path=path, group=TOOL, name=name), Tool)
    return tuple(tool.inputs)


def refuse_key(word: str, sweep: bool) -> None:
    """Refuse keys that only the operator sets, and texts that are read from a file.

    Args:
        word: A word as the client sent it.
        sweep: Whether the request is a sweep.

    Raises:
        ComposerError: It is refused.
    """
    _, key, value = argv.split(word)
    key = key.partition("@")[0].strip()
    root = re.split(r"[./]", key)[0]
    if (
        key not in ("model", RECIPE, f"{RECIPE}.{REUSE}")
        and not ALLOWED.fullmatch(key.lstrip("+"))
        and (reason := REFUSED.get(key) or REFUSED.get(root))
    ):
        raise ComposerError(key, value, reason)
    if root == "sweep" and not (sweep and key in SWEEP_KEYS):
        raise ComposerError(key, value, "is no setting of a request's sweep", SWEEP_KEYS)
    if value is not None and value.lstrip().startswith("@"):
        raise ComposerError(
            key, value, "would read a file of the service: send the text, in quotes if it begins with @"
        )


def _with_uploads(word: str, uploads: Path, recipe: Recipe | None = None) -> str:
    """Replace `upload:ID` in a key of files by the path of the image."""
    prefix, key, value = argv.split(word)
    step, inner = _of_step(word, recipe)
    name = argv.split(inner)[1]
    if value is None or not (is_file_key(name) or name in (_tool(step, recipe) or ())):
        return word

    def path(match: re.Match[str]) -> str:
        file = uploads / match[1]
        if not file.is_file():
            raise ComposerError(
                key, match[0], "there is no such upload: POST /uploads keeps an image and returns its name"
            )
        return str(file)

    return f"{prefix}{key}={_UPLOAD_ID.sub(path, value)}"


def _check_value(grammar: Grammar, text: str, uploads: Path, sweep: bool, tool: tuple[str, ...] | None = None) -> None:
    override = grammar.parse(text)
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override():
        if not sweep:
            raise ComposerError(key, None, 'has several values: send "sweep": true for a job of each')
        if hasattr(value, "stop"):
            _check_range(key, value)
    shown = argv.split(text)[2]
    if has_interpolation(_plain(value)) or (shown is not None and override.is_sweep_override() and "${" in shown):
        raise ComposerError(key, shown, "is an interpolation, and a request has none: escape it as \\${")
    for name, leaf in _leaves(key, value):
        _check_leaf(name, leaf, uploads)
        if tool is not None:
            _check_leaf_of_tool(name, getattr(leaf, "text", leaf), uploads, tool)


def _check_range(key: str, value: Any) -> None:
    """Refuse a range of too many values before it is expanded."""
    start, stop, step = value.start or 0, value.stop, value.step
    if stop is None or not step or abs((stop - start) / step) > MAX_JOBS:
        raise ComposerError(key, None, f"has more than {MAX_JOBS} values, the most jobs of a request")


def _plain(value: Any) -> Any:
    """A parsed value, with the list of a sweep as a list."""
    return (
        list(value.list)
        if hasattr(value, "list") and not isinstance(value, (list, str)) and value.list is not None
        else value
    )


def _leaves(key: str, value: Any) -> list[tuple[str, Any]]:
    value = _plain(value)
    if isinstance(value, Mapping):
        return [leaf for name, item in value.items() for leaf in [(key, name), *_leaves(f"{key}.{name}", item)]]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(key, item)]
    return [(key, value)]


def _check_leaf(key: str, value: Any, uploads: Path) -> None:
    value = getattr(value, "text", value)  # a quoted string of a sweep
    limit = LARGEST.get(key)
    if limit is not None and isinstance(value, (int, float)) and value > limit:
        raise ComposerError(key, value, f"is at most {limit} in a request")
    if not isinstance(value, str):
        return
    root, last = key.partition(".")[0], key.rpartition(".")[2]
    if is_file_key(key):
        if not is_sample(value) and not is_reference(value) and Path(value).parent != uploads:
            raise ComposerError(key, value, "must be an uploaded image, upload:ID, or sample:NAME")
    elif root == "metric" and last in ("model", "revision", "source", "weights"):
        raise ComposerError(key, value, "names a model: the operator of the service offers metrics with one by presets")
    elif not is_text_key(key) and (any(c in value for c in "/\\\0") or value.startswith(("~", "."))):
        raise ComposerError(key, value, "looks like a path, and a request names none: images come as uploads")


def _check_leaf_of_tool(key: str, value: Any, uploads: Path, inputs: tuple[str, ...]) -> None:
    """Refuse files and models among the settings of a tool, whose names only the tool knows."""
    if not isinstance(value, str) or is_sample(value) or is_reference(value) or is_text_key(key):
        return
    if key.rpartition(".")[2] in ("model", "revision", "source", "weights"):
        raise ComposerError(key, value, "names a model: it is chosen by the recipe of the operator")
    if (key in inputs or "." in value or Path(value).exists()) and Path(value).parent != uploads:
        raise ComposerError(key, value, "must be an uploaded image, upload:ID, sample:NAME, or step:NAME")


def sweep_words(prepared: Sequence[str]) -> list[list[str]]:
    """Expand the overrides of a sweep to those of its jobs.

    Args:
        prepared: Checked overrides.

    Returns:
        Overrides of each job, in the order in which they run.

    Raises:
        ComposerError: There are no jobs, or too many.
    """
    settings = [text for text in prepared if text.startswith("sweep.")]
    with translate_errors(prepared, None):
        grammar = Grammar(loader())
        spec, _ = read_sweep(grammar.loader.settings(settings))
        jobs: list[list[str]] = []
        job_words = [text for text in prepared if text not in settings]
        axes = grammar.axes(job_words)
        product = 1
        for values in axes.values():
            product *= len(values)
        if product > MAX_COMBINATIONS:
            raise ComposerError("overrides", product, f"are combinations: at most {MAX_COMBINATIONS} are tried")
        known = _known(grammar, job_words, _recipe(job_words)) if spec.where else {}
        for job in iter_jobs(grammar, job_words, spec, known):
            jobs.append(list(job.overrides))
            if len(jobs) > MAX_JOBS:
                raise ComposerError("overrides", len(jobs), f"are more than {MAX_JOBS} jobs, the most of a request")
    if not jobs:
        raise ComposerError("sweep.where", spec.where, "leaves no job to run")
    return jobs


def _known(grammar: Grammar, job_words: Sequence[str], recipe: Recipe | None) -> Mapping[str, Any]:
    from composer.sweeps.job_configs import Composer
    from composer.sweeps.recipe_configs import RecipeComposer

    first = [values[0] for values in grammar.axes(job_words).values()]
    composer = RecipeComposer(grammar, recipe, None) if recipe else Composer(grammar)
    return composer.choices([setting for value in first for setting in value])
