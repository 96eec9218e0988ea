"""Images carry their record, for composer and for other tools; what others wrote into an image is only ever data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from sd_parsers import ParserManager

from composer.errors import ComposerError
from composer.images import embedded_texts
from composer.records import metadata

PROMPT = 'ünï, (red:1.2) "cone": a 🎈'


@pytest.mark.parametrize(("form", "suffix"), [("png", "png"), ("webp", "webp"), ("jpeg", "jpg")])
def test_every_format_carries_the_record(compose, form, suffix):
    done = compose(
        f"output={form}",
        "steps=2",
        "images=2",
        f"prompt={PROMPT}",
        "negative_prompt=a sky",
        "scheduler=dpmpp_2m_karras",
        "hydra.run.dir=r",
    )
    assert done.code == 0, done.err
    complete = json.loads(Path("r/run.json").read_text())
    files = complete.pop("files")
    assert set(files) == {f"000.{suffix}", f"001.{suffix}", f"grid.{suffix}", "config.yaml"}
    for number in (0, 1):
        assert metadata.read(Path(f"r/00{number}.{suffix}")) == complete | {"number": number}
    assert metadata.read(Path(f"r/grid.{suffix}")) == complete | {"number": None}
    assert metadata.read(Path("r/run.json")) == complete | {"number": None, "files": files}
    read = ParserManager().parse(f"r/001.{suffix}")
    sampler = next(iter(read.samplers))
    assert [prompt.value for prompt in read.prompts] == [PROMPT] and [
        prompt.value for prompt in read.negative_prompts
    ] == ["a sky"]
    assert (
        sampler.name.startswith("DPM++ 2M") and sampler.parameters["seed"] == "1" and sampler.parameters["steps"] == "2"
    )
    assert sampler.parameters["cfg_scale"] == "5.0" and next(iter(read.models)).name == "tiny"


def test_a_record_too_long_for_jpeg_stays_in_its_file(compose):
    prompts = ",".join(f"'{'x' * 3600}{i}'" for i in range(20))
    assert (
        compose(
            "output=jpeg", "steps=1", f"prompt=[{prompts}]", "hydra.run.dir=r", "callbacks=[]", "height=32", "width=32"
        ).code
        == 0
    )
    assert embedded_texts.read_image_texts(Path("r/000.jpg")).texts["UserComment"].startswith("xxx")
    with pytest.raises(ComposerError, match=r"may be a run\.json beside it"):
        metadata.read(Path("r/000.jpg"))
    assert len(metadata.read(Path("r/run.json"))["images"]) == 20


def png(path: Path, text: str) -> Path:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(metadata.KEY, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path


def good(compose) -> dict:
    assert compose("steps=1", "hydra.run.dir=good", "callbacks=[]").code == 0
    return metadata.read(Path("good/000.png"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "hello", "holds no record"),
        (lambda text: text[:-1], "can't be read"),
        (lambda text: '{"a":' * 100000, "longer than"),
        (lambda text: '{"a":' * 40000, "can't be read"),
        (lambda text: text + " " * metadata.MAX_CHARACTERS, "longer than"),
        (lambda text: text.replace('"threads":', '"threads":NaN,"x":'), "NaN is no number"),
        (lambda text: text.replace('"threads":', '"device":"cpu","threads":'), "a key is there twice"),
        (lambda text: text.replace('"seed":0', '"seed":' + "9" * 5000, 1), "can't be read"),
        (lambda text: text.replace('"seed":0', '"seed":"0"', 1), "with which seed"),
        (lambda text: text.replace(',"negative_prompt":null}', "}", 1), "with which seed"),
        (lambda text: text.replace('"accel":{}', '"accel":[null]'), "accel or notes of another kind"),
        (lambda text: text.replace('"notes":[]', '"notes":3'), "accel or notes of another kind"),
        (lambda text: text.replace('"number":0', '"number":7'), "which image of which batch"),
        (lambda text: text.replace('"number":0', '"number":true'), "which image of which batch"),
        (lambda text: text.replace('"batches":[1]', '"batches":[-1]'), "which image of which batch"),
        (lambda text: text.replace('"config":', '"other":'), "no config of the right kind"),
        (lambda text: json.dumps([json.loads(text)]), "holds no record"),
    ],
)
def test_what_is_no_record_is_refused(compose, tmp_path, change, message):
    text = json.dumps(good(compose), separators=(",", ":"))
    with pytest.raises(ComposerError, match=message):
        metadata.read(png(tmp_path / "bad.png", change(text)))


def test_a_good_one_is_read(compose, tmp_path):
    record = good(compose)
    assert metadata.read(png(tmp_path / "same.png", json.dumps(record))) == record


@pytest.mark.parametrize("name", ["absent.png", ".", "text.png", "text.json"])
def test_files_that_are_none(tmp_path, name):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "text.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ComposerError):
        metadata.read(tmp_path / name)
