"""A sound: samples at a rate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from composer.media.audio import encode_flac, encode_wav
from composer.media.display import audio_element

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, eq=False, repr=False)
class Sound:
    """A sound.

    Attributes:
        samples: `(channels, n)`, float32, finite; `[-1, 1]` is what files hold, and louder samples are clipped there.
        sampling_rate: Samples a second, in Hz.

    Raises:
        ValueError: The samples have another shape or dtype or are not finite, or the rate is not positive.
    """

    samples: NDArray[np.float32]
    sampling_rate: int

    def __post_init__(self) -> None:
        import numpy as np  # here: records of images, which checks read, need no NumPy

        samples = self.samples
        if samples.dtype != np.float32 or samples.ndim != 2 or 0 in samples.shape:
            raise ValueError(f"samples are float32 (channels, n), and these are {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("the samples are not finite (NaN or infinity)")
        if self.sampling_rate < 1:
            raise ValueError(f"a sampling rate is 1 Hz or more, and this is {self.sampling_rate}")

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.shape[1] / self.sampling_rate

    def digest(self) -> str:
        """Hash all samples.

        Returns:
            SHA-256 of the samples as little-endian float32, one channel after the other, in hexadecimal.
        """
        return hashlib.sha256(self.samples.astype("<f4").tobytes()).hexdigest()

    def encode(self, form: str, texts: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """Encode the sound.

        Args:
            form: `wav` (16 bits a sample) or `flac` (24 bits, by the package soundfile).
            texts: Texts to write into the file: `comment` and `description`.

        Returns:
            The contents of a file.
        """
        encoder = {"wav": encode_wav, "flac": encode_flac}[form]
        return encoder(self.samples, self.sampling_rate, texts)

    def poster(self) -> Image.Image:
        """Plot the waveform.

        Returns:
            An RGB image, one row a channel: for each column of pixels the range of its samples.
        """
        from composer.media.waveform import plot

        return plot(self.samples)

    def facts(self) -> dict[str, Any]:
        """Describe the sound as plain data: `kind`, `channels`, `samples`, `sampling_rate` in Hz and `seconds`."""
        channels, count = self.samples.shape
        return {
            "kind": "sound",
            "channels": channels,
            "samples": count,
            "sampling_rate": self.sampling_rate,
            "seconds": round(self.seconds, 3),
        }

    def __repr__(self) -> str:
        """Summarise the sound in one line."""
        return f"Sound({self.seconds:.2f} s, {len(self.samples)} channels, {self.sampling_rate} Hz)"

    def _repr_html_(self) -> str:
        """Return the element that a notebook shows."""
        return audio_element(self.encode("wav"))
