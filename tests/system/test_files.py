"""Files that are complete or absent, one by one and in sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composer.system.files import scratch_directory, write_files

FILES = {"000.png": b"image", "preview/000.png": b"frame", "run.json": b"record"}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_files_get_their_names_in_their_order_once_all_are_on_the_disk(tmp_path, monkeypatch):
    real, flushed, renamed = os.fsync, [], []
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(handle), real(handle)))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (renamed.append((len(flushed), b.name)), replace(a, b)))
    write_files(tmp_path / "new", FILES)
    assert contents(tmp_path / "new") == FILES
    assert renamed == [(3, "000.png"), (3, "000.png"), (3, "run.json")]
    assert len(flushed) == 5, "each file, and each directory once"


@pytest.mark.parametrize("nth", range(1, 4))
def test_on_a_full_disk_the_files_stay_as_they_were(tmp_path, monkeypatch, nth):
    write_files(tmp_path, FILES)
    calls = []

    def full(_handle: int) -> None:
        calls.append(_handle)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_files(tmp_path, {name: b"new" for name in FILES})
    assert contents(tmp_path) == FILES


def test_a_set_that_is_incomplete_is_removed(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OSError):
        write_files(tmp_path, FILES)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("names", [(), ("a",), ("b/c",)], ids=str)
def test_a_scratch_directory_is_made_once_and_removed(names):
    with scratch_directory() as folder:
        assert folder() == folder() and folder().is_dir()
        for name in names:
            write_files(folder(), {name: b"x"})
        path = folder()
    assert not path.exists()
