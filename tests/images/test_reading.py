from __future__ import annotations

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from composer.errors import ComposerError
from composer.images import reading, samples
from composer.images.samples.make import make_samples

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
GRAY = Image.merge("RGB", [Image.fromarray(RAMP)] * 3)
COLOURS = Image.merge("RGB", [Image.fromarray(item) for item in (RAMP, RAMP.T.copy(), 255 - RAMP)])


def saved(tmp_path, image, name="a.png", **options) -> str:
    image.save(tmp_path / name, **options)
    return str(tmp_path / name)


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def clear(image, alpha) -> Image.Image:
    """A copy with an alpha channel."""
    image = image.copy()
    image.putalpha(Image.fromarray(np.broadcast_to(np.asarray(alpha, np.uint8), image.size[::-1]).copy()))
    return image


def refused(call, match: str, key: str = "image") -> None:
    with pytest.raises(ComposerError, match=match) as caught:
        call()
    assert caught.value.key == key and "\n" not in str(caught.value) and str(caught.value).isprintable()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 0, more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + more
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


# --- any image → RGB --------------------------------------------------------------------------------------------------

LOSSLESS = {
    "L": (GRAY.convert("L"), "a.png"),
    "LA": (GRAY.convert("LA"), "a.png"),
    "La": (GRAY.convert("LA").convert("La"), None),
    "P": (GRAY.convert("L").convert("P"), "a.png"),
    "P of a gif": (GRAY.convert("L").convert("P"), "a.gif"),
    "PA": (GRAY.convert("L").convert("PA"), "a.tiff"),
    "I;16": (Image.fromarray(RAMP.astype(np.uint16) * 257), "a.png"),
    "I;16 of a tiff": (Image.fromarray(RAMP.astype(np.uint16) * 257), "a.tiff"),
    "I;16B": (Image.frombytes("I;16B", (16, 16), (RAMP.astype(">u2") * 257).tobytes()), "a.tiff"),
    "I of 16 bits": (Image.fromarray(RAMP.astype(np.int32) * 257), "a.tiff"),
    "I of a pgm": (Image.fromarray(RAMP.astype(np.int32) * 257), "a.pgm"),
    "I of 8 bits": (GRAY.convert("L").convert("I"), "a.tiff"),
    "I of 32 bits": (Image.fromarray((RAMP.astype(np.int32) - 100) * 10**6), "a.tiff"),
    "F to 1": (Image.fromarray(RAMP.astype(np.float32) / 255), "a.tiff"),
    "F to 255": (GRAY.convert("L").convert("F"), "a.tiff"),
    "F beyond": (Image.fromarray(RAMP.astype(np.float32) * 1e6 - 7e7), "a.tiff"),
    "RGB": (COLOURS, "a.png"),
    "RGB of a bmp": (COLOURS, "a.bmp"),
    "RGB of a webp": (COLOURS, "a.webp"),
    "RGB of a ppm": (COLOURS, "a.ppm"),
    "RGBA": (COLOURS.convert("RGBA"), "a.png"),
    "RGBa": (COLOURS.convert("RGBA").convert("RGBa"), None),
    "RGBX": (COLOURS.convert("RGBX"), "a.tiff"),
    "CMYK": (COLOURS.convert("CMYK"), "a.tiff"),
    "HSV": (GRAY.convert("HSV"), None),
    "YCbCr": (GRAY.convert("YCbCr"), "a.tiff"),
    "LAB": (GRAY.convert("LAB"), "a.tiff"),
}


@pytest.mark.parametrize("mode", LOSSLESS)
def test_every_mode_of_an_image_gives_the_same_rgb(tmp_path, monkeypatch, mode):
    image, name = LOSSLESS[mode]
    path = "no such file"
    if name:
        path = saved(tmp_path, image, name, **({"lossless": True} if name.endswith("webp") else {}))
    else:  # PIL writes no file of this mode
        monkeypatch.setattr(reading, "open_image", lambda _key, _value: image)
    expected = COLOURS if mode.startswith(("RGB", "CMYK")) else GRAY
    result = reading.read_image("image", path)
    assert result.mode == "RGB"
    assert np.abs(array(result) - array(expected)).max() <= (
        2 if mode == "LAB" else 1
    )  # 8 bits of LAB are not lossless


def test_one_bit_is_black_and_white(tmp_path):
    path = saved(tmp_path, Image.fromarray(RAMP > 99))
    assert Image.open(path).mode == "1"
    assert (array(reading.read_image("image", path))[..., 0] == (RAMP > 99) * 255).all()


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0, 256, 32768, 65535]], np.uint16)))
    assert array(reading.read_image("image", path))[0, :, 1].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(("alpha", "expected"), [(255, 100), (0, 255), (51, 224)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_composed_on_white(tmp_path, mode, alpha, expected):
    path = saved(tmp_path, clear(Image.new(mode[:-1], (3, 2), (100,) * (len(mode) - 1)), alpha))
    assert Image.open(path).mode == mode
    assert np.abs(array(reading.read_image("image", path)) - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "name"), [("P", "a.png"), ("L", "a.png"), ("RGB", "a.png"), ("1", "a.png"), ("L", "a.gif")]
)
def test_a_transparent_colour_is_white_too(tmp_path, mode, name):
    image = Image.new(mode, (4, 4), 0)
    image.paste({"1": 255, "L": 200, "P": 1, "RGB": (200, 200, 200)}[mode], (0, 0, 2, 4))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 200, 200])
    path = saved(tmp_path, image, name, transparency=(0, 0, 0) if mode == "RGB" else 0)
    result = array(reading.read_image("image", path))
    assert (result[:, 2:] == 255).all() and (result[:, 0] == array(image.convert("RGB"))[:, 0]).all()


def test_a_transparent_gray_of_sixteen_bits_is_white(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">3H", 0, 1000, 25700) for _ in range(2))
    (tmp_path / "a.png").write_bytes(png(3, 2, rows, depth=16, more=chunk(b"tRNS", struct.pack(">H", 1000))))
    assert array(reading.read_image("image", str(tmp_path / "a.png")))[0, :, 0].tolist() == [0, 255, 100]


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpeg_of_every_kind(tmp_path, mode):
    smooth = Image.linear_gradient("L").convert("RGB")
    path = saved(tmp_path, smooth.convert(mode), "a.jpg", quality=98)
    assert Image.open(path).mode == mode
    assert np.abs(array(reading.read_image("image", path)) - array(smooth)).max() <= 6


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_rotated_by_its_exif_tag(tmp_path, orientation, name):
    upright = Image.new("RGB", (32, 16), "gray")
    for colour, at in {"red": (0, 0), "blue": (24, 0), "white": (0, 8)}.items():
        upright.paste(colour, (*at, at[0] + 8, at[1] + 8))
    turn = Image.Transpose
    back = (
        None,
        turn.FLIP_LEFT_RIGHT,
        turn.ROTATE_180,
        turn.FLIP_TOP_BOTTOM,
        turn.TRANSPOSE,
        turn.ROTATE_90,
        turn.TRANSVERSE,
        turn.ROTATE_270,
    )
    stored = upright if orientation == 1 else upright.transpose(back[orientation - 1])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if name == "a.webp" else {"quality": 100, "subsampling": 0} if name == "a.jpg" else {}
    result = reading.read_image("image", saved(tmp_path, stored, name, exif=exif, **options))
    assert result.size == upright.size
    assert np.abs(array(result) - array(upright)).max() <= (2 if name == "a.jpg" else 0)


def test_a_broken_exif_tag_says_nothing(tmp_path):
    path = saved(tmp_path, COLOURS, exif=b"Exif\0\0no such thing")
    assert reading.read_image("image", path).tobytes() == COLOURS.tobytes()


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("P", (4, 4), i) for i in range(3)]
    for frame in frames:
        frame.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert reading.read_image("image", path).getpixel((0, 0)) == (255, 0, 0)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(tmp_path, COLOURS)
    assert reading.read_image("image", "~/a.png").tobytes() == COLOURS.tobytes()


# --- what is refused
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "an image is needed: image=FILE"),
        ("", "an image is needed"),
        (" ", "an image is needed"),
        (3, "must be the name of a file"),
        (["a.png"], "must be the name of a file"),
        (np.zeros((2, 2)), "must be the name of a file"),
        ("no/such\nfile.png", "no such file"),
        ("a\0b", "no such file"),
        ("x" * 5000, "no such file"),
        ("~nobody-of-that-name/a.png", "no such file"),
        (".", "is a folder"),
        ("/dev/null", "not a regular file"),
        ("https://example.org/a.png", "is a web address"),
        ("sample:scen", "no such sample. Did you mean sample:scene"),
        ("sample:../images", r"allowed: sample:scene, sample:detail, sample:mask"),
    ],
)
def test_values_that_name_no_image(value, reason):
    refused(lambda: reading.read_image("image", value), reason)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"P6 0 0 255\n", b"II*\0" + b"\xff" * 60, bytes(999)]
)
def test_files_that_hold_no_image(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    refused(lambda: reading.read_image("image", str(tmp_path / "a.png")), "not an image|damaged|no pixels")


@pytest.mark.parametrize("name", ["a.eps", "a.pdf", "a.tga", "a.ico", "a.pcx"])
def test_readers_that_are_not_needed_are_not_run(tmp_path, monkeypatch, name):
    path = saved(tmp_path, GRAY, name)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_args, **_more: pytest.fail("ran a program"))
    refused(lambda: reading.read_image("image", path), "not an image")


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "progressive.jpg", "a.webp", "a.bmp", "a.gif", "a.tiff", "lzw.tiff", "a.ppm"]
)
def test_half_a_file_is_never_half_an_image(tmp_path, name, fraction):
    options = {"progressive.jpg": {"progressive": True}, "lzw.tiff": {"compression": "tiff_lzw"}}.get(name, {})
    path = saved(tmp_path, Image.effect_noise((64, 64), 90), name, **options)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * fraction)])
    refused(lambda: reading.read_image("image", path), "damaged|not an image")


def test_a_flipped_bit_in_a_png_is_found(tmp_path):
    rows = b"".join(b"\0" + bytes(range(32)) for _ in range(32))
    data = bytearray(png(32, 32, rows))
    data[60] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    refused(lambda: reading.read_image("image", str(tmp_path / "a.png")), "damaged")


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (10000, 10000), (14000, 14000), (2**30, 2**30)])
@pytest.mark.parametrize("strict", [True, False])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch, width, height, strict):
    rows = bytes((width // 8 + 1) * height) if width * height < 2 * 10**8 else b""
    path = tmp_path / "a.png"
    path.write_bytes(png(width, height, rows, depth=1))
    assert path.stat().st_size < 10**5
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _self: pytest.fail("decoded"))
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(record=True) as message:
        warnings.simplefilter("error" if strict else "always")
        refused(lambda: reading.read_image("image", str(path)), "too many pixels: 64 megapixels are the most")
    assert not message and limit == Image.MAX_IMAGE_PIXELS


def test_as_many_pixels_as_are_allowed(tmp_path, monkeypatch):
    path = saved(tmp_path, GRAY)
    monkeypatch.setattr(reading, "MAX_PIXELS", 256)
    assert reading.read_image("image", path).size == (16, 16)
    monkeypatch.setattr(reading, "MAX_PIXELS", 255)
    refused(lambda: reading.read_image("image", path), "too many pixels")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("read", [reading.read_image, reading.read_mask, reading.read_depth])
def test_values_that_are_not_finite(tmp_path, read, bad):
    path = saved(tmp_path, Image.fromarray(np.array([[0, bad]], np.float32)), "a.tiff")
    refused(lambda: read("image", path), "not finite")


@pytest.mark.parametrize("value", [5.0, -3.0, 1e9])
def test_an_image_of_one_deep_value_is_no_division_by_zero(tmp_path, value):
    path = saved(tmp_path, Image.fromarray(np.full((2, 2), value, np.float32)), "a.tiff")
    assert reading.read_image("image", path).getextrema()[0] in {(5, 5), (0, 0)}


# --- masks
# --------------------------------------------------------------------------------------------------------------

RECTANGLE = np.zeros((8, 8), np.uint8)
RECTANGLE[2:5, 3:7] = 255
MASKS = {
    "L": Image.fromarray(RECTANGLE),
    "1": Image.fromarray(RECTANGLE > 0),
    "P": Image.fromarray(RECTANGLE).convert("P"),
    "RGB": Image.fromarray(RECTANGLE).convert("RGB"),
    "I;16": Image.fromarray(RECTANGLE.astype(np.uint16) * 257),
    "LA, opaque": clear(Image.fromarray(RECTANGLE), 255),
    "RGBA, opaque": clear(Image.fromarray(RECTANGLE).convert("RGB"), 255),
    "RGBA, all clear": clear(Image.fromarray(RECTANGLE).convert("RGB"), 0),
    "RGBA, black paint on nothing": clear(Image.new("RGB", (8, 8)), RECTANGLE),
    "RGBA, white paint on nothing": clear(Image.new("RGB", (8, 8), "white"), RECTANGLE),
    "LA, paint on nothing": clear(Image.new("L", (8, 8), 70), RECTANGLE),
}


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_white_or_paint_is_repainted(tmp_path, kind, invert):
    mask = reading.read_mask("mask", saved(tmp_path, MASKS[kind]), invert)
    assert mask.mode == "L" and (array(mask) == (255 - RECTANGLE if invert else RECTANGLE)).all()


def test_colours_of_a_mask_count_by_their_luminance(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[[255, 255, 0], [0, 0, 255], [0, 0, 0]]], np.uint8)))
    assert array(reading.read_mask("mask", path))[0].tolist() == [226, 29, 0]


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_a_mask_of_zeros_and_ones_is_refused(tmp_path, dtype, invert):
    path = saved(tmp_path, Image.fromarray((RECTANGLE > 0).astype(dtype)), "a.tiff")
    refused(lambda: reading.read_mask("mask", path, invert), "holds 0 and 1", key="mask")


def test_a_mask_of_floats_from_zero_to_one_is_complete(tmp_path):
    path = saved(tmp_path, Image.fromarray((RECTANGLE > 0).astype(np.float32)), "a.tiff")
    assert (array(reading.read_mask("mask", path)) == RECTANGLE).all()


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        ((0, 0), "all black: nothing is repainted"),
        ((255, 255), "all white: everything is repainted"),
        ((0, 127), "nowhere lighter than half-way gray: nothing is repainted"),
        ((128, 255), "nowhere darker than half-way gray: everything is repainted"),
        ((0, 255), None),
        ((127, 128), None),
    ],
)
@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_mask_that_can_hardly_be_meant(tmp_path, values, doubt, mode):
    pixels = np.array([values], np.uint8) if mode == "L" else np.array([values], np.uint16) * 257
    assert reading.describe_mask_doubt(reading.read_mask("mask", saved(tmp_path, Image.fromarray(pixels)))) == doubt


# --- depth
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (RAMP, "a.png"),
        (RAMP.astype(np.uint16) * 256 + 3, "a.png"),
        (RAMP.astype(np.int32) * 1000 - 5, "a.tiff"),
        (RAMP.astype(np.float32) / 7 - 3, "a.tiff"),
        (RAMP[..., None].repeat(3, 2), "a.png"),
    ],
)
def test_depth_keeps_its_precision(tmp_path, values, name):
    depth = reading.read_depth("depth", saved(tmp_path, Image.fromarray(values), name))
    assert depth.dtype == np.float32 and depth.shape == (16, 16) and depth.flags.writeable
    assert (depth == (values if values.ndim == 2 else RAMP).astype(np.float32)).all()


def test_what_is_transparent_is_far(tmp_path):
    path = saved(tmp_path, clear(Image.new("RGB", (8, 8), "white"), RECTANGLE))
    assert (reading.read_depth("depth", path) == RECTANGLE).all()


@pytest.mark.parametrize("values", [np.zeros((3, 3), np.uint8), np.full((3, 3), 700, np.uint16)])
def test_depth_without_relief_is_refused(tmp_path, values):
    path = saved(tmp_path, Image.fromarray(values))
    refused(lambda: reading.read_depth("depth", path), "same depth everywhere", key="depth")


# --- sizes
# --------------------------------------------------------------------------------------------------------------


def test_fitted():
    assert reading.resize_to(GRAY, 16, 16) is GRAY
    small = reading.resize_to(COLOURS, 8, 24)
    assert small.size == (24, 8) and small.tobytes() == COLOURS.resize((24, 8), Image.Resampling.LANCZOS).tobytes()


def test_fitted_is_what_diffusers_does():
    processor = pytest.importorskip("diffusers.image_processor").VaeImageProcessor()
    assert reading.resize_to(COLOURS, 40, 24).tobytes() == processor.resize(COLOURS, 40, 24).tobytes()


@pytest.mark.parametrize("size", [(1, 1), (7, 64), (64, 7)])
def test_an_image_that_is_too_small(size):
    refused(
        lambda: reading.check_size("image", Image.new("RGB", size), 8),
        f"{size[0]} x {size[1]} pixels are too few: 8 is",
    )
    reading.check_size("image", Image.new("RGB", (8, 9)), 8)


# --- samples
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samples.NAMES)
def test_samples_are_small_and_as_generated(name):
    loaded = Image.open(samples.path(name))
    assert reading.is_sample(f"sample:{name}") and samples.path(name).stat().st_size < 200_000
    assert loaded.mode == make_samples()[name].mode and np.abs(array(loaded) - array(make_samples()[name])).max() <= 1


def test_samples_are_read():
    scene, detail = (reading.read_image("image", f"sample:{name}") for name in ("scene", "detail"))
    assert scene.size == (512, 512) and scene.crop((128, 128, 384, 384)).tobytes() == detail.tobytes()
    mask = reading.read_mask("mask", "sample:mask")
    assert mask.size == scene.size and reading.describe_mask_doubt(mask) is None and set(np.unique(mask)) == {0, 255}
    assert not reading.is_sample(None) and not reading.is_sample("scene.png")
