"""Find a checkpoint by its source and describe it: no weights, no torch.

A source is ``embedded:NAME``, a directory in diffusers' format, a single ``.safetensors`` file or a hub id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.components import (
    Component,
    ComponentLocation,
    check_overrides,
    find_component,
    parse_location,
)
from composer.checkpoints.diffusers_directory import check_directory, read_directory
from composer.checkpoints.family import choose_family
from composer.checkpoints.layouts import FORMER_NAMES, HOSTED
from composer.checkpoints.single_file_checkpoint import check_single_file, read_single_file
from composer.checkpoints.sources import locate
from composer.config.spec import ModelSpec
from composer.errors import ComposerError


def find_checkpoint(model: ModelSpec) -> Checkpoint:
    """Locate a checkpoint and read its JSON files and the headers of its weights.

    Of a hub repository, only the JSON files are downloaded.

    Args:
        model: The ``model`` settings of a run.

    Returns:
        The checkpoint, with component overrides applied and its family detected.

    Raises:
        ComposerError: Nothing exists at the source, its format is unknown, or files are missing.
    """
    model = replace(model, family=FORMER_NAMES.get(model.family, model.family))
    path, commit = locate("model.source", model.source, model.revision, model.allow_pickle)
    is_file = path.is_file()
    checkpoint = (
        read_single_file(model, path) if is_file else read_directory(model, "model.source", model.source, path, commit)
    )
    overrides = _find_references(model, checkpoint) | _find_overrides(model, checkpoint)
    check_overrides(overrides, [*checkpoint.classes, *checkpoint.missing_components], checkpoint.configs)
    if is_file:
        check_single_file(checkpoint, set(overrides))
    elif commit is None:  # of a hub repository, only the JSON files are here yet
        check_directory(model, checkpoint, set(overrides))
    checkpoint = replace(
        checkpoint, hashes=model.sha256, allow_pickle=model.allow_pickle, variant=model.variant,
        best_size=model.size,
    )  # fmt: skip
    checkpoint = _apply_overrides(checkpoint, overrides)
    checkpoint = replace(checkpoint, family=choose_family(model, checkpoint))
    _check_size(model.size, checkpoint)
    return checkpoint


def _check_size(size: int | None, checkpoint: Checkpoint) -> None:
    if size is None:
        return
    if checkpoint.family == HOSTED:
        raise ComposerError("model.size", size, f"{checkpoint.pipeline} has a size of its own: set height and width")
    if size % checkpoint.size_multiple:
        raise ComposerError("model.size", size, f"must be a multiple of {checkpoint.size_multiple} pixels")


def _find_overrides(model: ModelSpec, checkpoint: Checkpoint) -> dict[str, Component]:
    return {
        name: find_component(
            name, parse_location(f"model.components.{name}", node), _replaced_component(checkpoint, name)
        )
        for name, node in model.components.items()
    }


def _find_references(model: ModelSpec, checkpoint: Checkpoint) -> dict[str, Component]:
    """Find the components that a modular checkpoint takes from other repositories, unless the user names others."""
    components: dict[str, Component] = {}
    for name, node in checkpoint.references.items():
        if name in model.components:
            continue
        try:
            components[name] = find_component(name, parse_location(f"model.components.{name}", node))
        except ComposerError as error:
            reason = f"its {name} is to come from there: {error.reason}"
            raise ComposerError(f"model.components.{name}", node["source"], reason) from None
    return components


def _replaced_component(checkpoint: Checkpoint, name: str) -> Component | None:
    """Describe the checkpoint's own component of a name; None without JSON of it."""
    config, described = checkpoint.configs.get(name), checkpoint.config_source or checkpoint.path
    if config is None or not described.is_dir():
        return None
    library = "diffusers" if "_class_name" in config else "transformers"
    return Component(
        location=ComponentLocation(source=checkpoint.source), folder=described, subfolder=name, library=library,
        cls=checkpoint.classes[name], config=config, commit=checkpoint.commit,
    )  # fmt: skip


def _apply_overrides(checkpoint: Checkpoint, overrides: Mapping[str, Component]) -> Checkpoint:
    return replace(
        checkpoint,
        classes={**checkpoint.classes, **{name: component.cls for name, component in overrides.items()}},
        configs={**checkpoint.configs, **{name: component.config for name, component in overrides.items()}},
        component_overrides=overrides,
        missing_components=tuple(name for name in checkpoint.missing_components if name not in overrides),
    )
