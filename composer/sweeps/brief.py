"""What a sweep's pages show of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data of one job that is done."""
    images = record.get("images", [])
    prompts = [str(image.get("prompt", "")) for image in images]
    suffix = {"jpeg": "jpg"}.get(form := record.get("config", {}).get("output", {}).get("format", "png"), form)
    names, sums = tuple(f"{i:03d}.{suffix}" for i in range(len(images))), record.get("files") or {}
    return {
        "images": names,
        "sums": tuple(str(sums.get(name)) for name in names),
        "seeds": tuple(image["seed"] for image in images),
        "seconds": record.get("seconds"),
        "peak_memory": record.get("peak_memory"),
        "steps": record.get("steps"),
        "scheduler": record.get("scheduler", {}).get("class"),
        "prompt": " | ".join(dict.fromkeys(prompts)) if prompts else None,
        "values": (record.get("sweep") or {}).get("values", {}),
        "versions": {"composer": record.get("composer"), **record.get("versions", {})},
    }
