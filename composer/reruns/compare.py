"""Comparison of a regenerated file with its record: whether its content is equal, and which conditions differ if
not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.errors import shorten

if TYPE_CHECKING:
    from composer.media.medium import Medium
    from composer.records.result import Result


def compare_with_record(path: Path, old: Mapping[str, Any], result: Result) -> tuple[bool, str]:
    """Compare regenerated images, clips or sounds with a record.

    Args:
        path: The file.
        old: Its record.
        result: What was regenerated.

    Returns:
        Whether all pixels and samples are equal, and one line about it. Files are not compared: they differ by encoder.
    """
    indices, pixels = result.numbers or (), result.record["pixels"]
    changed = [i for i in indices if pixels[i] != old["pixels"][i]]
    if not changed:
        return True, f"the same as {path}, bit for bit" + (
            f" ({len(indices)} {result.kind}s)" if len(indices) > 1 else ""
        )
    why = "; ".join(differences(old, result.record)) or _unexplained(old)
    counted = f" ({len(changed)} of {len(indices)} {result.kind}s)"
    how = _distance(path, result.media[0]) if len(indices) == 1 else counted
    return False, f"not the same as {path}{how}: {why}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """List the conditions that affect pixels and differ between two records.

    Args:
        old: Record of the file.
        new: Record of what was regenerated.

    Yields:
        One phrase for each difference: versions, device, threads, scheduler, guidance, dtypes, files, inputs, options.
    """
    for name in sorted({*old["versions"], *new["versions"]}):
        yield from _differs(name, old["versions"].get(name), new["versions"].get(name))
    for before, after in zip(old.get("media") or (), new.get("media") or ()):
        yield from _differs(str(after.get("kind")), before, after)
    for key, words in {
        "composer": "composer",
        "device": "device",
        "threads": "threads",
        **({"processor": "processor"} if "processor" in old else {}),
        "scheduler": "scheduler",
        "guidance": "guidance",
    }.items():
        yield from _differs(words, old.get(key), new.get(key))
    for name in sorted({*old["dtypes"], *new["dtypes"]}):
        yield from _differs(f"dtype of {name}", old["dtypes"].get(name), new["dtypes"].get(name))
    if old["stamp"] != new["stamp"]:
        yield "the model's files are others"
    for adapter in ("lora", "embedding", "ip_adapter", "control"):
        yield from _differs(adapter, old.get(adapter) or None, new.get(adapter) or None)
    for key in sorted({*old["inputs"], *new["inputs"]}):
        if old["inputs"].get(key) != new["inputs"].get(key):
            yield f"{key} is another image"
    for group in ("callbacks", "memory", "accel"):
        yield from _differs(group, sorted(old[group]), sorted(new[group]))


def _unexplained(old: Mapping[str, Any]) -> str:
    """Phrase for results that differ although all recorded conditions are equal."""
    if "processor" in old:
        return "all recorded settings, versions and hardware are the same"
    return "all that was recorded is the same; an old record does not name its processor, which may be another one"


def _differs(what: str, then: Any, now: Any) -> Iterator[str]:
    """Compare one condition, key by key if both values are mappings.

    Args:
        what: Name of the condition.
        then: Recorded value.
        now: Present value.

    Yields:
        One phrase for each different value.
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted({*then, *now}):
            yield from _differs(f"{what} {key}", then.get(key), now.get(key))
    elif then != now:
        yield f"{what} was {_as_text(then)} and is {_as_text(now)}"


def _as_text(value: Any) -> str:
    """A recorded value as messages print it."""
    if isinstance(value, list):
        return shorten(", ".join(map(str, value)) or "nothing")
    return "nothing" if value is None else shorten(value)


def _distance(path: Path, image: Medium) -> str:
    """Measure how far the pixels differ from those of the file.

    Args:
        path: The image.
        image: The regenerated image.

    Returns:
        A phrase in parentheses; empty for file formats that do not store pixels exactly.
    """
    import numpy as np
    from PIL import Image

    from composer.images.reading import open_image

    if path.suffix.lower() != ".png" or not isinstance(image, Image.Image):
        return ""
    before, after = (np.asarray(shown.convert("RGB"), np.int16) for shown in (open_image("image", str(path)), image))
    if before.shape != after.shape:
        return f" ({before.shape[1]} x {before.shape[0]} pixels there, {after.shape[1]} x {after.shape[0]} here)"
    difference = np.abs(before - after)
    if not difference.any():
        return " (its pixels are these, and its record says others)"
    return f" ({(difference.max(-1) > 0).mean():.1%} of the pixels, by {difference.max()} of 255 at most)"
