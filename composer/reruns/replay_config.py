"""Composition of a record and the user's overrides into the config to generate again.

A record can come from any source, so its influence is limited: it selects installed options by name, and sets plain
values of keys that these options have. Values are set on the composed config as data; they are never parsed as
overrides or interpolations. Classes are those of the options. Files and models that it names are used only if they are
in the current directory or beside the image, or if the user trusts the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from omegaconf import OmegaConf

from composer.checkpoints.sources import is_embedded
from composer.config import overrides as argv
from composer.config.adapter_nodes import ADAPTERS, FILE_SETTINGS
from composer.config.compose import compose_with_hydra_node, without_hydra
from composer.config.keys import CHOSEN, FILE_KEYS, LISTS, NODES, OF_OPTION_FILES, OF_SWEEPS, is_file_key, is_text_key
from composer.config.output_folder import folder_of
from composer.config.overrides import OPEN_NODES
from composer.config.search_path import conf_folders, options
from composer.config.source_settings import SOURCE
from composer.errors import ComposerError, suggest
from composer.images.reading import is_sample
from composer.recipes.spec import is_reference

#: Keys that determine which images are generated.
IMAGE_KEYS = ("prompt", "negative_prompt", "seed", "seed_step", "images", "batch")
#: Keys that can be changed without requesting other images: output, device, metrics and locations of inputs.
LOCATION_KEYS = ("output", "hydra", "device", "model", "metric", *FILE_KEYS)
#: Keys of a model that name files or repositories.
SOURCE_KEYS = ("source", "config", "components", "refiner", "variants")
#: Root keys of tasks that records from before there was the key lack → what was done then.
BEFORE = MappingProxyType({"match_tones": False})


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Config to generate the images of a record again.

    Attributes:
        tree: The config as plain data.
        folder: Folder for the files, or ``None``.
        same: Whether the same images are requested, and not a variation of them.
    """

    tree: dict[str, Any]
    folder: Path | None
    same: bool


def replay_config(
    path: Path, record: Mapping[str, Any], overrides: Sequence[str], config_dir: str | None = None, trust: bool = False
) -> ReplayConfig:
    """Compose the config to generate the images of a record again.

    Args:
        path: The image; files beside it may be used.
        record: Its record.
        overrides: The user's own, which take precedence.
        config_dir: Additional directory of option files.
        trust: Whether to use files and models that the record names wherever they are.

    Returns:
        The config, and whether it describes the same images.

    Raises:
        ComposerError: The record names an option that is not installed, an unknown key, or a file elsewhere.
    """
    typed = {argv.split(word)[1] for word in argv.prepare(overrides)}
    if "preset" in typed:
        raise ComposerError(
            "preset", None, "chooses what the record names already: type the option instead, such as precision=bf16"
        )
    moved = {"model"} if SOURCE in typed else set()  # the record's settings of the model belong to another source
    names = _names(record, typed | moved, conf_folders(config_dir))
    config = compose_with_hydra_node([*names, *overrides], config_dir)
    folder = folder_of(config)
    tree = cast("dict[str, Any]", OmegaConf.to_container(without_hydra(config), resolve=True))  # of a DictConfig
    for node in OF_SWEEPS:
        tree.pop(node, None)
    recorded = {key: value for key, value in record["config"].items() if key not in OF_SWEEPS}
    recorded["output"] = {key: value for key, value in _node(recorded, "output").items() if key != "folder"}
    recorded["memory"] = {
        name: node for name, node in _node(recorded, "memory").items() if name != "auto"
    }  # the options that it chose are named
    if moved:
        recorded["model"] = {key: value for key, value in _node(recorded, "model").items() if key == "recommended"}
    chosen = tree.pop(CHOSEN)
    tree = {group: {} for group in LISTS} | tree
    _drop_newer(tree, recorded, typed)
    Overlay(path, typed, trust).apply_to(tree, recorded)
    tree[CHOSEN] = chosen
    _use_chosen_texts(tree, record, typed)
    if tree.get("seed", 0) in (None, -1):
        tree["seed"] = record["images"][0]["seed"]
    roots = {key.split(".")[0] for key in typed}
    same = roots <= set(LOCATION_KEYS) and not typed & {"model", "task"}
    return ReplayConfig(tree=tree if same else _for_one_image(tree, record, typed), folder=folder, same=same)


def _drop_newer(tree: dict[str, Any], recorded: Mapping[str, Any], typed: set[str]) -> None:
    """Take from today's options what they set beyond a record: it was not in effect when the image was generated.

    Args:
        tree: The config; it is changed in place.
        recorded: Config of the record.
        typed: Keys that the user typed, which are kept.
    """
    if "task" not in typed:
        tree.update({key: old for key, old in BEFORE.items() if key in tree and key not in {*recorded, *typed}})
    then, now = (_node(_node(config, "model"), "variants") for config in (recorded, tree))
    for name in {*then} & {*now}:
        if isinstance(then[name], dict) and isinstance(now[name], dict):
            for key in {*now[name]} - {*then[name]}:
                if f"model.variants.{name}.{key}" not in typed:
                    del now[name][key]


def _use_chosen_texts(tree: dict[str, Any], record: Mapping[str, Any], typed: set[str]) -> None:
    """Replace prompts with choices by the texts that the record says were chosen, so that no file of choices is needed.

    Args:
        tree: The config; it is changed in place.
        record: The record.
        typed: Keys that the user typed, which are kept.
    """
    syntax = tree.get("prompt_syntax")
    names = syntax if isinstance(syntax, list) else [syntax]
    is_one = record["number"] is not None or len(record["images"]) == 1
    if "dynamic" not in names or not is_one or typed & {"prompt", "negative_prompt", "prompt_syntax", "wildcards"}:
        return
    image = record["images"][record["number"] or 0]
    for key in ("prompt", "negative_prompt"):
        if key in tree:
            former = tree[key]
            tree[key] = [image[key]] * len(former) if isinstance(former, list) else image[key]
    tree["prompt_syntax"] = "weights" if "weights" in names else "text"
    tree["wildcards"] = None


def _names(record: Mapping[str, Any], typed: set[str], folders: list[Path]) -> Iterator[str]:
    """Write the options of a record as overrides, except in groups that the user chose from.

    Args:
        record: The record.
        typed: Keys that the user typed.
        folders: Directories of option files.

    Yields:
        Overrides such as `scheduler=euler` and `callbacks=[preview]`.

    Raises:
        ComposerError: The record names an unknown group, or an option that is not installed.
    """
    for group, name in record["options"].items():
        if group not in NODES:
            raise ComposerError("options", group, "its record chooses from a group that composer does not have", NODES)
        if group in typed:
            continue
        if group == "memory" and "auto" in (name or ()):
            name = [option for option in record["memory"] if option != "auto"]  # the options that it chose
        yield option_word(record, group, name, folders)


def option_word(record: Mapping[str, Any], group: str, name: Any, folders: list[Path]) -> str:
    """Write the option of a record as an override.

    Args:
        record: The record.
        group: Name of the group.
        name: What it says: a name, or a list of names in list groups.
        folders: Directories of option files.

    Returns:
        An override such as `scheduler=euler` or `callbacks=[preview]`.

    Raises:
        ComposerError: There is no such option here.
    """
    known = options(group, folders)
    for option in name if group in LISTS and isinstance(name, list) else [name]:
        if not isinstance(option, str) or option not in known:
            missing = f"its record names an option that is not installed here{_provider(record, group, option)}"
            raise ComposerError(group, option, missing)
    if group not in LISTS:
        return f"{group}={name}"
    return f"{group}=[{','.join(name if isinstance(name, list) else [name])}]"


def _provider(record: Mapping[str, Any], group: str, name: Any) -> str:
    """The package that provides an option, for messages."""
    callback = record["callbacks"].get(name) if group == "callbacks" and isinstance(name, str) else None
    package = callback.get("distribution") if isinstance(callback, Mapping) else None  # in records of composer 0.1
    providers = (
        choice.get("provider")
        for choice in record["choices"]
        if (choice.get("group"), choice.get("name")) == (group, name)
    )
    package = next((provider for provider in (*providers, package) if isinstance(provider, str)), None)
    return f": it comes with {package}" if package else ""


@dataclass(frozen=True)
class Overlay:
    """Assignment of recorded values to a composed config, except where the user typed other values.

    Attributes:
        path: The image.
        typed: Keys that the user typed.
        trust: Whether any file and model may be used.
    """

    path: Path
    typed: set[str]
    trust: bool

    def apply_to(self, tree: dict[str, Any], recorded: Mapping[str, Any], above: str = "") -> None:
        """Set recorded values below a key.

        Args:
            tree: Node of the config; it is changed in place.
            recorded: Node of the record.
            above: Dotted key of the node.

        Raises:
            ComposerError: The record has an unknown key, or a value that is not allowed.
        """
        for name, value in recorded.items():
            key = f"{above}.{name}" if above else name
            if key in self.typed or name in OF_OPTION_FILES:  # records of composer 0.1 hold them
                continue
            known = name in tree
            if known and type(tree[name]) is type(value) and tree[name] == value:
                continue
            if isinstance(value, dict) and isinstance(tree.get(name), dict):
                self.apply_to(tree[name], value, key)
            elif known or key.startswith(OPEN_NODES):
                self._check(key, value)
                tree[name] = value
            elif not ("task" in self.typed and not above):  # another task has other inputs
                raise ComposerError(key, value, f"its record sets a key that there is not.{suggest(name, tree)}")

    def _check(self, key: str, value: Any, above: str | None = None) -> None:
        """Refuse values that name a class, allow pickles, or name a file or model elsewhere."""
        name = (above or key).rpartition(".")[2]
        if name.startswith("_"):
            raise ComposerError(
                key, value, "its record names another class than the option does: only installed options choose classes"
            )
        if key == "model.allow_pickle" and value:
            raise ComposerError(
                key,
                value,
                "its record asks for pickled weights, which can run code: that can be set only on the command line",
            )
        if isinstance(value, dict):
            for inner, item in value.items():
                self._check(f"{key}.{inner}", item)
        elif isinstance(value, list):
            for item in value:
                self._check(key, item)
        elif isinstance(value, str) and not self.trust and _reaches(key, value) and not self._is_near(value):
            advice = f"add --trust if you know where the image comes from, or type {key}=… yourself"
            raise ComposerError(
                key, value, f"its record names what is neither in this folder nor beside the image: {advice}"
            )

    def _is_near(self, value: str) -> bool:
        return is_near(self.path, value)


def is_near(image: Path, value: str) -> bool:
    """Whether a value names a file or directory in the current directory or in the image's.

    Args:
        image: The image.
        value: The value.
    """
    try:
        path = Path(value).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return False
    return any(path.is_relative_to(folder) for folder in (Path.cwd().resolve(), image.resolve().parent))


def _reaches(key: str, value: str) -> bool:
    """Whether a text can name a file or model outside of the run.

    Args:
        key: Dotted key of the value.
        value: The text.

    Returns:
        True for paths of inputs, sources of models, and texts with path separators in other keys than prompts.
    """
    root, _, rest = key.partition(".")
    if is_file_key(key):
        return not (is_sample(value) or is_reference(value))
    if root in ADAPTERS:  # also the model of a preprocessor
        return key.rpartition(".")[2] in FILE_SETTINGS and not (is_sample(value) or is_reference(value))
    if root == "model":
        return rest.split(".")[0] in SOURCE_KEYS and not is_embedded(value)
    if root == "metric" and rest.endswith(".model"):
        return True
    if is_text_key(key):
        return False
    return any(c in value for c in "/\\\0") or value.startswith(("~", "."))


def _for_one_image(tree: dict[str, Any], record: Mapping[str, Any], typed: set[str]) -> dict[str, Any]:
    """Reduce a config to one image of several, for a variation of it.

    Args:
        tree: The config; it is changed in place.
        record: The record; its `number` selects the image.
        typed: Keys that the user typed, which are kept.

    Returns:
        The config with the prompt, seed and inputs of the image.
    """
    number = record["number"]
    if number is None:
        return tree
    image, images = record["images"][number], record["config"].get("images")
    for key in ("prompt", "negative_prompt", "seed"):
        if key in tree and key not in typed:
            tree[key] = image[key]
    for key in FILE_KEYS:
        if isinstance(tree.get(key), list) and key not in typed and len(tree[key]) > 1:
            tree[key] = tree[key][
                min(number // (images if isinstance(images, int) and images > 0 else 1), len(tree[key]) - 1)
            ]
    if "images" in tree and "images" not in typed:
        tree["images"] = 1
    return tree


def _node(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A node of the record as a dictionary; a missing one is empty.

    Raises:
        ComposerError: It is no mapping.
    """
    node = tree.get(name) or {}
    if not isinstance(node, dict):
        raise ComposerError(name, node, "its record has something else there than settings")
    return node
