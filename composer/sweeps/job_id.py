"""What makes two jobs the same: everything that has a say in their files, and nothing else, such as paths or the
device's number.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from composer.checkpoints.fingerprints import are_images, checkpoint_fingerprint, image_fingerprint
from composer.checks.compatibility import Checked
from composer.config.choices import choice, scheduler_choice

#: Changes when ids are made of something else; `schema0` knows those before.
SCHEMA = 1


def identity(checked: Checked) -> str:
    """A job's id."""
    return digest(essence(checked))


def digest(essence: Any) -> str:
    """32 hexadecimal digits of the SHA-256 of plain data."""
    text = json.dumps(essence, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def essence(checked: Checked) -> dict[str, Any]:
    """What the id is made of, as plain data."""
    spec, inputs, precision = checked.spec, checked.request.inputs, checked.spec.precision
    forced = ["force"] * precision.force  # only where it is said, so that ids made before there was such a key stay
    images = {key: [image_fingerprint(each) for each in value] for key, value in inputs.items() if are_images(value)}
    return {
        "schema": SCHEMA,
        "task": choice(spec.task),
        "values": {key: value for key, value in spec.values.items() if key not in inputs} | {"pictures": images},
        "settled": {key: value for key, value in inputs.items() if key not in images},
        "size": (checked.request.height, checked.request.width),
        "model": checkpoint_fingerprint(checked.checkpoint),
        "refiner": checked.refiner and [checkpoint_fingerprint(checked.refiner), spec.model.refiner.start],
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
    }
