"""A clip: frames at a rate, with a sound or without."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any

from PIL import Image

from composer.media.display import video_element
from composer.media.formats import DEFAULTS, FORMATS
from composer.media.sound import Sound
from composer.media.video import encode_gif, encode_mp4, encode_webp

#: Quality of clips in notebooks, whose files hold the data.
NOTEBOOK_QUALITY = 85


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Clip:
    """A clip.

    Args:
        frames: RGB images of one size, one at least.
        fps: Frames a second, > 0.
        sound: Its sound; `None` for a silent clip.

    Raises:
        ValueError: There is no frame, the frames differ in size or are not RGB, or the rate is not positive.
    """

    frames: tuple[Image.Image, ...]
    fps: float
    sound: Sound | None = None

    def __init__(self, frames: Iterable[Image.Image], fps: float, sound: Sound | None = None) -> None:
        vars(self).update(frames=tuple(frames), fps=fps, sound=sound)
        layouts = {(frame.mode, frame.size) for frame in self.frames}
        if len(layouts) != 1 or next(iter(layouts))[0] != "RGB":
            raise ValueError(f"frames are RGB images of one size, and these are {sorted(layouts) or 'none'}")
        if not isfinite(fps) or fps <= 0:
            raise ValueError(f"a clip has more than 0 frames a second, and this one {fps}")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame in pixels."""
        return self.frames[0].size

    @property
    def seconds(self) -> float:
        """Duration of the frames in seconds."""
        return len(self.frames) / self.fps

    def digest(self) -> str:
        """Hash the pixels of all frames, and the samples of the sound.

        Returns:
            SHA-256 of the frames' bytes one after the other, then of those of the sound, in hexadecimal. That of a
            silent clip of one frame is the image's.
        """
        total = hashlib.sha256()
        for frame in self.frames:
            total.update(frame.tobytes())
        if self.sound is not None:
            total.update(self.sound.samples.astype("<f4").tobytes())
        return total.hexdigest()

    def encode(
        self,
        form: str,
        quality: int = 95,
        texts: Mapping[str, str] = MappingProxyType({}),
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> bytes:
        """Encode the clip.

        Args:
            form: `mp4` (by the package av, with the sound), `webp` or `gif` (without it).
            quality: Of MP4 and WebP, in `[1, 100]`; WebP is lossless at 100.
            texts: Texts to write into an MP4: `comment` and `description`.
            options: Further arguments of Pillow's `save` for WebP and GIF.

        Returns:
            The contents of a file.
        """
        if form == "mp4":
            return encode_mp4(self.frames, self.fps, self.sound, quality, texts)
        if form == "webp":
            return encode_webp(self.frames, self.fps, quality, options)
        return encode_gif(self.frames, self.fps, options)

    def poster(self) -> Image.Image:
        """Return the frame that stands for the clip where an image is shown: the middle one."""
        return self.frames[len(self.frames) // 2]

    def facts(self) -> dict[str, Any]:
        """Describe the clip as plain data: `kind`, `frames`, `fps`, `width`, `height`, `seconds`, and its `sound`."""
        width, height = self.size
        described = {
            "kind": "clip",
            "frames": len(self.frames),
            "fps": self.fps,
            "width": width,
            "height": height,
            "seconds": round(self.seconds, 3),
        }
        return described if self.sound is None else described | {"sound": self.sound.facts()}

    def __repr__(self) -> str:
        """Summarise the clip in one line."""
        sound = "" if self.sound is None else f", {self.sound!r}"
        return f"Clip({len(self.frames)} frames of {self.size[0]} x {self.size[1]} pixels, {self.fps:g} fps{sound})"

    def _repr_html_(self) -> str:
        """Return the element that a notebook shows."""
        form = next(name for name in DEFAULTS["clip"] if FORMATS[name].available)
        return video_element(self.encode(form, NOTEBOOK_QUALITY), form, self.size)
