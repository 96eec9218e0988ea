from __future__ import annotations

import os

import pytest
from PIL import Image

from composer.config.spec import OutputSpec
from composer.errors import ComposerError
from composer.media.clip import Clip
from composer.records import files as module
from composer.records.result import Result
from composer.system.files import write_atomically


def images(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (4, 3), (i, 0, 0)) for i in range(count)]


def result(count: int = 1) -> Result:
    return Result(
        media=images(count),
        seeds=tuple(range(count)),
        seconds=0.1,
        iterations=1,
        record={"config": {"prompt": "${x} \\ '"}},
    )


def test_a_write_is_complete_or_absent(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    write_atomically(target, b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_files_get_the_usual_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_save_writes_images_grid_config_and_run_json(tmp_path):
    from omegaconf import OmegaConf

    paths = result(3).save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["000.png", "001.png", "002.png"]
    assert {path.name for path in paths[0].parent.iterdir()} == {
        "000.png",
        "001.png",
        "002.png",
        "grid.png",
        "run.json",
        "config.yaml",
    }
    assert OmegaConf.load(paths[0].parent / "config.yaml").prompt == "${x} \\ '"


def test_a_folder_that_cannot_be_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ComposerError, match="can't be written to"):
        result().save(tmp_path / "file" / "folder")


@pytest.mark.parametrize(("count", "size"), [(1, (4, 3)), (2, (10, 3)), (4, (10, 8)), (5, (16, 8)), (9, (16, 13))])
def test_a_grid_is_as_square_as_it_goes(count, size):
    assert module.grid(images(count)).size == size


def test_webp_at_quality_100_is_lossless():
    import io

    image = Image.effect_noise((16, 16), 90).convert("RGB")
    data = module.encode_image(image, OutputSpec(format="webp", quality=100))
    assert Image.open(io.BytesIO(data)).convert("RGB").tobytes() == image.tobytes()


def test_a_disk_that_is_full_leaves_no_frames(tmp_path, monkeypatch):
    """The system's own answer when a frame is written."""
    clip = Clip(images(3), 8)
    record = {"config": {"output": {"format": "frames"}}}
    complete = Result(media=[clip], seeds=(0,), seconds=0.1, iterations=1, record=record)
    assert (
        complete.save(tmp_path / "complete")[0].is_dir()
        and len(list((tmp_path / "complete/000.frames").iterdir())) == 3
    )
    sync, count = os.fsync, []

    def full(handle):
        count.append(handle)
        if len(count) > 4:
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ComposerError, match="No space"):
        complete.save(tmp_path / "full")
    assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"a": 1, "b": {}},
        {"prompt": "${x} \\ '\n: ü", "n": {"f": 1e-05, "no": "no", "x": [None, [1.5, "1"]]}, "z": []},
    ],
    ids=str,
)
def test_the_config_is_written_as_one_mapping(config):
    import yaml

    expected = yaml.safe_dump(module.literal(config), sort_keys=False, allow_unicode=True)
    assert module.config_yaml(config) == expected == module.config_yaml(config)
