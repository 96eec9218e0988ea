"""Load a checkpoint without weights, so that loading errors are raised before weights are read.

Models are created by the libraries' own loaders on torch's meta device, where tensors have only shapes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import diffusers
import torch

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import PICKLED, read_header
from composer.checkpoints.index import component_kind
from composer.compat.weights import single_file_component
from composer.loading import integrity
from composer.loading.component_loader import load_models, load_override
from composer.loading.load_options import CheckpointKey, LoadOptions, checkpoint_key
from composer.loading.loader import (
    assemble,
    loading_errors,
)
from composer.loading.modular import assemble_blocks, is_modular
from composer.loading.precision import DtypePlan
from composer.system.library_logs import disable_progress_bars
from composer.system.run_lock import in_turn
from composer.system.signatures import keywords_of

#: Checkpoints that can be loaded, with their variants; each job of a sweep is checked.
_rehearsed: OrderedDict[tuple[CheckpointKey, str | None], None] = OrderedDict()
MAX_REHEARSED = 64


@in_turn
def rehearse(checkpoint: Checkpoint, variant: str | None) -> None:
    """Load the local components of a checkpoint without weights.

    Args:
        checkpoint: The checkpoint. Those with a commit are not checked, since their weights may not be downloaded yet.
        variant: Variant of the weights files; None for the default files.

    Raises:
        ComposerError: A component is missing, can't be created or does not fit its files; the message is that of a run.
    """
    key = checkpoint_key(checkpoint)
    if checkpoint.commit is None and (key, variant) not in _rehearsed:
        disable_progress_bars()
        with loading_errors(checkpoint):
            _rehearse(checkpoint, key, variant)
        _rehearsed[key, variant] = None
        while len(_rehearsed) > MAX_REHEARSED:
            _rehearsed.popitem(last=False)


def _rehearse(checkpoint: Checkpoint, key: CheckpointKey, variant: str | None) -> None:
    cls = getattr(diffusers, key.pipe)
    integrity.check_components(checkpoint, cls)
    options = LoadOptions(DtypePlan(torch.float32), torch.device("meta"), variant, cache_converted=False)
    for name, override in key.component_overrides:
        component = checkpoint.component_overrides[name]
        if component.commit is None and not component.folder.is_file():
            load_override(name, options, override)
    if checkpoint.single_file:
        _rehearse_file(checkpoint)
    else:
        _rehearse_directory(checkpoint, key, cls, options)


def _rehearse_directory(checkpoint: Checkpoint, key: CheckpointKey, cls: Any, options: LoadOptions) -> None:
    excluded = {*checkpoint.component_overrides, "safety_checker"}
    models = load_models(checkpoint.path, excluded, options, None if key.allow_pickle else True)
    absent = dict.fromkeys((*excluded, *checkpoint.missing_components))
    parameters = keywords_of(cls.__init__)
    if is_modular(cls):
        pipe = assemble_blocks(cls, checkpoint.path, {**models, **absent}, lambda name, cls: None)
        integrity.check_tokenizers(checkpoint.source, pipe)
        return
    components = {name: model for name, model in {**models, **absent}.items() if name in parameters}
    if (pipe := assemble(cls, checkpoint.path, components)) is not None:
        integrity.check_tokenizers(checkpoint.source, pipe)


def _rehearse_file(checkpoint: Checkpoint) -> None:
    """Convert a single file's tensors by their shapes alone: each is an expanded zero."""
    if checkpoint.path.suffix in PICKLED:
        return
    tensors = {key: torch.zeros(()).expand(entry["shape"]) for key, entry in read_header(checkpoint.path).items()}
    excluded = {*checkpoint.component_overrides, "safety_checker"}
    for name, cls in sorted(checkpoint.classes.items()):
        if name not in excluded and component_kind(name, cls) == "model":
            library = "diffusers" if "_class_name" in checkpoint.configs.get(name, {}) else "transformers"
            config = str(checkpoint.config_source)
            model = single_file_component(library, cls, name, dict(tensors), config, torch.float32)
            integrity.require_all_weights(checkpoint.source, integrity.unloaded_parameters(model))
