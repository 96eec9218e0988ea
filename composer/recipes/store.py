"""Results of steps in the disk cache, found by all that determines them: settings, images, weights, versions, hardware.

A step that is the same in another run of the recipe, or in another job of a sweep, is therefore made once; and what was
complete when a process was killed is there when it goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from composer.checks.compatibility import Checked
from composer.loading import disk_cache
from composer.media.medium import digest
from composer.recipes.check import CheckedTool
from composer.recipes.tool_key import tool_key
from composer.records.job_id import hash_plain_data, job_key
from composer.records.record import versions
from composer.records.result import Result
from composer.system.files import encode_png
from composer.system.processor import processor_name
from composer.version import __version__

KIND = "steps"
#: Attributes of a result that are tuples.
_TUPLES = ("seeds", "notes", "flagged", "batches", "texts")
RECORD, MEDIA, FILES = "record.json", "media", "files"


def step_key(checked: Checked | CheckedTool) -> str:
    """Hash all that determines the results of a step.

    Args:
        checked: The step with its real inputs.

    Returns:
        32 hexadecimal digits.
    """
    import torch

    from composer.loading.precision import resolve_device

    device = resolve_device(checked.spec.device)
    conditions = {
        "composer": __version__,
        "versions": dict(versions()),
        "device": str(device),
        "processor": processor_name(device),
        "threads": torch.get_num_threads(),
    }
    return hash_plain_data({**conditions, "step": tool_key(checked) if isinstance(checked, CheckedTool) else [
        job_key(checked), checked.lenient, checked.request.seeds, checked.request.prompts]})  # fmt: skip


def find(key: str) -> tuple[Result, Path] | None:
    """Find the result of a step.

    Args:
        key: As `step_key` returns it.

    Returns:
        The result, and a directory with the files that its callbacks wrote; None if it was not made before, or if the
        stored pixels are not those of its record.
    """
    path = disk_cache.folder(KIND) / key
    try:
        record = json.loads((path / RECORD).read_text("utf-8"))
        media = [_opened(file) for file in sorted((path / MEDIA).glob("*.png"))]
        if [digest(image) for image in media] != record["pixels"]:
            raise ValueError("other pixels")
        result = Result(media=list(media), **_tuples(record.pop("result")), record=record)
        disk_cache.used(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        disk_cache.remove(path)
        return None
    return result, path / FILES


def put(key: str, result: Result, files: Path) -> None:
    """Store the result of a step, unless it is of clips or sounds, whose files lose something.

    Args:
        key: As `step_key` returns it.
        result: The result.
        files: Directory with files of callbacks; it may not exist.
    """
    if result.kind not in ("image", "text"):
        return

    def write(folder: Path) -> None:
        (folder / MEDIA).mkdir()
        for number, image in enumerate(result.images):
            (folder / MEDIA / f"{number:06d}.png").write_bytes(encode_png(image))
        if files.is_dir():
            shutil.copytree(files, folder / FILES)
        (folder / RECORD).write_text(json.dumps({**result.record, "result": _facts(result)}), "utf-8")

    try:
        disk_cache.get_or_create(KIND, key, write)
    except OSError:  # a cache that cannot be written to makes a step slower next time, and nothing else
        return


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
    return image.copy()


def _facts(result: Result) -> Mapping[str, Any]:
    return {name: getattr(result, name) for name in (*_TUPLES, "seconds", "iterations")}


def _tuples(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {name: tuple(value) if name in _TUPLES else value for name, value in facts.items()}
