"""Components from elsewhere, such as another VAE: ``model.components.vae=OWNER/NAME``.

Only JSON files and headers are read, without torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from composer.checkpoints.component_folder import check_component
from composer.checkpoints.headers import QUANTISED, read_header
from composer.checkpoints.index import component_json
from composer.checkpoints.single_file import check_component_file
from composer.checkpoints.sources import HUB_ID, locate
from composer.errors import ComposerError, suggest
from composer.system.paths import expand_user

#: Component → the setting that must equal that of the component it replaces, and what the setting is.
_SHARED_SETTINGS = {
    "vae": ("latent_channels", "latent channels"), "unet": ("cross_attention_dim", "channels of prompt_embeds"),
    "transformer": ("joint_attention_dim", "channels of prompt_embeds"),
    **{f"text_encoder{n}": ("hidden_size", "hidden states") for n in ("", "_2")},
}  # fmt: skip
#: Components that may be added to a checkpoint without one.
_ADDABLE = ("depth_estimator", "feature_extractor", "image_encoder", "safety_checker")
#: Components that a single ``.safetensors`` file can hold.
_IN_SAFETENSORS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
#: Components that a GGUF file can hold.
_IN_GGUF = ("unet", "transformer")
#: JSON key that names a class → the library that defines the class.
_LIBRARY_BY_KEY = {
    "_class_name": "diffusers", "tokenizer_class": "transformers", "image_processor_type": "transformers",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ComponentLocation:
    """Location of a component.

    Attributes:
        source: Directory, single file, hub id or ``embedded:NAME``.
        subfolder: Directory of the component below ``source``; None for one of the component's name, if it exists.
        revision: Branch, tag or commit at the hub.
        variant: Variant of the weights, such as ``fp16``.
    """

    source: str
    subfolder: str | None = None
    revision: str | None = None
    variant: str | None = None


@dataclass(frozen=True, kw_only=True)
class Component:
    """A component from elsewhere that was found.

    Attributes:
        location: Location of the component.
        folder: Its directory, or the single file.
        subfolder: Its directory below the location's source.
        library: Library that defines its class, ``diffusers`` or ``transformers``.
        cls: Name of its class.
        config: Its JSON settings.
        commit: Commit at the hub; None for local files.
        config_source: Directory with the JSON files of a single file, which are those of the replaced component.
    """

    location: ComponentLocation
    folder: Path
    subfolder: str
    library: str
    cls: str
    config: Mapping[str, Any]
    commit: str | None
    config_source: Path | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """Class, source, subfolder and commit of the component, for the record."""
        return {"class": self.cls, "source": self.location.source, "subfolder": self.subfolder, "commit": self.commit}


def parse_location(key: str, node: Any) -> ComponentLocation:
    """Parse the value of a key that names a component, such as ``model.components.vae``.

    Args:
        key: The key.
        node: ``owner/name``, ``owner/name/subfolder``, a path, or a mapping with the fields of ``ComponentLocation``.

    Returns:
        The location.

    Raises:
        ComposerError: The value has another form, or the mapping has an unknown key.
    """
    if isinstance(node, Mapping):
        known = [field.name for field in fields(ComponentLocation)]
        for unknown in set(node) - set(known):
            raise ComposerError(f"{key}.{unknown}", node[unknown], "there is no such key", known)
        if isinstance(node.get("source"), str) and node["source"]:
            return ComponentLocation(**node)
    if not isinstance(node, str) or not node:
        raise ComposerError(key, node, "a folder, a hub id, or {source: …, subfolder: …} is needed")
    owner_and_name = "/".join(node.split("/")[:2])
    if node.count("/") > 1 and not expand_user(node).exists() and HUB_ID.fullmatch(owner_and_name):
        return ComponentLocation(source=owner_and_name, subfolder=node[len(owner_and_name) + 1 :])
    return ComponentLocation(source=node)


def find_component(
    name: str, location: ComponentLocation, replaced: Component | None = None, key: str | None = None
) -> Component:
    """Find a component and read its JSON settings.

    Args:
        name: Name of the component.
        location: Location of the component.
        replaced: The checkpoint's own component of this name, which describes a single file.
        key: Config key that named it, for errors; None for ``model.components.NAME``.

    Returns:
        The component.

    Raises:
        ComposerError: Nothing exists at the location, its files are damaged, or its class is unknown.
    """
    key = key or f"model.components.{name}"
    if (file := expand_user(location.source)).is_file() and file.suffix in (".safetensors", QUANTISED):
        return _from_file(name, location, file, replaced)
    root, commit = locate(key, location.source, location.revision)
    subfolder = location.subfolder or (name if (root / name).is_dir() else "")
    folder = root / subfolder
    config = component_json(folder, key) if root.is_dir() else None
    if config is None:
        reason = f"holds no {name} in diffusers' format: a folder with its json file is needed"
        raise ComposerError(key, location.source, reason)
    library, cls = _library_and_class(key, location, config)
    if commit is None:
        check_component(key, location.source, folder, cls, location.variant)
    return Component(
        location=location, folder=folder, subfolder=subfolder, library=library, cls=cls, config=config, commit=commit
    )


def _from_file(name: str, location: ComponentLocation, file: Path, replaced: Component | None) -> Component:
    key = f"model.components.{name}"
    names = _IN_GGUF if file.suffix == QUANTISED else _IN_SAFETENSORS
    if name not in names:
        raise ComposerError(key, location.source, f"{file.suffix} files hold {' or '.join(names)}")
    if replaced is None:
        reason = "the checkpoint has no such component, which would describe a single file: name a folder"
        raise ComposerError(key, location.source, reason)
    check_component_file(key, location.source, name, read_header(file, key), replaced.cls, replaced.config)
    return Component(
        location=location, folder=file, subfolder="", library=replaced.library, cls=replaced.cls,
        config=replaced.config, commit=None, config_source=replaced.folder,
    )  # fmt: skip


def check_overrides(
    component_overrides: Mapping[str, Component], names: Iterable[str], configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse components that a checkpoint does not have, or that its other components can't work with.

    Args:
        component_overrides: The components from elsewhere, by name.
        names: Components of the checkpoint.
        configs: JSON settings of the checkpoint's own components.

    Raises:
        ComposerError: A component does not fit the checkpoint.
    """
    for name, component in component_overrides.items():
        key = f"model.components.{name}"
        known = [*names, *_ADDABLE]
        if name not in known:
            reason = f"{name} is no component of this model.{suggest(name, known)}"
            raise ComposerError(key, component.location.source, reason, sorted(set(names)))
        setting, words = _SHARED_SETTINGS.get(name, ("", ""))
        replaced, new = configs.get(name, {}).get(setting), component.config.get(setting)
        # overrides that are given together may fit each other, such as a UNet and a text encoder; a VAE must fit alone
        must_fit = name == "vae" or len(component_overrides) == 1
        if must_fit and replaced is not None and new is not None and replaced != new:
            reason = f"has {new} {words} and the model's own {replaced}: the rest can't work with it"
            raise ComposerError(key, component.location.source, reason)


def _library_and_class(key: str, location: ComponentLocation, config: Mapping[str, Any]) -> tuple[str, str]:
    if config.get("architectures"):
        return "transformers", config["architectures"][0]
    for naming, library in _LIBRARY_BY_KEY.items():
        if isinstance(config.get(naming), str):
            return library, config[naming]
    raise ComposerError(key, location.source, "its json does not name its class")
