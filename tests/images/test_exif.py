"""How a UserComment is encoded is judged by what it reads as, whatever its name says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from composer.images import exif as comments
from composer.images.embedded_texts import EXIF_IFD, USER_COMMENT

TEXTS = {
    "A1111": "a red cone\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1",
    "Chinese": "一只红色的圆锥，在雪地上，傍晚",
    "Japanese": "赤い円錐、雪の上",
    "Russian": "красный конус на снегу, ночь",
    "accents": 'ünï, (red:1.2) "cone"',
    "emoji": "a cone 🎈",
    "short": "ab",
}
#: Name of the encoding → encodings that tools write under it.
WRITTEN = {
    b"UNICODE\0": ("utf-16-be", "utf-16-le", "utf-16", "utf-8"),
    b"ASCII\0\0\0": ("utf-8", "latin-1"),
    b"\0" * 8: ("utf-8",),
    b"JIS\0\0\0\0\0": ("iso2022_jp", "utf-8"),
    b"": ("utf-8",),
}


def written(name: bytes, encoding: str, text: str) -> bytes | None:
    try:
        return name + text.encode(encoding)
    except UnicodeEncodeError:
        return None


@pytest.mark.parametrize(("name", "encoding"), [(name, item) for name, all_ in WRITTEN.items() for item in all_])
@pytest.mark.parametrize("text", TEXTS)
def test_a_comment_reads_as_it_was_written(name, encoding, text):
    data = written(name, encoding, TEXTS[text])
    if data is not None:
        assert comments.decode_comment(data) == TEXTS[text]
        assert comments.decode_comment(data + b"\0\0") == TEXTS[text]


@given(st.binary(max_size=60))
def test_any_bytes_read_as_something(data):
    assert isinstance(comments.decode_comment(data), str)


@pytest.mark.parametrize(
    "data",
    [
        b"UNICODE\0" + TEXTS["A1111"].encode("utf-16-le"),
        b"UNICODE\0" + TEXTS["A1111"].encode("utf-16-be"),
        b"ASCII\0\0\0" + TEXTS["A1111"].encode(),
        b"\0" * 8 + TEXTS["A1111"].encode(),
        TEXTS["A1111"].encode(),
    ],
    ids=["little endian", "big endian", "ASCII", "eight zeros", "no name"],
)
@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_info_shows_a_comment(compose, tmp_path, data, suffix):
    exif = Image.Exif()
    exif[0x0131] = "a tool"  # else PIL takes it for empty, and a PNG gets none
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = data
    Image.new("RGB", (16, 16)).save(tmp_path / f"a.{suffix}", exif=exif)
    done = compose("info", f"a.{suffix}")
    assert done.code == 0 and TEXTS["A1111"] in done.out
