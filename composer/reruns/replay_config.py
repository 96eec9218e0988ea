"""A record and the user's words → the config to generate again.

A record comes from anywhere, so it can say little: names of options that are installed here, and plain values for keys
that they
have. Its values are set on the composed config as data: no grammar and no interpolation ever sees them. Classes are the
options'
own. What it names on the disk or on the hub is used if it lies in the current folder or beside the image, or if the
user trusts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from composer.config import overrides as argv
from composer.config.compose import compose_with_hydra_node, without_hydra
from composer.config.keys import CHOSEN, FILE_KEYS, LISTS, NODES, OF_SWEEPS, TEXT_KEYS
from composer.config.output_folder import folder_of
from composer.config.overrides import OPEN_NODES
from composer.config.search_path import conf_folders, options
from composer.config.source_settings import SOURCE
from composer.errors import ComposerError, suggest
from composer.images.reading import is_sample

#: Keys that say which images are generated; any other leaves them as they are.
PICTURES = ("prompt", "negative_prompt", "seed", "seed_step", "images", "batch")
#: What can be said otherwise without wanting another image: where it goes, and where things lie.
PLACES = ("output", "hydra", "device", "image", "mask", "depth", "model")
#: Keys that only an option file gives: records of composer 0.1 hold them, and whatever they say, they are not read.
OF_OPTIONS = ("_target_", "_kind_")
#: Keys of a model that say where something comes from.
FROM = ("source", "config", "components", "refiner", "variants")


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
    """What to draw.

    Args:
        path: of the image; what lies beside it can be used.
        overrides: the user's own, which come first.
        trust: use files and models that the record names wherever they are.

    Raises:
        ComposerError: the record names what is not installed, has no such key, or lies elsewhere.
    """
    typed = {argv.split(word)[1] for word in argv.prepare(overrides)}
    if "preset" in typed:
        raise ComposerError(
            "preset", None, "chooses what the record says already: say which option you want, such as precision=bf16"
        )
    moved = {"model"} if SOURCE in typed else set()  # what the record says of the model is about another source
    names = _names(record, typed | moved, conf_folders(config_dir))
    config = compose_with_hydra_node([*names, *overrides], config_dir)
    folder = folder_of(config)
    tree = cast("dict[str, Any]", OmegaConf.to_container(without_hydra(config), resolve=True))  # of a DictConfig
    for node in OF_SWEEPS:
        tree.pop(node, None)
    told = {key: value for key, value in record["config"].items() if key not in OF_SWEEPS}
    told["output"] = {key: value for key, value in _node(told, "output").items() if key != "folder"}
    told["memory"] = {
        name: node for name, node in _node(told, "memory").items() if name != "auto"
    }  # what it chose has a name
    if moved:
        told["model"] = {key: value for key, value in _node(told, "model").items() if key == "recommended"}
    chosen = tree.pop(CHOSEN)
    tree = {group: {} for group in LISTS} | tree
    _Overlay(path, typed, trust).onto(tree, told)
    tree[CHOSEN] = chosen
    if tree.get("seed", 0) in (None, -1):
        tree["seed"] = record["images"][0]["seed"]
    roots = {key.split(".")[0] for key in typed}
    same = roots <= set(PLACES) and not typed & {"model", "task"}
    return ReplayConfig(tree=tree if same else _one(tree, record, typed), folder=folder, same=same)


def _names(record: Mapping[str, Any], typed: set[str], folders: list[Path]) -> Iterator[str]:
    """The record's options as overrides, but for groups that the user chose from."""
    for group, name in record["options"].items():
        if group not in NODES:
            raise ComposerError("options", group, "its record chooses from a group that composer does not have", NODES)
        if group in typed:
            continue
        if group == "memory" and "auto" in (name or ()):
            name = [each for each in record["memory"] if each != "auto"]  # what it came to
        several = name if group in LISTS and isinstance(name, list) else [name]
        known = options(group, folders)
        words = []
        for each in several:
            if not isinstance(each, str) or each not in known:
                raise ComposerError(
                    group, each, f"its record names an option that is not installed here{_whose(record, group, each)}"
                )
            words.append(each)
        yield f"{group}=[{','.join(words)}]" if group in LISTS else f"{group}={name}"


def _whose(record: Mapping[str, Any], group: str, name: Any) -> str:
    """Which package would bring an option."""
    made = record["callbacks"].get(name) if group == "callbacks" and isinstance(name, str) else None
    package = made.get("distribution") if isinstance(made, Mapping) else None  # in records of composer 0.1
    told = (
        each.get("provider") for each in record["choices"] if (each.get("group"), each.get("name")) == (group, name)
    )
    package = next((each for each in (*told, package) if isinstance(each, str)), None)
    return f": it comes with {package}" if package else ""


@dataclass(frozen=True)
class _Overlay:
    """Sets recorded values on a composed config, where the user has not said otherwise."""

    path: Path
    typed: set[str]
    trust: bool

    def onto(self, tree: dict[str, Any], told: Mapping[str, Any], above: str = "") -> None:
        for name, value in told.items():
            key = f"{above}.{name}" if above else name
            if key in self.typed or name in OF_OPTIONS:
                continue
            known = name in tree
            if known and type(tree[name]) is type(value) and tree[name] == value:
                continue
            if isinstance(value, dict) and isinstance(tree.get(name), dict):
                self.onto(tree[name], value, key)
            elif known or key.startswith(OPEN_NODES):
                self._check(key, value)
                tree[name] = value
            elif not ("task" in self.typed and not above):  # another task has other inputs
                raise ComposerError(key, value, f"its record sets a key that there is not.{suggest(name, tree)}")

    def _check(self, key: str, value: Any, above: str | None = None) -> None:
        """Refuse a value that is more than data, or that reaches out."""
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
            for inner, each in value.items():
                self._check(f"{key}.{inner}", each)
        elif isinstance(value, list):
            for each in value:
                self._check(key, each)
        elif isinstance(value, str) and not self.trust and _reaches(key, value) and not self._near(value):
            advice = f"add --trust if you know where the image comes from, or say {key}=… yourself"
            raise ComposerError(
                key, value, f"its record names what lies neither in this folder nor beside the image: {advice}"
            )

    def _near(self, value: str) -> bool:
        """Whether it is a file or folder in the current folder or in the image's."""
        try:
            found = Path(value).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return False
        return any(found.is_relative_to(place) for place in (Path.cwd().resolve(), self.path.resolve().parent))


def _reaches(key: str, value: str) -> bool:
    """Whether a text could name something outside the run: a file, a model."""
    root, _, rest = key.partition(".")
    if key in FILE_KEYS:
        return not is_sample(value)
    if root == "model":
        return rest.split(".")[0] in FROM
    if key.rpartition(".")[2] in TEXT_KEYS:
        return False
    return any(c in value for c in "/\\\0") or value.startswith(("~", "."))


def _one(tree: dict[str, Any], record: Mapping[str, Any], typed: set[str]) -> dict[str, Any]:
    """For a variation of one image of several: its own prompt, seed and inputs alone."""
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
    found = tree.get(name) or {}
    if not isinstance(found, dict):
        raise ComposerError(name, found, "its record has something else there than settings")
    return found
