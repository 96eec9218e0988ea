"""Cache between processes: entries are found by content, complete or absent, and never exceed the limit."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from functools import wraps
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiers import sampled, slow_but

import composer
from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.loading import converted, disk_cache, loader
from composer.loading.load_options import LoadOptions
from composer.loading.precision import DtypePlan
from composer.options import lifecycle
from composer.testing import pipelines
from composer.testing.conformance import same


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))


def put(key: str, size: int = 1000) -> None:
    disk_cache.get_or_create("things", key, lambda draft: (draft / "file").write_bytes(b"x" * size))


def test_made_once():
    created = []
    for _ in range(2):
        location = disk_cache.get_or_create(
            "things", "one", lambda draft: created.append((draft / "file").write_text("x"))
        )
        assert (location / "file").read_text() == "x"
    assert len(created) == 1 and [entry.key for entry in disk_cache.entries()] == ["one"]


def test_a_failure_leaves_nothing():
    def broken(draft):
        (draft / "file").write_text("half")
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        disk_cache.get_or_create("things", "one", broken)
    assert not disk_cache.entries() and not list(disk_cache.folder("things").iterdir())


def test_what_was_not_used_for_longest_goes_first(monkeypatch):
    for age, key in enumerate(["new", "middle", "old"]):
        put(key)
        os.utime(disk_cache.folder("things") / key, (time.time() - 100 * (age + 1),) * 2)
    monkeypatch.setenv("COMPOSER_CACHE_GIB", str(3000 / 2**30))
    put("newest")
    assert [entry.key for entry in disk_cache.entries()] == ["newest", "new", "middle"]
    monkeypatch.setenv("COMPOSER_CACHE_GIB", "0")
    put("larger than allowed", 5000)
    assert [entry.key for entry in disk_cache.entries()] == ["larger than allowed"], "what is needed now is spared"


def test_leavings_of_killed_processes_go(tmp_path):
    old, new = (disk_cache.folder("things") / f".draft-{name}" for name in ("old", "new"))
    old.mkdir(parents=True), new.mkdir()
    os.utime(old, (time.time() - 2 * disk_cache.STALE_SECONDS,) * 2)
    put("one")
    assert not old.exists() and new.exists()


def test_content_is_what_counts(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "config.json").write_text("{}")
    (one / "model.safetensors").write_bytes(b"weights")
    for file in one.iterdir():
        os.utime(file, (time.time() - 60,) * 2)
    shutil.copytree(one, other)
    first = disk_cache.content_hash(one)
    assert first == disk_cache.content_hash(other)
    read = []
    monkeypatch.setattr(disk_cache.hashlib, "file_digest", lambda *_: read.append(1), raising=False)
    monkeypatch.setattr(disk_cache, "_digest", lambda *_: read.append(1))
    assert disk_cache.content_hash(one) == first and not read, "a file that did not change is not read again"
    monkeypatch.undo()
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    (other / "model.safetensors").write_bytes(b"WEIGHTS")
    os.utime(other / "model.safetensors", ns=((one / "model.safetensors").stat().st_mtime_ns,) * 2)
    assert disk_cache.content_hash(other) != first, "even with the same size and date"


def test_ls_and_clear(compose):
    put("one", 3 << 20)
    done = compose("cache", "ls")
    assert done.code == 0 and "things     one" in done.out and "3 MiB" in done.out
    assert compose("cache", "clear").out.startswith("freed 3 MiB") and not disk_cache.entries()
    assert compose("cache", "ls").out.startswith("0.00 GiB of at most 30")
    refused = compose("cache", "clean")
    assert refused.code == 2 and "say `compose cache ls` or `compose cache clear`" in refused.err


def test_a_senseless_cap_is_refused(compose, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE_GIB", "lots")
    assert "COMPOSER_CACHE_GIB=lots: must be a number" in compose("cache", "ls").err


@pytest.fixture
def small(monkeypatch):
    """Have even tiny weights kept."""
    monkeypatch.setattr(converted, "MIN_BYTES", 1)
    lifecycle.clear_models(), converted.converted.clear()
    yield
    lifecycle.clear_models()


def run(*words: str):
    lifecycle.clear_models()
    return composer.compose("steps=2", "device=cpu", "callbacks=[]", *words)


@pytest.fixture
def half(checkpoints) -> tuple[str, ...]:
    """What generates with weights that are converted, and, of small models, soon."""
    return ("model=local", f"model.source={checkpoints['sd']}", "precision=bf16", "height=64", "width=64")


@pytest.mark.parametrize("precision", ["bf16"])
@pytest.mark.parametrize("family", slow_but(("sd", "sd3"), ["sd", "sdxl", "sd3", "flux"]))
def test_kept_weights_are_the_same_weights(small, one_thread, checkpoints, family, precision):
    words = ("model=local", f"model.source={checkpoints[family]}", f"precision={precision}")
    plain = run(*words, "precision.cache=false")
    assert not converted.converted
    first, times = run(*words), dict(converted.converted)
    second = run(*words)
    assert same(plain, first) and same(plain, second)
    assert times and set(times.values()) == {1} and dict(converted.converted) == times, "converted once"
    for entry in disk_cache.entries():
        for file in entry.path.glob("*.safetensors"):
            with safe_open(file, "pt") as opened:
                assert {opened.get_tensor(key).dtype for key in opened.keys()} == {torch.bfloat16}  # noqa: SIM118


@pytest.mark.parametrize(("family", "dtype"), sampled([*pipelines.MAKERS], [torch.bfloat16, torch.float16]))
def test_what_is_read_from_them_is_what_the_libraries_read(small, monkeypatch, checkpoints, family, dtype):
    read = []

    def both(folder, library, name, dtype, load):
        read.append((converted._assign_weights(folder, library, name, dtype), theirs := load(str(folder))))
        return theirs

    monkeypatch.setattr(converted, "read_converted", both)
    loader.load(
        find_checkpoint(ModelSpec(name="local", source=str(checkpoints[family]))),
        LoadOptions(DtypePlan(dtype), torch.device("cpu")),
    )
    assert read
    for ours, theirs in read:
        assert ours is not None, type(theirs)
        kept, expected = ours.state_dict(), theirs.state_dict()
        assert list(kept) == list(expected) and _description(ours) == _description(theirs) and not ours.training
        assert [one.requires_grad for one in ours.parameters()] == [one.requires_grad for one in theirs.parameters()]
        for one, other in [
            *zip(kept.values(), expected.values(), strict=True),
            *zip(ours.buffers(), theirs.buffers(), strict=True),
        ]:
            assert one.dtype == other.dtype and torch.equal(one, other)


def _description(model) -> dict[str, Any]:
    config = model.config if isinstance(model.config, Mapping) else model.config.to_dict()
    return {key: value for key, value in config.items() if key != "_name_or_path"}


def test_dtypes_that_no_file_holds_are_left_to_the_libraries(small, monkeypatch, half):
    original = UNet2DConditionModel.__init__

    @wraps(original)  # diffusers asks for its signature
    def more(self, **given):
        original(self, **given)
        self.register_buffer("own", torch.ones(2), persistent=False)

    reference = run(*half)
    monkeypatch.setattr(UNet2DConditionModel, "__init__", more)
    assert same(reference, run(*half))


@pytest.mark.parametrize("how", slow_but(["gone", "cut off"], ["gone", "other keys", "cut off", "no config"]))
def test_a_damaged_one_is_made_again(small, monkeypatch, half, how):
    reference = run(*half)
    for entry in disk_cache.entries():
        file = next(entry.path.glob("*.safetensors"))
        if how == "other keys":
            held = load_file(file)
            save_file({"another": held.pop(min(held)), **held}, file, metadata={"format": "pt"})
        elif how == "cut off":
            os.truncate(file, file.stat().st_size // 2)
        elif how == "no config":
            (entry.path / "config.json").write_text("{")
    with monkeypatch.context() as patch:
        if how == "gone":  # another process evicted the entry after this one had found it
            cached_dir = converted.cached_dir_or_source
            patch.setattr(converted, "cached_dir_or_source", lambda *given: (cached_dir(*given), disk_cache.clear())[0])
        assert same(reference, run(*half))
    converted.converted.clear()
    for _ in range(2):
        assert same(reference, run(*half))
    assert set(converted.converted.values()) == {1}


def test_keys_of_no_use_are_named_the_second_time_too(small, compose, checkpoints, tmp_path):
    shutil.copytree(checkpoints["sd"], tmp_path / "own")
    file = tmp_path / "own" / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(file), "of_no_use": torch.zeros(1)}, file, metadata={"format": "pt"})
    for _ in range(2):
        lifecycle.clear_models()
        done = compose(
            "model=local", "model.source=own", "precision=bf16", "steps=2", "height=64", "width=64", "callbacks=[]"
        )
        assert done.code == 0 and "note: unet: of_no_use is in its files, and not used" in done.err


def test_weights_that_have_the_dtype_are_left_alone(small, checkpoints):
    run("model=local", f"model.source={checkpoints['sd']}", "precision=fp32")
    assert not converted.converted


def test_a_cache_that_cannot_be_written_is_gone_without(small, monkeypatch, half, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "file"))
    assert run(*half).images
