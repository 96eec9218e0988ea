"""Clips and sounds: facts, digests, posters, and files that other libraries read."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image, ImageSequence

from composer.errors import ComposerError
from composer.media import formats, mp4, riff
from composer.media.clip import Clip
from composer.media.file_texts import read_file_texts
from composer.media.formats import FORMATS, resolve_format
from composer.media.medium import digest, facts, kind_of, poster
from composer.media.sound import Sound
from composer.media.video import milliseconds

TEXTS = {"comment": '{"schema":1,"prompt":"ünï 🎈"}', "description": "a prompt\nSteps: 4"}


def frames(count: int = 5, size: tuple[int, int] = (34, 18)) -> list[Image.Image]:
    """Smooth frames that differ, which an encoder with loss reproduces nearly."""
    ramp = np.linspace(0, 200, size[0] * size[1]).reshape(size[1], size[0], 1)
    return [
        Image.fromarray((ramp + np.array([i * 10, 0, 50 - i * 10])).clip(0, 255).astype(np.uint8)) for i in range(count)
    ]


def sound(channels: int = 2, count: int = 4410, rate: int = 44100) -> Sound:
    waves = [0.5 * np.sin(np.arange(count) / (20 + i)) for i in range(channels)]
    return Sound(np.stack(waves).astype(np.float32), rate)


def test_a_clip_describes_itself():
    clip = Clip(frames(), 16, sound())
    assert clip.facts() == {
        "kind": "clip", "frames": 5, "fps": 16, "width": 34, "height": 18, "seconds": 0.312, "sound": sound().facts(),
    }  # fmt: skip
    assert clip.poster() is clip.frames[2] and kind_of(clip) == "clip" and clip.seconds == 5 / 16


def test_a_sound_describes_itself():
    assert sound().facts() == {
        "kind": "sound", "channels": 2, "samples": 4410, "sampling_rate": 44100, "seconds": 0.1,
    }  # fmt: skip
    waveform = np.asarray(sound().poster())
    silent = np.asarray(Sound(np.zeros((2, 4410), np.float32), 44100).poster())
    assert waveform.shape == silent.shape and (waveform != silent).any()


def test_an_image_is_its_own_poster():
    image = frames(1)[0]
    assert poster(image) is image and digest(image) == hashlib.sha256(image.tobytes()).hexdigest()
    assert facts(image) == {"kind": "image", "width": 34, "height": 18}


def test_a_digest_covers_every_frame_and_sample():
    parts = frames()
    digests = {Clip(parts, 16).digest(), Clip(parts, 16, sound()).digest(), Clip(parts[:-1], 16).digest()}
    for i in range(len(parts)):
        changed = parts[i].copy()
        changed.putpixel((33, 17), (1, 2, 3))
        digests.add(Clip([*parts[:i], changed, *parts[i + 1 :]], 16).digest())
    samples = sound().samples.copy()
    samples[1, -1] = np.nextafter(samples[1, -1], np.float32(1))
    digests |= {sound().digest(), Sound(samples, 44100).digest(), Clip(parts, 16, Sound(samples, 44100)).digest()}
    assert len(digests) == 3 + 5 + 3
    assert Clip(parts, 16).digest() == hashlib.sha256(b"".join(frame.tobytes() for frame in parts)).hexdigest()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Clip([], 16),
        lambda: Clip(frames(), 0),
        lambda: Clip(frames(), float("nan")),
        lambda: Clip([*frames(), *frames(1, (8, 8))], 16),
        lambda: Clip([frame.convert("L") for frame in frames()], 16),
        lambda: Sound(np.zeros((2, 4)), 44100),
        lambda: Sound(np.zeros(4, np.float32), 44100),
        lambda: Sound(np.full((1, 4), np.nan, np.float32), 44100),
        lambda: Sound(np.zeros((1, 4), np.float32), 0),
    ],
)
def test_what_is_no_clip_or_sound_is_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("size", [(34, 18), (33, 17)], ids=["even", "odd"])
@pytest.mark.parametrize("fps", [8, 16, 24, 29.97, 12.5])
def test_a_player_library_reads_the_mp4(size, fps):
    clip = Clip(frames(size=size), fps, sound())
    with av.open(io.BytesIO(clip.encode("mp4", 100, TEXTS))) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.frames) == (*size, 5)
        assert float(video.average_rate) == pytest.approx(fps, abs=1e-3)  # 29.97 is 30000/1001
        assert (audio.rate, audio.channels) == (44100, 2)
        assert {key: container.metadata[key] for key in TEXTS} == TEXTS
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    error = np.abs(np.stack(read).astype(int) - np.stack([np.asarray(frame) for frame in clip.frames])).mean()
    assert error < 8  # H.264 and colours at half resolution; frames that are 10 apart would be farther off


def test_a_sound_survives_in_an_mp4():
    clip = Clip(frames(), 16, sound(count=16384))
    with av.open(io.BytesIO(clip.encode("mp4"))) as container:
        read = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)
    correlation = max(np.corrcoef(read[0][i : i + 8000], clip.sound.samples[0][:8000])[0, 1] for i in range(3000))
    assert correlation > 0.99  # AAC is lossy, and starts with a delay of one or two frames of 1,024 samples


@pytest.mark.parametrize("rate", [44100, 16000, 12345])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_of_a_sound_goes_into_an_mp4(rate, channels):
    clip = Clip(frames(), 16, sound(channels, 8000, rate))
    with av.open(io.BytesIO(clip.encode("mp4"))) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert seconds == pytest.approx(8000 / rate, abs=0.2)  # of 3 frames of 1,024 samples at 16 kHz


def test_webp_at_100_is_lossless():
    file = Image.open(io.BytesIO(Clip(frames(), 16).encode("webp", 100)))
    assert [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(file)] == [
        frame.tobytes() for frame in frames()
    ]


@pytest.mark.parametrize(("form", "unit"), [("webp", 1), ("gif", 10)])
def test_an_animation_lasts_as_long_as_the_clip(form, unit):
    clip = Clip(frames(12), 16)
    file = Image.open(io.BytesIO(clip.encode(form)))
    durations = []
    for frame in ImageSequence.Iterator(file):
        frame.load()  # of WebP the duration is known from then on
        durations.append(frame.info["duration"])
    assert file.n_frames == 12 and sum(durations) == pytest.approx(750, abs=unit)
    assert durations == milliseconds(12, 16, unit)


@pytest.mark.parametrize(("form", "step"), [("wav", 2**-15), ("flac", 2**-23)])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_file_holds_the_samples(form, step, channels):
    samples, rate = soundfile.read(io.BytesIO(sound(channels).encode(form, TEXTS)), always_2d=True)
    assert (
        rate == 44100 and np.abs(samples.T - sound(channels).samples).max() <= 2 * step
    )  # rounding to the format's bits


def test_loud_samples_are_clipped():
    loud = Sound(np.float32([[2.0, -2.0, 0.5]]), 8000)
    samples, _ = soundfile.read(io.BytesIO(loud.encode("wav")))
    assert samples == pytest.approx([1, -1, 0.5], abs=1e-4)  # 16 bits


@pytest.mark.parametrize("form", ["mp4", "wav", "flac"])
def test_texts_are_read_as_they_were_written(tmp_path, form):
    medium = sound() if "sound" in FORMATS[form].kinds else Clip(frames(), 16)
    file = tmp_path / "a.file"  # the content decides, not the suffix
    file.write_bytes(medium.encode(form, texts=TEXTS))
    assert read_file_texts(file).texts == TEXTS


def test_soundfile_reads_the_comment(tmp_path):
    for form in ("wav", "flac"):
        (tmp_path / form).write_bytes(sound().encode(form, TEXTS))
        with soundfile.SoundFile(tmp_path / form) as file:
            assert file.comment == TEXTS["comment"]


@pytest.mark.parametrize("form", ["mp4", "wav", "flac"])
def test_damaged_files_are_survived(tmp_path, form):
    """Each byte of the heads set to 255, and each length: no error but the one for a file that is no image."""
    medium = sound(1, 64) if "sound" in FORMATS[form].kinds else Clip(frames(2), 16)
    data = medium.encode(form, texts=TEXTS)
    file = tmp_path / "a"
    at = data.index(b"udta") if form == "mp4" else data.index(b"LIST") if form == "wav" else 0
    damaged = [data[:i] + b"\xff" + data[i + 1 :] for i in range(at, min(at + 160, len(data)))]
    damaged += [data[:length] for length in range(0, len(data), max(len(data) // 50, 1))]
    for content in damaged:
        file.write_bytes(content)
        try:
            texts = read_file_texts(file).texts
        except ComposerError:
            continue
        assert all(len(text) < 1000 for text in texts.values())


def test_texts_beyond_the_limits_are_ignored(tmp_path):
    long = {"comment": "x" * (mp4.MAX_TEXT_BYTES + 1)}
    for form, medium in {"mp4": Clip(frames(2), 16), "wav": sound(), "flac": sound()}.items():
        (tmp_path / form).write_bytes(medium.encode(form, texts=long))
        assert read_file_texts(tmp_path / form).texts == {}
    boxes = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x08free" * 100_000
    (tmp_path / "boxes").write_bytes(boxes)
    assert read_file_texts(tmp_path / "boxes").texts == {}
    (tmp_path / "chunks").write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000)
    with (tmp_path / "chunks").open("rb") as file:
        assert riff.read_texts(file) == {}


@pytest.mark.parametrize(
    ("kind", "form", "found"),
    [
        ("image", "auto", "png"), ("clip", "auto", "mp4"), ("sound", "auto", "wav"), ("clip", "webp", "webp"),
        ("image", "webp", "webp"), ("sound", "flac", "flac"),
    ],
)  # fmt: skip
def test_the_format_follows_from_what_is_made(kind, form, found):
    assert resolve_format(form, kind, "x") == found


@pytest.mark.parametrize("kind", ["image", "clip", "sound"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_format_that_does_not_hold_it_is_refused(kind, form):
    if kind in FORMATS[form].kinds:
        assert resolve_format(form, kind, "x") == form
        return
    with pytest.raises(ComposerError, match=rf"^output.format={form}: holds \w+s.*and task=x makes {kind}s") as error:
        resolve_format(form, kind, "x")
    assert set(error.value.allowed or ()) == {name for name, entry in FORMATS.items() if kind in entry.kinds}


def test_without_the_extra_another_format_is_used_or_the_command_named(monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert resolve_format("auto", "clip", "x") == "webp" and resolve_format("auto", "sound", "x") == "wav"
    for form, extra, kind in (("mp4", "video", "clip"), ("flac", "audio", "sound")):
        with pytest.raises(ComposerError, match=rf"pip install 'diffusion-composer\[{extra}\]'"):
            resolve_format(form, kind, "x")


def test_notebooks_get_an_element_that_plays(monkeypatch):
    clip = Clip(frames(), 16)
    assert clip._repr_html_().startswith("<video controls") and "data:video/mp4;base64," in clip._repr_html_()
    assert sound()._repr_html_().startswith('<audio controls src="data:audio/wav;base64,')
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert clip._repr_html_().startswith("<img") and "data:image/webp;base64," in clip._repr_html_()


def test_reading_needs_no_extra():
    """A record is read from an MP4 or a FLAC without the packages that wrote them."""
    package = Path(mp4.__file__).parent
    for name in ("mp4", "riff", "flac", "file_texts"):
        text = (package / f"{name}.py").read_text()
        assert "import av" not in text and "import soundfile" not in text
