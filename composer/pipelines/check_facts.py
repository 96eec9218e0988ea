"""What the checks of a run depend on, as plain data by which their results are found again. Imports no torch.

None stands for what can't be found again: classes of plugins, which may read anything, and values of other kinds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import count_weights
from composer.checkpoints.layouts import HOSTED
from composer.checkpoints.sources import is_embedded
from composer.checks.compatibility import Checked
from composer.config.plugins import trusted
from composer.config.search_path import conf_folders
from composer.config.spec import Choice
from composer.errors import ComposerError
from composer.loading.load_options import checkpoint_key, file_states
from composer.loading.plain_data import NotPlain, plain, plain_fields
from composer.system.devices import is_on_cpu

#: Packages whose classes depend on their files and settings alone.
KNOWN = ("composer", "diffusers")
#: Option that chooses by the memory that is free.
READS_MEMORY = "composer.options.memory.auto.Auto"
#: Fields of a request that no check of a native model reads.
FREE = ("prompts", "negative_prompts", "seeds", "notes", "steps", "steps_skipped")
#: Fields of the settings that no option reads, or that are in the request.
ELSEWHERE = (
    "values", "config", "output", "wildcards", "callbacks", "skip_on_error", "scheduler", "options", "metrics",
    "guidance",
)  # fmt: skip
#: Groups whose options `compose show` lists.
OFFERED = ("task", "guidance", "memory", "accel")
#: Packages that options and precisions need, beside those that are always installed.
OPTIONAL = (
    "bitsandbytes", "gguf", "nncf", "onnx", "onnxruntime", "openvino", "optimum", "peft", "tomesd", "torchao",
    "xformers",
)  # fmt: skip
#: From so many steps on, options with their default settings do not depend on how many there are.
ENOUGH_STEPS = 8


def device_facts(checked: Checked) -> Any:
    """What the choice of device and dtypes depends on.

    Args:
        checked: The request with its checkpoint.
    """
    checkpoint, precision = checked.checkpoint, checked.spec.precision
    size, device = denoiser_bytes(checkpoint), checked.spec.device
    return _facts(
        lambda: [
            device, is_on_cpu(device), plain(precision), size, checkpoint.single_file, checkpoint.quantised,
            plain(checkpoint.family_info.denoiser), [name for name in OPTIONAL if find_spec(name) is not None],
        ]
    )  # fmt: skip


def schedule_facts(checked: Checked) -> Any:
    """What the schedule and its trial depend on beside the steps: of the checkpoint its scheduler alone.

    Which settings of a scheduler a pipeline class changes does not depend on its other components.

    Args:
        checked: The request with its checkpoint.
    """
    spec, request, checkpoint = checked.spec, checked.request, checked.checkpoint
    target = spec.scheduler.target
    if not _are_known([target] if target else []) or not _is_native(checkpoint):
        return None
    shifts = checkpoint.scheduler_type == "flow"  # some of these schedules are shifted by the size
    sizes = [request.height, request.width, request.inputs.get("latent_frames")] if shifts else []
    refiner = spec.model.refiner if checked.refiner is not None else None
    return _facts(lambda: [
        target.path if target else None, plain(spec.scheduler.keywords), checkpoint.classes.get("scheduler"),
        plain({key: value for key, value in checkpoint.scheduler.items() if not key.startswith("_")}),
        checkpoint.family, checkpoint.pipe, checkpoint.prediction, plain(checkpoint.settings),
        checkpoint.vae_scale_factor, sizes, "strength" in request.inputs, None if refiner is None else refiner.start,
    ])  # fmt: skip


def weights_facts(checkpoint: Checkpoint, variant: str | None) -> Any:
    """What loading without weights depends on; nothing for what comes with composer, which changes with it alone.

    Args:
        checkpoint: The base checkpoint or the refiner.
        variant: Variant of the weights files; None for the default files.
    """
    return "composer" if comes_with_composer(checkpoint, variant) else repr((checkpoint_key(checkpoint), variant))


def comes_with_composer(checkpoint: Checkpoint, variant: str | None) -> bool:
    """Test whether all files come with composer, whose tests load them.

    Args:
        checkpoint: The base checkpoint or the refiner.
        variant: Variant of the weights files; None for the default files.
    """
    sources = [checkpoint.source, *(of.location.source for of in checkpoint.component_overrides.values())]
    return variant is None and all(map(is_embedded, sources))


def option_facts(checked: Checked) -> Any:
    """What options that change models depend on: all but prompts, seeds and what is in images.

    Memory options and textual inversions do not depend on the number of steps, others may.

    Args:
        checked: The request with its checkpoint.
    """
    counted = checked.spec.accel or checked.loras or checked.controls or checked.ip_adapters
    facts = _request_facts(checked)
    return None if facts is None else [facts, _steps_taken(checked) if counted else None]


def _request_facts(checked: Checked) -> Any:
    """All but prompts, seeds, steps and what is in images."""
    spec, request, checkpoint = checked.spec, checked.request, checked.checkpoint
    device = device_facts(checked)
    if device is None or not _is_composers(checkpoint):
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
        device, plain_fields(spec, ELSEWHERE), spec.guidance.keywords.get("guider"), plain_fields(request, FREE),
        request.batch, plain(checkpoint), weights_facts(checkpoint, spec.model.variant),
        None if checked.refiner is None else plain(checked.refiner), checked.lenient, checked.at_once,
        [file_states(file) for file in files],
    ])  # fmt: skip


def trial_facts(checked: Checked) -> Any:
    """What a complete trial depends on; of a hosted checkpoint on prompts too, since its pipeline checks its inputs.

    Args:
        checked: The request with its checkpoint.
    """
    spec, request, hosted = checked.spec, checked.request, checked.checkpoint.family == HOSTED
    facts, target = _request_facts(checked), spec.scheduler.target
    schedule = _facts(lambda: plain(spec.scheduler)) if hosted else schedule_facts(checked)
    if facts is None or schedule is None or not _are_known([*spec.callbacks.values(), *([target] if target else ())]):
        return None
    values = {key: value for key, value in spec.values.items() if key != "seed"}
    inputs = [[values, request.prompts, request.negative_prompts]] if hosted else []
    return _facts(lambda: [
        facts, schedule, request.steps, request.steps_skipped, plain(spec.guidance), plain(spec.callbacks),
        *plain(inputs),
    ])  # fmt: skip


def offer_facts(checked: Checked) -> Any:
    """What depends on which options there are, beside what one of them depends on.

    Args:
        checked: The request with its checkpoint.
    """
    facts, folders = _request_facts(checked), conf_folders()
    if facts is None or any(trusted()):  # options of plugins
        return None
    files = [
        (group, file.name, zlib.crc32(file.read_bytes()))
        for folder in folders
        for group in OFFERED
        for file in sorted((folder / group).glob("*.yaml"))
    ]
    return [facts, min(_steps_taken(checked), ENOUGH_STEPS), files]


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


def _steps_taken(checked: Checked) -> int:
    return checked.request.steps - checked.request.steps_skipped


def _is_native(checkpoint: Checkpoint) -> bool:
    return checkpoint.family != HOSTED and _is_composers(checkpoint)


def _is_composers(checkpoint: Checkpoint) -> bool:
    """Whether its family is composer's, or diffusers runs it: that of a plugin may read anything."""
    return checkpoint.family_info.family.startswith("composer.")


def _are_known(targets: Iterable[Choice]) -> bool:
    return all(target.path.partition(".")[0] in KNOWN for target in targets)


def _facts(collect: Callable[[], Any]) -> Any:
    try:
        return collect()
    except (NotPlain, ComposerError):
        return None
