"""Clips as files: MP4 by the package av, and animations by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from composer.media.sound import Sound

if TYPE_CHECKING:
    from av.container import OutputContainer

#: Sampling rates that AAC has, in Hz; sounds of another one are resampled to the last.
AAC_RATES = (96000, 88200, 64000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350, 48000)
#: ffmpeg's names of the layouts of 1, 2, … channels.
LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")


def encode_mp4(
    frames: Sequence[Image], fps: float, sound: Sound | None, quality: int, texts: Mapping[str, str]
) -> bytes:  # fmt: skip
    """Encode a clip as MP4 with H.264, and its sound with AAC.

    Frames with an even width and height have colours at half resolution (yuv420p), which all players show.

    Args:
        frames: RGB images of one size.
        fps: Frames a second.
        sound: Sound of the clip, if it has one.
        quality: In `[1, 100]`; the constant rate factor of x264 is `10 + 0.4 · (100 - quality)`.
        texts: Texts by name: `comment` and `description`.

    Returns:
        The contents of the file.
    """
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        container.metadata.update(texts)
        stream = container.add_stream("libx264", rate=_rate(fps))
        stream.width, stream.height = size = frames[0].size
        stream.pix_fmt = "yuv420p" if all(side % 2 == 0 for side in size) else "yuv444p"
        stream.options = {"crf": f"{10 + 0.4 * (100 - quality):g}"}
        encode_sound = _sound_encoder(container, sound)  # all streams come before the first packet
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
        encode_sound()
    return buffer.getvalue()


def encode_webp(frames: Sequence[Image], fps: float, quality: int, options: Mapping[str, Any]) -> bytes:
    """Encode a clip as an animated WebP that repeats forever.

    Args:
        frames: RGB images of one size.
        fps: Frames a second.
        quality: In `[1, 100]`; 100 is lossless.
        options: Further arguments of Pillow's `save`.

    Returns:
        The contents of the file.
    """
    how = {"lossless": True} if quality == 100 else {"quality": quality}
    return _animation(frames, "WEBP", milliseconds(len(frames), fps, 1), how | dict(options))


def encode_gif(frames: Sequence[Image], fps: float, options: Mapping[str, Any]) -> bytes:
    """Encode a clip as a GIF that repeats forever, with 256 colours a frame.

    Args:
        frames: RGB images of one size.
        fps: Frames a second.
        options: Further arguments of Pillow's `save`.

    Returns:
        The contents of the file.
    """
    return _animation(frames, "GIF", milliseconds(len(frames), fps, 10), options)


def milliseconds(count: int, fps: float, unit: int) -> list[int]:
    """Compute how long each frame is shown, so that rounding does not add up.

    Args:
        count: Number of frames.
        fps: Frames a second.
        unit: Smallest difference that the format holds, in milliseconds.

    Returns:
        Milliseconds of each frame, multiples of the unit and at least one.
    """
    ends = [round(i * 1000 / fps / unit) * unit for i in range(count + 1)]
    return [max(end - begin, unit) for begin, end in pairwise(ends)]


def _animation(frames: Sequence[Image], form: str, durations: list[int], options: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    first, *others = frames
    first.save(buffer, form, save_all=True, append_images=others, duration=durations, loop=0, **options)
    return buffer.getvalue()


def _rate(fps: float) -> Fraction:
    """Frames a second as a fraction: 29.97 is 30000/1001 in files."""
    broadcast = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    return broadcast if abs(float(broadcast) - fps) < 0.005 else Fraction(fps).limit_denominator(1001)


def _sound_encoder(container: OutputContainer, sound: Sound | None) -> Callable[[], None]:
    """Add a stream for a sound; a function that encodes it."""
    import av

    if sound is None:
        return lambda: None
    layout = LAYOUTS[len(sound.samples) - 1]
    rate = sound.sampling_rate if sound.sampling_rate in AAC_RATES else AAC_RATES[-1]
    stream = container.add_stream("aac", rate=rate, layout=layout)

    def encode() -> None:
        frame = av.AudioFrame.from_ndarray(sound.samples, format="fltp", layout=layout)
        frame.sample_rate = sound.sampling_rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())

    return encode
