"""Checks of LoRA files against a checkpoint, from headers alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.control_lora import refuse_control_lora
from composer.checkpoints.lora_file import read_lora
from composer.checkpoints.lora_fit import LoraFit, fit_lora
from composer.config.lora import key_of
from composer.config.spec import LoraSpec, RunSpec
from composer.errors import ComposerError

#: Names of LoRA files in directories and repositories, as diffusers and PEFT write them.
USUAL_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")


def check_loras(spec: RunSpec, checkpoint: Checkpoint) -> Mapping[str, LoraFit]:
    """Find the files of a run's LoRA, and refuse those that would not be applied completely.

    Args:
        spec: Settings of the run.
        checkpoint: Its checkpoint.

    Returns:
        Files with the layers that they change, by name.

    Raises:
        ComposerError: A file is missing, damaged or for another model, or a setting would have no effect.
    """
    fits = {}
    for name, lora in spec.loras.items():
        key = key_of(name)
        source = AdapterSource(key=key, file=lora.file, revision=lora.revision, usual_names=USUAL_NAMES)
        path = locate(source)
        refuse_control_lora(key, path, checkpoint)
        fits[name] = fit = fit_lora(key, read_lora(path, key), checkpoint)
        _check_settings(key, lora, fit, checkpoint)
    return MappingProxyType(fits)


def _check_settings(key: str, lora: LoraSpec, fit: LoraFit, checkpoint: Checkpoint) -> None:
    for component, scale in lora.scales.items():
        if component not in fit.components and not fit.open:
            reason = f"the file changes no {component}"
            raise ComposerError(f"{key}.scale.{component}", scale, reason, sorted(fit.components))
    if lora.method == "peft" and fit.why_not_peft:
        reason = f"the file {fit.why_not_peft}, of which diffusers applies nothing or a part: use auto"
        raise ComposerError(f"{key}.method", "peft", reason, ("auto", "merge"))
    if lora.method == "merge" and fit.open and not checkpoint.single_file:
        first = next(iter(fit.open[0].tensors.values()))
        reason = f"needs layers by diffusers' names, and the file has others ({first}): use auto"
        raise ComposerError(f"{key}.method", "merge", reason, ("auto", "peft"))
    denoiser = checkpoint.family_info.denoiser[0]
    if (lora.start, lora.end) != (0, 1) and denoiser not in fit.components and not fit.open:
        reason = f"would do nothing: the file changes {' and '.join(sorted(fit.components))} alone, which run once"
        raise ComposerError(f"{key}.start", lora.start, reason)
