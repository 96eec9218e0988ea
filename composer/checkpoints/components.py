"""A component from elsewhere, such as a better VAE: `model.components.vae=OWNER/NAME`. Reads json and headers only; no
torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from composer.checkpoints.component_folder import check_component
from composer.checkpoints.headers import QUANTISED, header
from composer.checkpoints.index import component_json
from composer.checkpoints.single_file import check_component_file
from composer.checkpoints.sources import HUB_ID, locate
from composer.errors import ComposerError, suggest
from composer.system.paths import expanded

#: What a component must have in common with the one it replaces, since the others were made for it.
_SHARED = {
    "vae": ("latent_channels", "latent channels"), "unet": ("cross_attention_dim", "numbers to a token of the prompt"),
    "transformer": ("joint_attention_dim", "numbers to a token of the prompt"),
    **{f"text_encoder{n}": ("hidden_size", "hidden states") for n in ("", "_2")},
}  # fmt: skip
#: Components that a checkpoint need not have to be given one.
_MORE = ("depth_estimator", "feature_extractor", "image_encoder", "safety_checker")
#: Components that a single file can hold; those whose weights it can hold in fewer bits.
_FILES, _QUANTISED = (
    ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"),
    ("unet", "transformer"),
)
#: Who defines a class is told by the key of the json that names it.
_NAMED_BY = {"_class_name": "diffusers", "tokenizer_class": "transformers", "image_processor_type": "transformers"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a component comes from: a folder, a hub id or `embedded:NAME`, in a folder of this name or `subfolder`; or
    one file.
    """

    source: str
    subfolder: str | None = None
    revision: str | None = None
    variant: str | None = None


@dataclass(frozen=True, kw_only=True)
class Component:
    """A component that was found: its part, its folder (`subfolder` below the part's), what loads it, its json, and the
    hub's commit.
    described_by: where a single file, which is then the folder, has its json from: the component that it stands in
    for."""

    part: Part
    folder: Path
    subfolder: str
    library: str
    cls: str
    config: Mapping[str, Any]
    commit: str | None
    config_source: Path | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """Where it came from, for the record."""
        return {"class": self.cls, "source": self.part.source, "subfolder": self.subfolder, "commit": self.commit}


def read_part(name: str, node: Any) -> Part:
    """`owner/name`, `owner/name/subfolder`, a folder, or a mapping with the keys of `Part`."""
    key = f"model.components.{name}"
    if isinstance(node, Mapping):
        for unknown in set(node) - {field.name for field in fields(Part)}:
            raise ComposerError(
                f"{key}.{unknown}", node[unknown], "there is no such key", [field.name for field in fields(Part)]
            )
        if isinstance(node.get("source"), str) and node["source"]:
            return Part(**node)
    if not isinstance(node, str) or not node:
        raise ComposerError(key, node, "a folder, a hub id, or {source: …, subfolder: …} is needed")
    owner_and_name = "/".join(node.split("/")[:2])
    if node.count("/") > 1 and not expanded(node).exists() and HUB_ID.fullmatch(owner_and_name):
        return Part(source=owner_and_name, subfolder=node[len(owner_and_name) + 1 :])
    return Part(source=node)


def find_component(name: str, part: Part, own: Component | None = None) -> Component:
    """Read a component's json.

    Args:
        own: what a checkpoint has already under this name, by which a single file is known.

    Raises:
        ComposerError: nothing is there, or nothing that says what it is.
    """
    key = f"model.components.{name}"
    if (file := expanded(part.source)).is_file() and file.suffix in (".safetensors", QUANTISED):
        return _from_file(name, part, file, own)
    root, commit = locate(key, part.source, part.revision)
    subfolder = part.subfolder or (name if (root / name).is_dir() else "")
    folder = root / subfolder
    config = component_json(folder, key) if root.is_dir() else None
    if config is None:
        raise ComposerError(
            key, part.source, f"holds no {name} in diffusers' format: a folder with its json file is needed"
        )
    library, cls = _class(key, part, config)
    if commit is None:
        check_component(key, part.source, folder, cls, part.variant)
    return Component(
        part=part, folder=folder, subfolder=subfolder, library=library, cls=cls, config=config, commit=commit
    )


def _from_file(name: str, part: Part, file: Path, own: Component | None) -> Component:
    key = f"model.components.{name}"
    can = _QUANTISED if file.suffix == QUANTISED else _FILES
    if name not in can or own is None:
        why = "the checkpoint has no such component" if name in can else f"{file.suffix} files hold {' or '.join(can)}"
        raise ComposerError(key, part.source, f"{why}, by which a single file would be known")
    check_component_file(key, part.source, name, header(file, key), own.cls, own.config)
    return Component(
        part=part,
        folder=file,
        subfolder="",
        library=own.library,
        cls=own.cls,
        config=own.config,
        commit=None,
        config_source=own.folder,
    )


def check_fit(
    component_overrides: Mapping[str, Component], names: Iterable[str], configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse components that a checkpoint has no place for, or that its others can't work with.

    Args:
        names, configs: of the checkpoint's own components.
    """
    for name, component in component_overrides.items():
        key = f"model.components.{name}"
        known = [*names, *_MORE]
        if name not in known:
            raise ComposerError(
                key,
                component.part.source,
                f"{name} is no component of this model.{suggest(name, known)}",
                sorted(set(names)),
            )
        setting, words = _SHARED.get(name, ("", ""))
        own, new = configs.get(name, {}).get(setting), component.config.get(setting)
        alone = (
            name == "vae" or len(component_overrides) == 1
        )  # a UNet and a text encoder from one place fit each other
        if alone and own is not None and new is not None and own != new:
            raise ComposerError(
                key, component.part.source, f"has {new} {words} and the model's own {own}: the rest can't work with it"
            )


def _class(key: str, part: Part, config: Mapping[str, Any]) -> tuple[str, str]:
    if config.get("architectures"):
        return "transformers", config["architectures"][0]
    for naming, library in _NAMED_BY.items():
        if isinstance(config.get(naming), str):
            return library, config[naming]
    raise ComposerError(key, part.source, "its json does not name its class")
