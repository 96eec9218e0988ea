"""The options of a run that change its models, as objects that have been checked: adapters, memory, acceleration."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from composer.checks.compatibility import Checked
from composer.config.targets import build
from composer.errors import ComposerError
from composer.options.adapters.control.lora import control_loras
from composer.options.adapters.control.option import Control
from composer.options.adapters.embeddings import Embeddings
from composer.options.adapters.ip_adapters import IpAdapters
from composer.options.adapters.ip_transformers import FluxIpAdapters, SD3IpAdapters
from composer.options.adapters.lora import Lora
from composer.options.base import ModelOption, NoEffect, OptionContext

if TYPE_CHECKING:
    import torch

    from composer.checkpoints.checkpoint import Checkpoint
    from composer.loading.precision import DtypePlan

#: Family → how IP-Adapters are loaded into its denoiser; UNets are not listed.
_IP_ADAPTERS: dict[str, type[IpAdapters]] = {"flux": FluxIpAdapters, "sd3": SD3IpAdapters}


def choose_options(
    checked: Checked, device: torch.device, dtypes: DtypePlan
) -> tuple[dict[str, ModelOption], list[str]]:  # fmt: skip
    """Build and check the options of a run that change its models.

    Args:
        checked: The request with its checkpoint.
        device: Device that the models compute on.
        dtypes: Dtype of each component.

    Returns:
        Options by ``group.name``, and notes about those that were chosen automatically or omitted.

    Raises:
        ComposerError: An option would do nothing, or conflicts with another.
    """
    groups = {"memory": checked.spec.memory, "accel": checked.spec.accel}
    targets = {f"{group}.{name}": target for group, named in groups.items() for name, target in named.items()}
    candidates = {name: build(name, target, ModelOption) for name, target in targets.items()}
    adapters: dict[str, ModelOption] = {}
    if checked.embeddings:
        adapters["embedding.embedding"] = Embeddings(checked.embeddings)
    if checked.ip_adapters:
        kind = _IP_ADAPTERS.get(checked.checkpoint.family, IpAdapters)
        adapters["ip_adapter.ip_adapter"] = kind(checked.ip_adapters)
    specs, fits = control_loras(checked.spec.controls, checked.controls)
    if checked.loras or fits:
        adapters["lora.lora"] = Lora({**checked.spec.loras, **specs}, {**checked.loras, **fits})
    if checked.controls:
        adapters["control.control"] = Control(checked.spec.controls, checked.controls)
    candidates = adapters | candidates
    context = OptionContext(checked=checked, device=device, dtypes=dtypes, active=frozenset(candidates))
    errors = {name: error for name, option in candidates.items() if (error := _without_effect(option, context))}
    options: dict[str, ModelOption] = {}
    notes = [f"{error}: left out" for error in errors.values()]
    for option in (option for name, option in candidates.items() if name not in errors):
        expanded, note = option.expand(context)
        options = {**expanded, **options}  # an option that was named takes precedence
        notes += [note] if note else []
    # adapters first: all others must find the layers and weights that they put in
    return {name: option for name, option in adapters.items() if name in options} | options, notes


def _without_effect(option: ModelOption, context: OptionContext) -> NoEffect | None:
    """Check an option; the error where it would do nothing and that does not end the run."""
    try:
        option.check(context)
        if context.checked.refiner is not None and not option.base_only:
            _check_refiner(option, context, context.checked.refiner)
    except NoEffect as error:
        if not context.checked.lenient:
            raise
        return error
    return None


def _check_refiner(option: ModelOption, context: OptionContext, refiner: Checkpoint) -> None:
    """Check an option against the refiner, whose models it changes like those of the base."""
    try:
        # a copy: what an option keeps of the checkpoint that it is checked against is of the base model
        copy(option).check(replace(context, checked=replace(context.checked, checkpoint=refiner, refiner=None)))
    except ComposerError as error:
        reason = f"{error.reason} (the refiner, {refiner.source})"
        raise type(error)(error.key, error.value, reason, error.allowed) from None
