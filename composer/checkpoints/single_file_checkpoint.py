"""A checkpoint in a single file: described by the JSON files of a directory, and compared with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.component_folder import check_component
from composer.checkpoints.diffusers_directory import read_directory
from composer.checkpoints.family import first_fit
from composer.checkpoints.headers import PICKLED, read_header
from composer.checkpoints.layouts import HOSTED, families
from composer.checkpoints.single_file import check_complete, check_described, single_file_kind
from composer.checkpoints.single_file_keys import default_config_repository, kinds
from composer.checkpoints.sources import locate
from composer.config.spec import ModelSpec
from composer.errors import ComposerError


def read_single_file(model: ModelSpec, path: Path) -> Checkpoint:
    """Describe a single file by the JSON files of ``model.config``, or by those that diffusers uses for its kind.

    Args:
        model: The ``model`` settings of a run.
        path: The file.

    Returns:
        The checkpoint, without a family.

    Raises:
        ComposerError: The file is no checkpoint, or its JSON files are missing.
    """
    if model.variant is not None:
        raise ComposerError("model.variant", model.variant, "a single file has no variants: leave it out")
    if path.suffix in PICKLED:  # composer reads nothing of it, so the user must name its family
        return _describe(model, path, _config_of_pickle(model))
    kind = single_file_kind("model.source", model.source, read_header(path))
    family = kinds()[kind]
    if model.family not in ("auto", HOSTED, family):
        raise ComposerError("model.family", model.family, f"{path.name} is of the family {family}: leave it out")
    return _describe(model, path, model.config) if model.config is not None else _describe_by_kind(model, path, kind)


def _config_of_pickle(model: ModelSpec) -> str:
    reason = (
        "a pickled file is not read before it is loaded: set its family, and model.config=FOLDER with its json files"
    )
    if model.family not in families():
        raise ComposerError("model.family", model.family, reason, families())
    if model.config is None:
        raise ComposerError("model.config", None, reason, families())
    return model.config


def _describe_by_kind(model: ModelSpec, path: Path, kind: str) -> Checkpoint:
    usual = default_config_repository(kind) or f"the json files of {kind}"
    try:
        return _describe(model, path, usual)
    except ComposerError as error:
        if error.key != "model.config" or error.value != usual:
            raise
        missing = f"{path.name} is a single file, which does not hold its scheduler, sizes and tokenizer"
        advice = "name a folder with the json files of such a model"
        reason = f"{missing}, and {usual} can't be fetched: {advice}"
        raise ComposerError("model.config", None, reason) from None


def _describe(model: ModelSpec, path: Path, config: str) -> Checkpoint:
    folder, commit = locate("model.config", config, model.revision, texts=True)
    if not folder.is_dir():
        reason = "is a file: a folder with the json files and the tokenizer of such a model is needed"
        raise ComposerError("model.config", config, reason)
    described = read_directory(model, "model.config", config, folder, commit)
    for name, cls in described.classes.items():
        check_component("model.config", config, folder / name, cls, weights=False)
    return replace(described, source=model.source, path=path, config_source=folder, commit=None)


def check_single_file(checkpoint: Checkpoint, overridden: set[str]) -> None:
    """Refuse a file that lacks a component, or that is another model than its JSON files describe.

    Pickled files are not read, and therefore not checked.

    Args:
        checkpoint: The checkpoint that the file holds.
        overridden: Components that come from elsewhere, which the file may lack.

    Raises:
        ComposerError: The file and its JSON files do not belong together.
    """
    if checkpoint.path.suffix in PICKLED:
        return
    table, described = read_header(checkpoint.path), str(checkpoint.config_source)
    family = kinds()[single_file_kind("model.source", checkpoint.source, table)]
    described_family = first_fit(checkpoint)
    if described_family not in (None, family):
        reason = f"describes a model of the family {described_family}, and {checkpoint.path.name} is one of {family}"
        raise ComposerError("model.config", described, reason)
    denoiser = families()[family].denoiser[0]
    if denoiser not in overridden:
        check_described(table, denoiser, checkpoint.configs.get(denoiser, {}), described)
    check_complete(checkpoint.path.name, table, checkpoint.classes, checkpoint.configs, overridden)
