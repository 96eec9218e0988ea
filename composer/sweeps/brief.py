"""The parts of a job's record that a sweep's pages show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.media.formats import FORMATS
from composer.records.measured import job_values


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """Extract what pages and tables show of a record.

    Args:
        record: Record of a run, from any version of composer.

    Returns:
        Plain data with the keys ``images`` (file names, of clips and sounds too), ``posters`` (files of the images that
        are shown for clips and sounds, empty for images), ``hashes`` (SHA-256 of what is shown), ``seeds``,
        ``seconds``, ``peak_memory`` (bytes), ``steps``, ``scheduler``, ``prompt``, ``metrics`` (see `job_values`),
        ``values`` (of swept keys) and ``versions``.
    """
    images = record.get("images", [])
    prompts = [str(image.get("prompt", "")) for image in images]
    form = FORMATS.get(record.get("config", {}).get("output", {}).get("format", "png"), FORMATS["png"])
    names, hashes = tuple(f"{i:03d}.{form.suffix}" for i in range(len(images))), record.get("files") or {}
    posters = tuple(f"{i:03d}.poster.jpg" for i in range(len(images))) if "media" in record else ()
    return {
        "images": names,
        "posters": posters,
        "hashes": tuple(str(hashes.get(name)) for name in posters or names),
        "seeds": tuple(image["seed"] for image in images),
        "seconds": record.get("seconds"),
        "peak_memory": record.get("peak_memory"),
        "steps": record.get("steps"),
        "scheduler": record.get("scheduler", {}).get("class"),
        "prompt": " | ".join(dict.fromkeys(prompts)) if prompts else None,
        "metrics": job_values(record),
        "values": (record.get("sweep") or {}).get("values", {}),
        "versions": {"composer": record.get("composer"), **record.get("versions", {})},
    }
