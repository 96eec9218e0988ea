"""Images and captions are found in both layouts, and what is wrong with them is named."""

from __future__ import annotations

import json
import re

import pytest
from training_data import write_images

from composer.errors import ComposerError
from composer.training.data import read_dataset


def test_captions_come_from_text_files(tmp_path):
    folder = write_images(tmp_path / "d", (20, 10))
    (folder / "0.txt").write_text("  a red\n zorb \n")
    dataset = read_dataset(str(folder))
    assert [(example.path.name, example.caption, example.size) for example in dataset.examples] == [
        ("0.png", "a red zorb", (20, 10)), ("1.png", "a blue cube", (20, 10)),
    ]  # fmt: skip


def test_captions_come_from_metadata(tmp_path):
    folder = write_images(tmp_path / "d" / "sub").parent
    lines = [{"file_name": "sub/1.png", "text": "one"}, {"file_name": "sub/0.png", "caption": "zero"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert [example.caption for example in read_dataset(str(folder)).examples] == ["zero", "one"]


def test_the_hash_is_of_contents_and_not_of_names(tmp_path):
    one, other = (read_dataset(str(write_images(tmp_path / name))) for name in ("a", "b"))
    (other.folder / "1.txt").write_text("another")
    changed = read_dataset(str(other.folder))
    assert one.sha256 == other.sha256 != changed.sha256


def test_one_caption_for_all_that_have_none(tmp_path):
    folder = write_images(tmp_path / "d")
    (folder / "0.txt").unlink()
    assert [example.caption for example in read_dataset(str(folder), "x").examples] == ["x", "a blue cube"]


def break_it(folder, how):
    if how == "caption":
        (folder / "1.txt").unlink()
    elif how == "empty caption":
        (folder / "1.txt").write_text(" \n")
    elif how == "image":
        (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])
    elif how == "no image":
        (folder / "1.png").write_text("<html>")
    elif how == "none":
        for path in folder.iterdir():
            path.unlink()
    elif how == "line":
        (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "x"}\n{"file": "1.png"}\n')
    elif how == "named":
        (folder / "metadata.jsonl").write_text('{"file_name": "gone.png", "text": "x"}\n')
    elif how == "outside":
        (folder / "metadata.jsonl").write_text('{"file_name": "../x.png", "text": "x"}\n')
    elif how == "bytes":
        (folder / "1.txt").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("caption", r"1 of 2 images have no caption: 1\.png; write a \.txt"),
        ("empty caption", r"1 of 2 images have no caption: 1\.png"),
        ("image", r"1 of 2 images can't be read: 1\.png; the first:"),
        ("no image", r"1 of 2 images can't be read: 1\.png; the first:"),
        ("none", r"holds no images"),
        ("line", r"metadata\.jsonl: line 2 must be an object"),
        ("named", r"1 of 1 images are not there: gone\.png"),
        ("outside", r"line 1 names \.\./x\.png, which is outside of the folder"),
        ("bytes", r"1\.txt: can't be read: captions are text in UTF-8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, how, reason):
    folder = write_images(tmp_path / "d")
    break_it(folder, how)
    with pytest.raises(ComposerError) as caught:
        read_dataset(str(folder))
    assert caught.value.key == "data" and re.search(reason, str(caught.value)), caught.value
