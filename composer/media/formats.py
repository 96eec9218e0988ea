"""Formats of output files: which media each can hold, and what it needs. Of the standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from composer.errors import ComposerError

#: Kinds of media that a run makes.
Kind = Literal["image", "clip", "sound"]
KEY = "output.format"
#: The format that follows from what a run makes.
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of output files.

    Attributes:
        kinds: Kinds of media that it holds.
        suffix: Suffix of its files, without the dot.
        mime: Type of its files on a page, such as `video/mp4`.
        module: Module that encodes it, if that is no dependency of composer.
        extra: Extra of composer that installs the module.
        holds_sound: Whether the sound of a clip is in the same file.
    """

    kinds: frozenset[Kind]
    suffix: str
    mime: str
    module: str | None = None
    extra: str | None = None
    holds_sound: bool = False

    @property
    def available(self) -> bool:
        """Whether its module is installed."""
        return self.module is None or find_spec(self.module) is not None


FORMATS: Mapping[str, Format] = {
    "png": Format(kinds=frozenset({"image"}), suffix="png", mime="image/png"),
    "jpeg": Format(kinds=frozenset({"image"}), suffix="jpg", mime="image/jpeg"),
    "webp": Format(kinds=frozenset({"image", "clip"}), suffix="webp", mime="image/webp"),
    "mp4": Format(
        kinds=frozenset({"clip"}), suffix="mp4", mime="video/mp4", module="av", extra="video", holds_sound=True
    ),
    "gif": Format(kinds=frozenset({"clip"}), suffix="gif", mime="image/gif"),
    "frames": Format(kinds=frozenset({"clip"}), suffix="frames", mime="image/png"),
    "wav": Format(kinds=frozenset({"sound"}), suffix="wav", mime="audio/wav"),
    "flac": Format(kinds=frozenset({"sound"}), suffix="flac", mime="audio/flac", module="soundfile", extra="audio"),
}
#: Kind → its formats by default; the first one that is available is used.
DEFAULTS: Mapping[Kind, tuple[str, ...]] = {"image": ("png",), "clip": ("mp4", "webp"), "sound": ("wav",)}


def resolve_format(requested: str, kind: Kind, task: str) -> str:
    """Choose the format of a run's files.

    Args:
        requested: Name of a format, or `auto`.
        kind: Kind of media that the run makes.
        task: Name of the task, for the error.

    Returns:
        Name of a format that holds the media and can be written here.

    Raises:
        ComposerError: The format does not hold such media, or its module is not installed.
    """
    if requested == AUTO:
        return next(name for name in DEFAULTS[kind] if FORMATS[name].available)
    form = FORMATS[requested]
    fitting = [name for name, candidate in FORMATS.items() if kind in candidate.kinds]
    if kind not in form.kinds:
        holds = " and ".join(f"{name}s" for name in sorted(form.kinds))
        raise ComposerError(KEY, requested, f"holds {holds}, and task={task} makes {kind}s", fitting)
    if not form.available:
        others = [name for name in fitting if FORMATS[name].available]
        reason = f"needs the package {form.module}: pip install 'diffusion-composer[{form.extra}]', or choose another"
        raise ComposerError(KEY, requested, reason, others)
    return requested
