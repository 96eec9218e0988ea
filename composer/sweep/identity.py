"""What makes two jobs the same: everything that has a say in their files, and nothing else, such as paths or the device's number."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from composer.check import Checked
from composer.checkpoint import Checkpoint
from composer.installed import provider
from composer.spec import Target

#: Bytes looked at from either end of a file; between them lie weights, of which the size and the sums of both ends tell enough.
ENDS = 1 << 16


def identity(checked: Checked) -> str:
    """A job's id: 32 hexadecimal digits of the SHA-256 of what it is, resolved."""
    text = json.dumps(essence(checked), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def essence(checked: Checked) -> dict[str, Any]:
    """What the id is made of, as plain data."""
    spec, inputs = checked.spec, checked.request.inputs
    pictures = {key: [fingerprint(each) for each in value] for key, value in inputs.items() if _are_pictures(value)}
    return {
        "task": _target(spec.task),
        "values": {key: value for key, value in spec.values.items() if key not in inputs} | {"pictures": pictures},
        "settled": {key: value for key, value in inputs.items() if key not in pictures},
        "size": (checked.request.height, checked.request.width),
        "model": model_stamp(checked.checkpoint),
        "refiner": checked.refiner and [model_stamp(checked.refiner), spec.model.refiner.start],
        "scheduler": [_target(spec.scheduler.target), dict(spec.scheduler.keywords)],
        "guidance": _target(spec.guidance),
        "callbacks": [[name, _target(target), name in spec.skipping] for name, target in spec.callbacks.items() if name != "progress"],
        "memory": [_target(target) for target in spec.memory.values()],
        "accel": [_target(target) for target in spec.accel.values()],
        "precision": [spec.precision.dtype, spec.precision.strict, dict(spec.precision.components)],
        "device": spec.device,
        "batch": spec.batch,
        "output": [spec.output.format, spec.output.quality],
    }


def _target(target: Target | None) -> Any:
    if target is None:
        return None
    whose = provider(target.path)
    return [target.path, dict(target.keywords), whose and str(whose)]


def _are_pictures(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(hasattr(each, "tobytes") for each in value)


def fingerprint(picture: Any) -> str:
    """Of a PIL picture or an array, by its pixels."""
    traits = f"{getattr(picture, 'mode', '')}{getattr(picture, 'size', '')}{getattr(picture, 'shape', '')}"
    return hashlib.sha256(traits.encode() + picture.tobytes()).hexdigest()


def model_stamp(checkpoint: Checkpoint) -> Any:
    """The hub's commit, or the sums of a local checkpoint's files; and the same for components from elsewhere."""
    swapped = {name: each.commit or folder_stamp(each.folder) for name, each in sorted(checkpoint.swapped.items())}
    own = [checkpoint.source, checkpoint.commit] if checkpoint.commit else folder_stamp(checkpoint.path)
    return [own, swapped, checkpoint.safety_checker]


@lru_cache(maxsize=64)
def folder_stamp(path: Path) -> str:
    """One sum over names, sizes and ends of all files of a folder, or of a single file."""
    total = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    for file in files:
        size = file.stat().st_size
        total.update(f"{file.relative_to(path) if file != path else ''} {size}\0".encode())
        with open(file, "rb") as handle:
            total.update(handle.read(ENDS))
            handle.seek(max(size - ENDS, 0))
            total.update(handle.read(ENDS))
    return total.hexdigest()
