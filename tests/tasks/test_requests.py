"""What tasks make of the values at the root of the command line, and what they refuse; on the command line itself."""

from __future__ import annotations

import itertools
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw
from tiers import sampled

BASE = ("steps=2", "hydra.run.dir=out")


def record() -> dict:
    return json.loads(Path("out/run.json").read_text("utf-8"))


def made(name: str = "000") -> np.ndarray:
    return np.asarray(Image.open(f"out/{name}.png"))


def saved(name: str, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(name)
    return pixels


def box(name: str, size: tuple[int, int], inside: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[inside[1] : inside[3], inside[0] : inside[2]] = 255
    Image.fromarray(mask).save(name)
    return mask


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["task=img2img", "strength=0.01"],
            "strength=0.01: leaves none of the 20 steps to take: raise it to 0.05 or more, or steps",
        ),
        (["task=img2img", "strength=0"], "leaves none of the 20 steps"),
        (["task=img2img", "strength=1.5"], "strength=1.5: must be a number from 0 to 1"),
        (["task=img2img", "strength=nan"], "strength=nan: must be a finite number"),
        (["task=img2img", "strength=null"], "strength: must be a number from 0 to 1"),
        (["task=img2img", "image=null"], "image: an image is needed: image=FILE"),
        (["task=img2img", "image=nowhere.png"], "image=nowhere.png: there is no such file"),
        (["task=img2img", "image=sample:scen"], "no such sample. Did you mean sample:scene"),
        (["task=img2img", "image=small.png"], "image: 1 x 1 pixels are too few: 8 is the least of each side"),
        (
            ["task=img2img", "image=[wide.png,tall.png]", "prompt=['a','b']"],
            "these images have different sizes: set height and width",
        ),
        (
            ["task=img2img", "image=[wide.png,wide.png]", "prompt=['a','b','c']"],
            "give one for all prompts or one for each: 2 for 3",
        ),
        (["task=img2img", "height=100"], "height=100: must be a multiple of 8 pixels for this model: 96 or 104"),
        (["task=inpaint", "mask=null"], "mask: an image is needed: mask=FILE"),
        (["task=inpaint", "blur=-1"], "blur=-1: must be a number from 0 to 128"),
        (["task=inpaint", "keep_unmasked=maybe"], "keep_unmasked=maybe: must be true or false"),
        (["task=inpaint", "match_tones=maybe"], "match_tones=maybe: must be"),
        (
            ["task=outpaint", "match_tones=true", "keep_unmasked=false"],
            "match_tones=True: is for keep_unmasked=true: set match_tones=auto, or leave it out",
        ),
        (["task=inpaint", "mask=zeroone.png"], "holds 0 and 1"),
        (["task=outpaint", "margins=0"], "margins=0: add nothing"),
        (["task=outpaint", "margins=[1,2,3]"], "margins=[1, 2, 3]: must be an integer"),
        (["task=outpaint", "margins=64"], "margins=64: leave nothing of 128 x 128 pixels to the image"),
        (["task=upscale", "factor=1"], "factor=1: makes nothing larger"),
        (["task=upscale", "factor=99"], "factor=99: must be a number from 1 to 16"),
        (["task=unconditional", "image=nowhere.png"], "there is no such file"),
        (["task=text2img", "image=a.png"], "image=a.png: task=text2img does not take it; task=img2img does"),
        (["task=text2img", "mask=a.png"], "task=inpaint does"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals_are_one_line(compose, tmp_path, words, message):
    saved("small.png", (1, 1))
    saved("wide.png", (32, 16))
    saved("tall.png", (16, 32))
    Image.fromarray((np.arange(64).reshape(8, 8) % 2).astype(np.uint8)).save("zeroone.png")
    done = compose(*words, "hydra.run.dir=out")
    assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
    assert not done.out and not (tmp_path / "out").exists()


def test_strength_says_how_many_steps_it_takes(compose):
    done = compose("task=img2img", "steps=10", "strength=0.4", "hydra.run.dir=out")
    assert done.code == 0 and "4 of 10 steps" in done.out, done.err
    assert record()["iterations"] == 4 and record()["steps_left_out"] == 6


@pytest.mark.parametrize(("scheduler", "steps"), sampled(["default", "lcm", "tcd", "heun", "dpmpp_2m"], [1, 3, 7, 30]))
def test_the_strength_of_the_advice_works(compose, scheduler, steps):
    words = ("check", "task=img2img", f"scheduler={scheduler}", f"steps={steps}")
    raised = re.search(r"raise it to (\S+?)(?: or more)?, or steps\n", compose(*words, "strength=0.01").err)
    assert raised and float(raised[1]) <= 1 and compose(*words, f"strength={raised[1]}").code == 0


def test_the_image_keeps_its_size_and_rounding_is_noted(compose):
    saved("a.png", (70, 45))
    done = compose("task=img2img", "image=a.png", *BASE)
    note = "image: scaled from 70 x 45 to 64 x 40 pixels, multiples of 8"
    assert done.code == 0 and done.err == f"compose: note: {note}\n" and record()["notes"] == [note]
    assert made().shape == (40, 64, 3) and (record()["width"], record()["height"]) == (64, 40)


def test_a_size_that_fits_is_kept_without_a_word(compose):
    saved("a.png", (48, 72))
    assert compose("task=img2img", "image=a.png", *BASE).err == "" and made().shape == (72, 48, 3)
    assert compose("task=img2img", "image=a.png", "width=64", *BASE).code == 0 and made().shape == (72, 64, 3)


def test_file_names_are_taken_as_typed(compose):
    saved("a (1), b=ü'.png", (16, 16))
    done = compose("task=img2img", "image=a (1), b=ü'.png", *BASE)
    assert done.code == 0, done.err
    assert record()["config"]["image"] == "a (1), b=ü'.png"


def test_a_multirun_sweeps_over_images(compose):
    saved("a.png", (16, 16)), saved("b.png", (24, 16))
    done = compose("-m", "task=img2img", "image=a.png,b.png", "steps=2", "hydra.sweep.dir=out")
    assert done.code == 0 and done.out.count("000.png") == 2, done.err


def test_an_image_for_each_prompt(compose):
    saved("a.png", (16, 16)), saved("b.png", (16, 16), seed=1)
    done = compose(
        "task=img2img", "image=[a.png,b.png]", "prompt=['x','y']", "images=2", "strength=0.5", "seed_step=0", *BASE
    )
    assert done.code == 0, done.err
    first, second, third, fourth = (made(f"00{i}") for i in range(4))
    assert (first == second).all() and (third == fourth).all() and (first != third).any()


@pytest.mark.parametrize("channels", [4, 9])
def test_inpainting_leaves_every_unmasked_pixel_as_it_was(compose, checkpoints, channels):
    pixels, mask = saved("a.png", (64, 64)), box("m.png", (64, 64), (20, 10, 50, 40))
    model = checkpoints["sd" if channels == 4 else "sd_inpaint"]
    words = ["task=inpaint", "model=local", f"model.source={model}", "image=a.png", "mask=m.png", *BASE]
    assert compose(*words).code == 0
    assert (made()[mask == 0] == pixels[mask == 0]).all() and (made()[mask > 0] != pixels[mask > 0]).mean() > 0.9
    assert compose(*words, "invert_mask=true").code == 0
    assert (made()[mask > 0] == pixels[mask > 0]).all() and (made()[mask == 0] != pixels[mask == 0]).mean() > 0.9
    assert compose(*words, "keep_unmasked=false").code == 0 and (made()[mask == 0] != pixels[mask == 0]).any()


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "mask: all black: nothing is repainted"), (255, "mask: all white: everything is repainted")],
)
def test_a_mask_that_can_hardly_be_meant_is_named(compose, value, message):
    Image.new("L", (128, 128), value).save("m.png")
    done = compose("task=inpaint", "mask=m.png", "~model.variants.inpaint", *BASE)
    assert done.code == 0 and done.err == f"compose: note: {message}\n"


def test_outpainting_keeps_the_image_and_adds_margins(compose):
    pixels = saved("a.png", (40, 32))
    done = compose("task=outpaint", "image=a.png", "margins=[8,0,16,4]", "~model.variants.outpaint", *BASE)
    assert done.code == 0, done.err
    assert "margins: 0 pixels more on the right and 4 at the bottom, to reach multiples of 8" in done.err
    assert made().shape == (40, 64, 3) and (made()[:32, 8:48] == pixels).all()


def test_matching_tones_changes_margins_alone_and_null_is_off(compose):
    pixels = saved("a.png", (64, 64))
    words = ["task=outpaint", "image=a.png", "margins=32", "seed=1", *BASE]
    images = []
    for value in ("auto", "true", "false", "null"):
        assert compose(*words, f"match_tones={value}").code == 0
        images.append(made())
    auto, on, off, null = images
    assert (auto == on).all() and (off == null).all() and (on != off).any()
    assert (on[32:96, 32:96] == pixels).all()


def test_outpainting_to_a_given_size(compose):
    saved("a.png", (40, 32))
    words = ["task=outpaint", "image=a.png", "margins=16", "height=96", "width=96", "~model.variants.outpaint"]
    assert compose(*words, *BASE).code == 0 and made().shape == (96, 96, 3)


def test_upscaling_runs_twice_or_over_a_given_image(compose):
    assert compose("task=upscale", "factor=1.5", "strength=0.5", "steps=4", "hydra.run.dir=out").code == 0
    assert made().shape == (192, 192, 3) and record()["iterations"] == 6 and record()["width"] == 192
    saved("a.png", (40, 32))
    done = compose("task=upscale", "image=a.png", "strength=0.5", "steps=4", "hydra.run.dir=out")
    assert done.code == 0 and "2 of 4 steps" in done.out and made().shape == (64, 80, 3)


def test_variations_differ_and_stay_near(compose):
    assert compose("task=variations", "steps=10", "hydra.run.dir=out").code == 0
    images = [made(f"00{i}").astype(int) for i in range(4)]
    scene = np.asarray(
        Image.open(Path(__file__).parents[2] / "composer/images/samples/scene.png").resize((128, 128)).convert("RGB"),
        int,
    )
    assert all(np.abs(image - scene).mean() < 25 for image in images)
    assert all(np.abs(a - b).mean() > 3 for a, b in itertools.pairwise(images))


def test_the_unconditional_task_starts_from_an_image(compose):
    saved("a.png", (50, 40))
    done = compose("task=unconditional", "image=a.png", "steps=10", "hydra.run.dir=out")
    assert done.code == 0 and "6 of 10 steps" in done.out and made().shape == (64, 64, 3), done.err
    assert (
        done.err
        == "compose: note: image: scaled from 50 x 40 to 64 x 64 pixels, which is all that this model generates\n"
    )


def test_a_depth_map_or_the_models_own_estimate(compose, checkpoints):
    saved("a.png", (64, 64))
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).save("d.png")
    words = ["task=depth2img", "model=local", f"model.source={checkpoints['sd_depth']}", "image=a.png", *BASE]
    assert compose(*words).code == 0
    expected = made()
    assert compose(*words, "depth=d.png").code == 0 and (made() != expected).any()


def test_a_soft_mask_is_cut_with_a_note(compose):
    Image.fromarray(np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1))).save("m.png")
    done = compose("task=inpaint", "mask=m.png", *BASE)
    assert (
        done.code == 0
        and done.err.count("note: mask:") == 1
        and "is gray and is cut" in done.err
        and "blur=" in done.err
    )
    assert any("is gray and is cut" in note for note in record()["notes"])


def test_edges_of_a_mask_are_not_called_soft(compose):
    mask = Image.new("L", (512, 512))
    ImageDraw.Draw(mask).ellipse((100, 100, 400, 400), fill=255)
    mask.resize((128, 128), Image.Resampling.LANCZOS).save("m.png")
    mask.resize((128, 128), Image.Resampling.LANCZOS).save("m.jpg", quality=60)
    for name in ("m.png", "m.jpg"):
        done = compose("task=inpaint", f"mask={name}", *BASE)
        assert done.code == 0 and "gray" not in done.err


def test_a_transparent_part_can_serve_as_a_mask(compose):
    pixels = np.full((128, 128, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[32:64, 32:64, 3] = 0
    Image.fromarray(pixels).save("hole.png")
    words = ["task=inpaint", "image=hole.png", *BASE]
    refused = compose(*words, "mask=null")
    assert (
        refused.code == 2 and "`mask=hole.png invert_mask=true` repaints that, `mask=hole.png` the rest" in refused.err
    )
    noted = compose(*words)
    assert (
        noted.code == 0
        and "note: mask: sample:mask marks a region of sample:scene" in noted.err
        and "mask=hole.png" in noted.err
    )
    inside = compose(*words, "mask=hole.png", "invert_mask=true")
    assert inside.code == 0 and "note: mask" not in inside.err
    changed = (made() != 200).any(axis=-1)
    assert not changed[:32].any() and changed[32:64, 32:64].any()


@pytest.mark.parametrize(
    ("word", "task"), [("image=a.png", "img2img"), ("strength=0.5", "img2img"), ("mask=a.png", "inpaint")]
)
def test_the_plainest_task_that_takes_a_key_is_offered(compose, word, task):
    done = compose(word)
    assert done.code == 2 and f"task={task} does" in done.err


def test_a_mask_of_another_size_is_scaled_with_a_note(compose, checkpoints):
    saved("a.png", (64, 64)), box("m.png", (32, 32), (8, 8, 24, 24))
    words = ["task=inpaint", "model=local", f"model.source={checkpoints['sd']}", "image=a.png", "mask=m.png", *BASE]
    done = compose(*words)
    assert done.code == 0 and done.err == "compose: note: mask: scaled from 32 x 32 to 64 x 64 pixels\n"


# --- files from the wild
# ------------------------------------------------------------------------------------------------

WORDS = ("task=img2img", "strength=0.5", "steps=4", "hydra.run.dir=out")


def test_a_rotated_phone_photo_comes_out_upright(compose):
    pixels = saved("upright.png", (40, 24))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turned a quarter clockwise to be seen
    Image.fromarray(np.rot90(pixels)).save("phone.png", exif=exif)
    assert compose(*WORDS, "image=upright.png").code == 0
    upright = made()
    assert compose(*WORDS, "image=phone.png").code == 0
    assert upright.shape == (24, 40, 3) and (made() == upright).all()


def test_a_cmyk_photo_is_read_as_colours(compose):
    cmyk = Image.fromarray(saved("rgb.png", (40, 24))).convert("CMYK")
    cmyk.save("cmyk.tiff"), cmyk.convert("RGB").save("rgb.png")
    assert compose(*WORDS, "image=rgb.png").code == 0
    rgb = made()
    assert compose(*WORDS, "image=cmyk.tiff").code == 0 and (made() == rgb).all()


def test_a_truncated_image_and_a_bomb_are_refused_in_a_line(compose, tmp_path):
    saved("complete.png", (64, 64))
    complete = Path("complete.png").read_bytes()
    Path("cut.png").write_bytes(complete[: len(complete) // 2])
    Path("bomb.png").write_bytes(bomb(10_000, 10_000))
    for name, message in (
        ("cut.png", "image=cut.png: is damaged or cut short"),
        ("bomb.png", "has too many pixels: 64 megapixels are the most"),
    ):
        done = compose(*WORDS, f"image={name}")
        assert (
            done.code == 2 and done.err.count("\n") == 1 and message in done.err and not (tmp_path / "out").exists()
        ), done.err


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that decodes to very much."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width // 8)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("scheduler", "seed"), sampled(["euler_a", "dpmpp_sde"], [2**64 - 1, 2**63, 2**63 - 1]))
def test_seeds_go_as_far_as_generators_take_them(compose, seed, scheduler):
    done = compose(f"seed={seed}", f"scheduler={scheduler}", *BASE)
    assert done.code == 0, done.err
    assert record()["images"][0]["seed"] == seed and compose("rerun", "out/000.png", "output.folder=again").code == 0


def test_a_seed_beyond_is_refused(compose):
    for words in ((f"seed={2**64}",), (f"seed={2**64 - 1}", "images=2")):
        done = compose(*words, *BASE)
        assert done.code == 2 and done.err.startswith("compose: seed=") and done.err.count("\n") == 1
