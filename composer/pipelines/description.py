"""`compose show`: what a pipeline is composed of, without loading its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.control_model import ControlModel
from composer.checkpoints.headers import PICKLED, read_header
from composer.checkpoints.layouts import HOSTED
from composer.checks.compatibility import ROLES, Checked, tasks_of
from composer.config.control import key_of as control_key
from composer.config.lora import key_of
from composer.config.spec import ControlSpec
from composer.pipelines.offers import Offers
from composer.pipelines.trial import lines_of_schedule
from composer.tasks.base import SIDES

#: The settings that say most about a component, by its kind.
SHOWN_SETTINGS = (
    "sample_size", "in_channels", "out_channels", "block_out_channels", "cross_attention_dim", "latent_channels",
    "scaling_factor", "hidden_size", "num_hidden_layers", "num_layers", "vocab_size", "model_max_length",
    "guidance_embeds",
)  # fmt: skip


def describe(checked: Checked, notes: Sequence[str], offers: Offers) -> str:
    """Describe a run and its checkpoint as text.

    Args:
        checked: A request that was tried.
        notes: Notes that the run would print.
        offers: What can be chosen for the checkpoint.

    Returns:
        Lines of text.
    """
    request, checkpoint, spec = checked.request, checked.checkpoint, checked.spec
    lines = [
        f"task       {spec.task.name}",
        f"model      {spec.model.name}: {checkpoint.source}, family {checkpoint.family} ({_does(checkpoint)})",
        f"           predicts {checkpoint.prediction}, {ROLES[checkpoint.role][0]}: task={tasks_of(checkpoint)}",
        *(
            [f"refiner    {checked.refiner.source}, from {spec.model.refiner.start:.0%} of the schedule on"]
            if checked.refiner and spec.model.refiner
            else []
        ),
        f"compute    {spec.precision.dtype} on {spec.device}",
        f"guidance   {spec.guidance.path.rsplit('.', 1)[-1]} {_pairs(spec.guidance.keywords)}",
        *(f"{key_of(name):10} {lora.file}, scale {lora.scale:g}" for name, lora in spec.loras.items()),
        *(f"embedding  {of.file.path.name} as {of.word}" for of in checked.embeddings.values()),
        *(
            f"{control_key(name):10} {_control(control, checked.controls[name])}"
            for name, control in spec.controls.items()
        ),
        *(f"ip_adapter {of.path.name}, scale {of.spec.scale:g}" for of in checked.ip_adapters.values()),
        f"callbacks  {', '.join(spec.callbacks) or 'none'}",
        *(
            f"{group:10} {', '.join(named)}"
            for group, named in {"memory": spec.memory, "accel": spec.accel, "metric": spec.metrics}.items()
            if named
        ),
        f"{_amount(checked)}, seeds {', '.join(map(str, request.seeds[:8]))}"
        + (" …" if request.batch > 8 else "")
        + (f", {spec.batch} at once" if spec.batch else ""),
        *(f"note       {note}" for note in notes),
        "",
        "can be chosen",
        *(f"  {field.name:8} {_listed(getattr(offers, field.name))}" for field in fields(offers)),
        "",
        "components",
        *_components(checkpoint),
        "",
        *lines_of_schedule(checked),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _amount(checked: Checked) -> str:
    """Number and size of the images, clips or sounds."""
    request, inputs, makes = checked.request, checked.request.inputs, checked.task.makes
    if makes == "sound":
        length = inputs.get("seconds")
        text = "the length that the pipeline chooses" if length is None else f"{length:g} s"
        return f"sounds   {request.batch} of {text}"
    size = f"{request.width} x {request.height} pixels"
    if len(request.sides) < len(SIDES):
        size = "the size that the pipeline chooses"
    if makes == "clip":
        frames = "as many" if inputs.get("frames") is None else inputs["frames"]
        size += f", {frames} frames at {inputs.get('fps') or 0:g} per second"
    return f"{makes + 's':8} {request.batch} of {size}"


def _control(control: ControlSpec, model: ControlModel) -> str:
    """A control model, its image, and how it applies."""
    how = "" if control.preprocess == "none" else f" by {control.preprocess}"
    mode = "" if model.mode is None else f", mode {model.mode}"
    part = "" if (control.start, control.end) == (0, 1) else f", from {control.start:.0%} to {control.end:.0%}"
    weights = _weights(model.files)
    lines = f"{control.model}: {model.component.cls}{mode}, {control.image}{how}, scale {control.scale:g}{part}"
    return f"{lines}; {weights}" if weights else lines


def _listed(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _does(checkpoint: Checkpoint) -> str:
    """What runs it: a family's class here, or the pipeline of diffusers; and the one that its index names."""
    if checkpoint.family == HOSTED:
        return checkpoint.pipeline
    saved = f", saved as {checkpoint.pipeline}" if checkpoint.pipeline else ""
    return checkpoint.family_info.family.replace(":", ".") + saved


def _components(checkpoint: Checkpoint) -> list[str]:
    lines, single = [], checkpoint.single_file
    if single:
        lines.append(
            f"  {checkpoint.path.name}: {_weights([checkpoint.path])}; json files of {checkpoint.config_source}"
        )
    for name, cls in sorted(checkpoint.classes.items()):
        elsewhere = name in checkpoint.component_overrides or not single
        folder = checkpoint.folder(name) if elsewhere else checkpoint.path
        weights = _weights(checkpoint.files(name)) if elsewhere else ""
        lines.append(f"  {name:14} {cls:24} {weights or '-':42} {folder}")
        pairs = {
            key: value
            for key, value in checkpoint.configs.get(name, {}).items()
            if key in SHOWN_SETTINGS and value is not None
        }
        if pairs:
            lines.append(f"  {'':14} {_pairs(pairs)}")
    return lines


def _weights(files: list[Path]) -> str:
    """Parameters, bytes and dtypes of weights files; of pickles, which are not looked into, the bytes."""
    if any(file.suffix in PICKLED for file in files):
        return f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB, pickled"
    table = {key: entry for file in files for key, entry in read_header(file).items()}
    if not table:
        return ""
    parameters = sum(prod(entry["shape"]) for entry in table.values())
    size = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in table.values())
    dtypes = "/".join(sorted({entry["dtype"] for entry in table.values()}))
    return f"{parameters:,} parameters, {size / 2**20:.1f} MiB, {dtypes}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
