"""Sounds as files: WAV by the standard library, FLAC by the package soundfile."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from typing import TYPE_CHECKING

from composer.media import flac, riff

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Largest value of a sample of 16 bits.
FULL_SCALE = 32767


def encode_wav(samples: NDArray[np.float32], sampling_rate: int, texts: Mapping[str, str]) -> bytes:
    """Encode a sound as WAV with 16 bits a sample.

    Args:
        samples: `(channels, n)`; those outside of `[-1, 1]` are clipped.
        sampling_rate: In Hz.
        texts: Texts by their names in `riff.INFO`.

    Returns:
        The contents of the file.
    """
    integers = (samples.clip(-1, 1) * FULL_SCALE).round().astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(sampling_rate)
        file.writeframes(integers.T.tobytes())
    return riff.with_texts(buffer.getvalue(), texts)


def encode_flac(samples: NDArray[np.float32], sampling_rate: int, texts: Mapping[str, str]) -> bytes:
    """Encode a sound as FLAC with 24 bits a sample, which is about what float32 holds in `[-1, 1]`.

    Args:
        samples: `(channels, n)`; those outside of `[-1, 1]` are clipped.
        sampling_rate: In Hz.
        texts: Texts by name.

    Returns:
        The contents of the file.
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples.clip(-1, 1).T, sampling_rate, subtype="PCM_24", format="FLAC")
    return flac.with_texts(buffer.getvalue(), texts)
