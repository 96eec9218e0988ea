"""Chunks that pixels do not need are skipped, however long or damaged they are; those that pixels need are not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from composer.errors import ComposerError
from composer.images import embedded_texts, png, reading

PIXELS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8))


def chunk(kind: bytes, data: bytes, wrong: bool = False) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body) ^ wrong)


def with_chunks(*more: bytes, image: Image.Image = PIXELS, last: bool = False) -> bytes:
    """A PNG with further chunks after its header, or before its end."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    at = len(data) - 12 if last else 33
    return data[:at] + b"".join(more) + data[at:]


def long(kind: bytes) -> bytes:
    packed = zlib.compress(b"x" * 1_500_000)
    return {
        b"zTXt": b"workflow\0\0" + packed,
        b"iTXt": b"workflow\0\1\0\0\0" + packed,
        b"iCCP": b"profile\0\0" + packed,
    }[kind]


SKIPPED = {
    "long zTXt": chunk(b"zTXt", long(b"zTXt")),
    "long iTXt": chunk(b"iTXt", long(b"iTXt")),
    "long iCCP": chunk(b"iCCP", long(b"iCCP")),
    "many long texts": b"".join(chunk(b"tEXt", b"a%d\0" % i + b"x" * 700_000) for i in range(100)),
    "damaged tEXt": chunk(b"tEXt", b"parameters\0a cone", wrong=True),
    "damaged iTXt": chunk(b"iTXt", b"parameters\0\0\0\0\0a cone", wrong=True),
    "damaged pHYs": chunk(b"pHYs", b"\0" * 9, wrong=True),
    "damaged eXIf": chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\0\0", wrong=True),
    "short gAMA": chunk(b"gAMA", b"\0"),
    "short acTL": chunk(b"acTL", b"\0"),
    "unknown compression": chunk(b"zTXt", b"workflow\0\7abc"),
    "text named transparency": chunk(b"tEXt", b"transparency\0yes"),
    "unknown ancillary": chunk(b"quUx", b"?" * 9, wrong=True),
}


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("case", SKIPPED)
def test_chunks_that_pixels_do_not_need_are_skipped(tmp_path, case, last):
    (tmp_path / "a.png").write_bytes(with_chunks(SKIPPED[case], last=last))
    assert reading.read_image("image", str(tmp_path / "a.png")).tobytes() == PIXELS.tobytes()


def test_a_long_text_is_used_and_shown(compose, tmp_path):
    image = Image.effect_noise((128, 128), 64).convert("RGB")
    (tmp_path / "w.png").write_bytes(with_chunks(SKIPPED["long zTXt"], image=image))
    image.save(tmp_path / "plain.png")
    for name in ("w", "plain"):
        done = compose("task=img2img", f"image={name}.png", "steps=2", f"output.folder={name}", "callbacks=[]")
        assert done.code == 0, done.err
    assert (tmp_path / "w/000.png").exists()
    assert Image.open("w/000.png").tobytes() == Image.open("plain/000.png").tobytes()
    shown = compose("info", "w.png")
    assert shown.code == 0 and "workflow:" in shown.out and "1,500,000 characters" in shown.out


def test_a_bomb_of_text_is_not_unpacked(tmp_path):
    bomb = zlib.compress(b"x" * (png.MAX_TEXT_BYTES + 2))
    (tmp_path / "a.png").write_bytes(with_chunks(chunk(b"zTXt", b"workflow\0\0" + bomb), chunk(b"tEXt", b"Title\0a")))
    read_image_texts = embedded_texts.read_image_texts(tmp_path / "a.png")
    assert read_image_texts.texts == {"Title": "a"} and read_image_texts.damaged == ("workflow",)


@pytest.mark.parametrize("kind", ["eXIf", "zTXt", "iTXt"])
def test_the_side_that_is_up_is_still_read(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()[6:]
    profile = f"\nexif\n{len(raw) + 6:8}\n{(b'Exif' + bytes(2) + raw).hex()}\n".encode()
    data = {
        "eXIf": raw,
        "zTXt": b"Raw profile type exif\0\0" + zlib.compress(profile),
        "iTXt": b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>',
    }[kind]
    (tmp_path / "a.png").write_bytes(with_chunks(chunk(kind.encode(), data)))
    assert (
        reading.read_image("image", str(tmp_path / "a.png")).tobytes()
        == PIXELS.transpose(Image.Transpose.ROTATE_270).tobytes()
    )


def test_transparency_is_still_read(tmp_path):
    image = PIXELS.convert("RGBA").quantize(8)
    image.save(tmp_path / "plain.png", transparency=3)
    image.info["transparency"] = 3
    (tmp_path / "a.png").write_bytes(with_chunks(SKIPPED["damaged tEXt"], image=image))
    assert Image.open(tmp_path / "plain.png").has_transparency_data
    plain, result = (reading.read_image("image", str(tmp_path / name)).tobytes() for name in ("plain.png", "a.png"))
    assert plain == result


@pytest.mark.parametrize(
    "data",
    [
        with_chunks(chunk(b"tRNS", b"\0" * 6, wrong=True)),
        with_chunks(SKIPPED["damaged tEXt"])[:-20],
        with_chunks(struct.pack(">I", 10**9) + b"tEXt"),
        with_chunks(b"\0\0\0\1\xff\xfe\0\0"),
        with_chunks()[:40],
        png.SIGNATURE,
    ],
    ids=[
        "damaged tRNS",
        "cut short",
        "endless chunk",
        "no chunk",
        "cut in the first chunk",
        "nothing but the signature",
    ],
)
def test_what_pixels_need_must_be_complete(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ComposerError, match=r"damaged|not an image") as caught:
        reading.read_image("image", str(tmp_path / "a.png"))
    assert "\n" not in str(caught.value)


def test_a_damaged_record_is_named(compose, tmp_path):
    (tmp_path / "a.png").write_bytes(with_chunks(chunk(b"tEXt", b"composer\0{}", wrong=True)))
    done = compose("info", "a.png")
    assert done.code == 2 and "the text chunk that was one is damaged" in done.err
