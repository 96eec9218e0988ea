"""A modular pipeline of diffusers, with loaded components or without weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from diffusers.utils import logging

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.index import components_of, read_json, stored_index
from composer.checkpoints.modular_index import MODULAR
from composer.loading.component_loader import LIBRARIES, import_class


def is_modular(pipeline_class: Any) -> bool:
    """Whether a pipeline class consists of blocks.

    Args:
        pipeline_class: Class of diffusers.
    """
    return isinstance(pipeline_class, type) and issubclass(pipeline_class, ModularPipeline)


def assemble_blocks(
    pipeline_class: Any, folder: Path, components: Mapping[str, Any], load_other: Callable[[str, Any], Any]
) -> Any:
    """Construct a modular pipeline from loaded models.

    Args:
        pipeline_class: Class of diffusers.
        folder: Directory of the checkpoint, from which schedulers, tokenizers and image processors are read.
        components: The loaded models, and None for components that the checkpoint does not have.
        load_other: (component, class) → the model, for models whose classes are in a folder of diffusers' pipelines.

    Returns:
        The pipeline.
    """
    pipe = _construct(pipeline_class, folder)
    parts = {name: part for name, part in components.items() if name in pipe.component_names and part is not None}
    for name, (library, cls) in components_of(stored_index(folder)).items():
        if name in components or name not in pipe.component_names:
            continue
        component_class = import_class(library if library in LIBRARIES else f"diffusers.pipelines.{library}", cls)
        if not issubclass(component_class, torch.nn.Module):
            parts[name] = component_class.from_pretrained(str(folder / name))
        elif library not in LIBRARIES:
            parts[name] = load_other(name, component_class)
    with _quiet():
        pipe.register_components(**parts)
    return pipe


def modular_skeleton(checkpoint: Checkpoint, parts: Mapping[str, Any]) -> Any:
    """Construct a checkpoint's modular pipeline without weights.

    Args:
        checkpoint: The checkpoint.
        parts: Its scheduler, and models without layers.

    Returns:
        The pipeline; None where diffusers does not have it.
    """
    pipeline_class = getattr(diffusers, checkpoint.pipeline, None)
    if not is_modular(pipeline_class):
        return None
    pipe = _construct(pipeline_class, checkpoint.path)
    for name in set(pipe.component_names) & set(parts):
        setattr(pipe, name, parts[name])
    return pipe


def _construct(pipeline_class: Any, folder: Path) -> Any:
    with _quiet():
        return pipeline_class(modular_config_dict=read_json(folder / MODULAR))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide that diffusers calls guiders experimental whenever one is created, and which components are still None."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
