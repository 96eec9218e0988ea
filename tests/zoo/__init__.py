"""Tiny pipelines of diffusers' classes, with random weights, for tests of everything that runs any of them.

`ZOO` has them by name. To add one, write its maker into the module of its kind and a line into that module's `ENTRIES`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo import audio, control, dit_images, edit, flow_images, hunyuan, ltx, other_images, unet_images, video, wan
from zoo.entry import Entry, write
from zoo.output import generate, output

__all__ = ["ZOO", "Entry", "generate", "output", "save", "with_json"]

MODULES = (unet_images, flow_images, dit_images, other_images, control, edit, wan, ltx, hunyuan, video, audio)
ZOO: dict[str, Entry] = {name: entry for module in MODULES for name, entry in module.ENTRIES.items()}


def save(name: str, folder: Path) -> Path:
    """Write a tiny checkpoint; what comes back is the folder."""
    return write(ZOO[name], folder)


def with_json(folder: Path, file: str, **changes: Any) -> Path:
    """Change settings in one of a checkpoint's json files."""
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return folder
