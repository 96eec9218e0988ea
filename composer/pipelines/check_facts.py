"""What the checks of a run depend on, as plain data by which their results are found again. Imports no torch.

None stands for what can't be found again: classes of plugins, which may read anything, and values of other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import count_weights
from composer.checkpoints.index import stored_index
from composer.checkpoints.layouts import HOSTED
from composer.checks.compatibility import Checked
from composer.config.plugins import trusted
from composer.config.search_path import conf_folders, groups
from composer.config.spec import Choice
from composer.errors import ComposerError
from composer.loading.load_options import checkpoint_key, file_states

#: Packages whose classes depend on their files and settings alone.
KNOWN = ("composer", "diffusers")
#: Option that chooses by the memory that is free.
READS_MEMORY = "composer.options.memory.auto.Auto"
#: Fields of a request that no check of a native model reads.
FREE = ("prompts", "negative_prompts", "seeds", "notes")
#: Fields of the settings that are in the request, of the files that are written, or checked without a cache.
ELSEWHERE = ("values", "config", "output", "wildcards", "callbacks", "skip_on_error")


class _Unknown(Exception):
    """A value that can't be written as plain data."""


def device_facts(checked: Checked) -> Any:
    """What the choice of device and dtypes depends on.

    Args:
        checked: The request with its checkpoint.
    """
    checkpoint, precision = checked.checkpoint, checked.spec.precision
    size = denoiser_bytes(checkpoint)
    return _facts(
        lambda: [
            checked.spec.device, _plain(precision), size, checkpoint.single_file, checkpoint.quantised,
            _plain(checkpoint.family_info.denoiser),
        ]
    )  # fmt: skip


def schedule_facts(checked: Checked) -> Any:
    """What the schedule and its trial depend on.

    Args:
        checked: The request with its checkpoint.
    """
    checkpoint, of_request = checked.checkpoint, steps_facts(checked)
    if of_request is None:
        return None
    return _facts(lambda: [
        of_request, checkpoint.family, checkpoint.pipe, checkpoint.role, _plain(checkpoint.classes),
        _plain(checkpoint.configs), _plain(checkpoint.component_overrides), _plain(_index(checkpoint)),
        _plain(checkpoint.settings), checkpoint.prediction, checkpoint.vae_scale_factor,
    ])  # fmt: skip


def steps_facts(checked: Checked) -> Any:
    """What the schedule and its trial depend on beside the checkpoint.

    Args:
        checked: The request with its checkpoint.
    """
    spec, request = checked.spec, checked.request
    refiner = spec.model.refiner if checked.refiner is not None else None
    targets = [spec.scheduler.target] if spec.scheduler.target else []
    if not _are_known(targets) or not _is_native(checked.checkpoint):
        return None
    inputs = {name: value if isinstance(value, int | float) else type(value) for name, value in request.inputs.items()}
    return _facts(lambda: [
        _plain(spec.scheduler), spec.options.get("scheduler"), request.steps, request.steps_skipped, request.height,
        request.width, _plain(inputs), None if refiner is None else refiner.start,
    ])  # fmt: skip


def weights_facts(checkpoint: Checkpoint, variant: str | None) -> Any:
    """What loading without weights depends on.

    Args:
        checkpoint: The base checkpoint or the refiner.
        variant: Variant of the weights files; None for the default files.
    """
    return repr((checkpoint_key(checkpoint), variant))


def option_facts(checked: Checked) -> Any:
    """What options that change models depend on: all but prompts, seeds and what is in images.

    Args:
        checked: The request with its checkpoint.
    """
    spec, request, checkpoint = checked.spec, checked.request, checked.checkpoint
    device = device_facts(checked)
    if device is None or not _is_native(checkpoint):
        return None
    chosen = [spec.task, spec.guidance, *spec.memory.values(), *spec.accel.values()]
    if not _are_known(chosen) or any(target.path == READS_MEMORY for target in chosen):
        return None
    files = [
        *(fit.file.path for fit in checked.loras.values()), *(of.file.path for of in checked.embeddings.values()),
        *(of.path for of in checked.ip_adapters.values()),
        *(file for model in checked.controls.values() for file in model.files),
    ]  # fmt: skip
    return _facts(lambda: [
        device, _fields(spec, ELSEWHERE), _fields(request, FREE), request.batch, _plain(checkpoint),
        weights_facts(checkpoint, spec.model.variant), None if checked.refiner is None else _plain(checked.refiner),
        checked.lenient, checked.at_once, [file_states(file) for file in files],
    ])  # fmt: skip


def offer_facts(checked: Checked) -> Any:
    """What depends on which options there are, beside what one of them depends on.

    Args:
        checked: The request with its checkpoint.
    """
    facts, folders = option_facts(checked), conf_folders()
    if facts is None or any(trusted()):  # options of plugins
        return None
    files = [(str(folder), group, file_states(folder / group)) for folder in folders for group in groups([folder])]
    return [facts, files]


def family_facts(checkpoint: Checkpoint) -> Any:
    """What the class of a native family depends on.

    Args:
        checkpoint: The checkpoint.
    """
    return checkpoint.family_info.family if _is_native(checkpoint) else None


def denoiser_bytes(checkpoint: Checkpoint) -> int:
    """Get the size of the denoiser's weights from the headers of its files.

    Args:
        checkpoint: Checkpoint of the run.

    Returns:
        Bytes in fp32; 0 if the files have not been downloaded.
    """
    denoiser = checkpoint.family_info.denoiser[0]
    files = [checkpoint.path] if checkpoint.single_file else checkpoint.files(denoiser)
    return sum(count_weights(files).values()) * 4


def _is_native(checkpoint: Checkpoint) -> bool:
    return checkpoint.family != HOSTED and checkpoint.family_info.family.startswith("composer.")


def _are_known(targets: Iterable[Choice]) -> bool:
    return all(target.path.partition(".")[0] in KNOWN for target in targets)


def _index(checkpoint: Checkpoint) -> Mapping[str, Any]:
    return stored_index(checkpoint.config_source or checkpoint.path)


def _facts(collect: Callable[[], Any]) -> Any:
    try:
        return collect()
    except (_Unknown, ComposerError):
        return None


def _fields(value: Any, left_out: Collection[str]) -> Any:
    return [(field.name, _plain(getattr(value, field.name))) for field in fields(value) if field.name not in left_out]


def _plain(value: Any) -> Any:
    """A value as data whose `repr` is complete and always the same."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if is_dataclass(value):
        return [type(value).__qualname__, _fields(value, ())]
    if isinstance(value, Mapping):
        return [(str(key), _plain(value[key])) for key in value]
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if hasattr(value, "mode") and hasattr(value, "size"):  # an image of PIL's
        return ["image", value.mode, list(value.size)]
    raise _Unknown
