"""A checkpoint in diffusers' directory format: read from its JSON files, and checked for missing files."""

from __future__ import annotations

from pathlib import Path

from composer.checkpoints.checkpoint import OPTIONAL_COMPONENTS, Checkpoint
from composer.checkpoints.component_folder import check_component, variants
from composer.checkpoints.detection import UNNAMED
from composer.checkpoints.index import component_json, components_of, omitted_components, pipeline_settings, read_index
from composer.checkpoints.modular_index import BLOCKS, REFERENCES
from composer.config.spec import ModelSpec
from composer.errors import ComposerError

#: Pipeline class → settings of the scheduler that it makes itself and does not save.
OWN_SCHEDULERS = {
    "LongCatAudioDiTPipeline": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.0,
        "invert_sigmas": True,
    },
}  # fmt: skip


def read_directory(model: ModelSpec, key: str, source: str, path: Path, commit: str | None) -> Checkpoint:
    """Read a checkpoint in diffusers' format from its JSON files.

    Args:
        model: The ``model`` settings of a run.
        key: Config key that names the directory, for errors.
        source: The key's value.
        path: The directory.
        commit: Commit at the hub; None for a local directory.

    Returns:
        The checkpoint, without a family.

    Raises:
        ComposerError: A JSON file is missing or damaged, or names a class of another package.
    """
    index = read_index(key, source, path, commit is not None)
    classes = {name: cls for name, (_, cls) in components_of(index).items()}
    if not model.safety_checker:
        classes.pop("safety_checker", None)
    configs = {name: config for name in classes if (config := component_json(path / name, key)) is not None}
    omitted = sorted({*omitted_components(index), *OPTIONAL_COMPONENTS})
    missing = [name for name in omitted if name not in classes]
    pipeline = str(index.get("_class_name", UNNAMED))
    if pipeline in OWN_SCHEDULERS and "scheduler" in classes and not (path / "scheduler").is_dir():
        configs["scheduler"] = OWN_SCHEDULERS[pipeline]
        missing.append("scheduler")
    return Checkpoint(
        source=source, path=path, family="", pipeline=pipeline, classes=classes,
        configs=configs, commit=commit, missing_components=tuple(missing),
        blocks=str(index.get(BLOCKS) or ""), references=index.get(REFERENCES) or {},
        settings=pipeline_settings(index),
    )  # fmt: skip


def check_directory(model: ModelSpec, checkpoint: Checkpoint, overridden: set[str]) -> None:
    """Refuse a local directory of which files are missing or damaged, such as an interrupted download.

    Args:
        model: The ``model`` settings of a run.
        checkpoint: The checkpoint that the directory holds.
        overridden: Components that come from elsewhere, which are not checked.

    Raises:
        ComposerError: A file is missing or damaged, or a setting does not apply to this directory.
    """
    if model.config is not None:
        reason = f"is for a single file, and {checkpoint.path.name} is a folder: leave it out"
        raise ComposerError("model.config", model.config, reason)
    names = [name for name in checkpoint.classes if name not in {*overridden, *checkpoint.missing_components}]
    available = variants(checkpoint.path / name for name in names) if model.variant else set()
    if model.variant and model.variant not in available:
        reason = "the checkpoint has no such variant" if available else "the checkpoint has no variants: leave it out"
        raise ComposerError("model.variant", model.variant, reason, sorted(available))
    for name in names:
        folder, cls = checkpoint.path / name, checkpoint.classes[name]
        check_component("model.source", model.source, folder, cls, model.variant, model.allow_pickle)
