"""Ids of jobs: two jobs are the same if everything that determines their files is.

Paths and the index of a device, for instance, are not part of an id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from composer.checkpoints.control_model import ControlModel
from composer.checkpoints.fingerprints import are_images, checkpoint_fingerprint, file_sha256, image_fingerprint
from composer.checkpoints.layouts import FORMER_NAMES
from composer.checkpoints.lora_fit import LoraFit
from composer.checks.compatibility import Checked
from composer.config.choices import choice, scheduler_choice
from composer.config.spec import ControlSpec, LoraSpec
from composer.records.measured import metric_keys

#: Number of the present schema of ids; `schema0` computes the former ones.
SCHEMA = 1
#: Inputs that are omitted while they are off, which keeps the ids from before they existed.
NEWER = ("match_tones",)


def job_id(checked: Checked) -> str:
    """Compute the id of a job.

    Args:
        checked: The job's config, checked against its checkpoint.

    Returns:
        32 hexadecimal digits.
    """
    return hash_plain_data(job_key(checked))


def hash_plain_data(data: Any) -> str:
    """Hash plain data, whatever the order of its keys.

    Args:
        data: Mappings, sequences and scalars; other values count by their ``str``.

    Returns:
        The first 32 hexadecimal digits of the SHA-256.
    """
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def job_key(checked: Checked) -> dict[str, Any]:
    """Collect what a job's id is computed from.

    Args:
        checked: The job's config, checked against its checkpoint.

    Returns:
        Plain data. Any change of its content changes the ids of existing sweeps.
    """
    spec, inputs, precision = checked.spec, checked.request.inputs, checked.spec.precision
    forced = ["force"] * precision.force  # omitted unless set, which keeps the ids from before this key existed
    images = {key: [image_fingerprint(image) for image in value] for key, value in inputs.items() if are_images(value)}
    refiner = None
    if checked.refiner is not None and spec.model.refiner is not None:
        refiner = [checkpoint_fingerprint(checked.refiner), spec.model.refiner.start]
    loras = [_lora(name, lora, checked.loras[name]) for name, lora in spec.loras.items()]
    family = FORMER_NAMES.get(spec.model.family, spec.model.family)
    return {
        "schema": SCHEMA,
        "task": choice(spec.task),
        "values": {key: value for key, value in spec.values.items() if key not in inputs} | {"pictures": images},
        "settled": inputs_of_id({key: value for key, value in inputs.items() if key not in images}),
        "size": (checked.request.height, checked.request.width),
        "model": checkpoint_fingerprint(checked.checkpoint),
        "refiner": refiner,
        "scheduler": scheduler_choice(spec.scheduler),
        "guidance": choice(spec.guidance),
        "callbacks": [
            [name, choice(target), name in spec.skip_on_error]
            for name, target in spec.callbacks.items()
            if name != "progress"
        ],
        "memory": [choice(target) for target in spec.memory.values()],
        "accel": [choice(target) for target in spec.accel.values()],
        "precision": [
            precision.dtype,
            precision.strict,
            precision.storage,
            precision.vae_upcast,
            dict(precision.components),
            *forced,
        ],
        "device": spec.device,
        "batch": spec.batch,
        "overflow": spec.overflow,
        "output": [spec.output.format, spec.output.quality],
        **({"prompt_syntax": spec.prompt_syntax} if spec.prompt_syntax != "text" else {}),  # as with LoRA
        **({"chosen": [checked.request.prompts, checked.request.negative_prompts]} if spec.dynamic_prompts else {}),
        **({"lora": loras} if loras else {}),  # which keeps the ids of sweeps without any
        **_adapters(checked),
        **({"metric": metric_keys(spec.metrics, checked.metrics)} if checked.metrics else {}),  # likewise
        **({"family": family} if family != "auto" else {}),  # likewise
    }


def inputs_of_id(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the inputs of a request to those that distinguish jobs.

    Args:
        inputs: Inputs that are no images.

    Returns:
        The inputs without those that do nothing and that there were none of when ids of this schema began.
    """
    return {key: value for key, value in inputs.items() if key not in NEWER or value}


def _adapters(checked: Checked) -> dict[str, Any]:
    """What other adapters contribute: the content of their files, and what they stand for."""
    embeddings = [[name, file_sha256(of.file.path), of.word] for name, of in checked.embeddings.items()]
    controls = [_control(name, of, checked.controls[name]) for name, of in checked.spec.controls.items()]
    prompts = [[name, *prompt.content] for name, prompt in checked.ip_adapters.items()]
    named = {"embedding": embeddings, "control": controls, "ip_adapter": prompts}
    return {key: of for key, of in named.items() if of}


def _lora(name: str, lora: LoraSpec, fit: LoraFit) -> list[Any]:
    """What a LoRA contributes: the content of its file, wherever that is, and its settings."""
    return [name, file_sha256(fit.file.path), lora.scale, dict(lora.scales), lora.start, lora.end, lora.method]


def _control(name: str, control: ControlSpec, model: ControlModel) -> list[Any]:
    """What a control model contributes beside its image, which is among the inputs of the request."""
    preprocess = [control.preprocess, dict(control.preprocess_settings)]
    return [name, model.fingerprint, control.scale, control.start, control.end, model.mode, *preprocess]
