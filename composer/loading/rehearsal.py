"""Loading a checkpoint without its numbers: what loading would refuse is refused before any weights are read.

Models are made by the libraries' own loaders on torch's meta device, where tensors have shapes and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict

import diffusers
import torch
from diffusers.loaders.single_file import load_single_file_sub_model

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import PICKLED, read_header
from composer.checkpoints.index import component_kind
from composer.loading import integrity
from composer.loading.loader import (
    CheckpointKey,
    LoadOptions,
    assembled,
    from_elsewhere,
    in_one_line,
    own_models,
    source_of,
)
from composer.loading.precision import DtypePlan
from composer.system.library_logs import disable_progress_bars
from composer.system.run_lock import in_turn
from composer.system.signatures import keywords_of

#: Checkpoints that were found to load, and their variants; each job of a sweep asks.
_rehearsed: OrderedDict[tuple[CheckpointKey, str | None], None] = OrderedDict()
KEPT = 64


@in_turn
def rehearse(checkpoint: Checkpoint, variant: str | None) -> None:
    """Load components of local folders without their numbers: what loading would refuse is refused in the same words.

    Raises:
        ComposerError: a component that is missing, can't be made, or does not fit its files.
    """
    source = source_of(checkpoint)
    if checkpoint.commit is None and (source, variant) not in _rehearsed:
        disable_progress_bars()
        with in_one_line(checkpoint):
            _rehearse(checkpoint, source, variant)
        _rehearsed[source, variant] = None
        while len(_rehearsed) > KEPT:
            _rehearsed.popitem(last=False)


def _rehearse(checkpoint: Checkpoint, source: CheckpointKey, variant: str | None) -> None:
    cls, away = getattr(diffusers, source.pipe), {*checkpoint.component_overrides, "safety_checker"}
    integrity.check_components(checkpoint, cls)
    how = LoadOptions(DtypePlan(torch.float32), torch.device("meta"), variant, keep=False)
    for name, *place in source.component_overrides:
        if (
            checkpoint.component_overrides[name].commit is None
            and not checkpoint.component_overrides[name].folder.is_file()
        ):
            from_elsewhere(name, how, *place)
    if checkpoint.single_file:
        _rehearse_file(checkpoint)
        return
    own, empty = (
        own_models(checkpoint.path, away, how, None if source.allow_pickle else True),
        dict.fromkeys((*away, *checkpoint.missing_components)),
    )
    parts = {name: each for name, each in {**own, **empty}.items() if name in keywords_of(cls.__init__)}
    if (pipe := assembled(cls, checkpoint.path, parts)) is not None:
        integrity.check_tokenizers(checkpoint.source, pipe)


def _rehearse_file(checkpoint: Checkpoint) -> None:
    """Convert a single file's tensors by their shapes alone: each is one number that stands for all."""
    if checkpoint.path.suffix in PICKLED:
        return
    tensors = {key: torch.zeros(()).expand(entry["shape"]) for key, entry in read_header(checkpoint.path).items()}
    own = {
        name: cls
        for name, cls in checkpoint.classes.items()
        if name not in (*checkpoint.component_overrides, "safety_checker")
    }
    for name, cls in sorted(own.items()):
        library = "diffusers" if "_class_name" in checkpoint.configs.get(name, {}) else "transformers"
        if component_kind(name, cls) == "model":
            made = load_single_file_sub_model(
                library, cls, name, dict(tensors), diffusers.pipelines, False, str(checkpoint.config_source), torch_dtype=torch.float32
            )  # fmt: skip
            integrity.whole(checkpoint.source, integrity.empty(made))
