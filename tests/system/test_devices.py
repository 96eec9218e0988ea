"""`device=…`: a kind, or one of several by its index, as torch spells it."""

from __future__ import annotations

import sys

import pytest
import torch

from composer.config.overrides import prepare
from composer.errors import ComposerError
from composer.loading.precision import resolve_device
from composer.system import devices
from composer.system.devices import is_on_cpu, parse_device, refuse_unavailable


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "mps", "cuda:0", "cuda:7", "cuda:15", "mps:0"])
def test_a_device_as_torch_spells_it_is_taken(name):
    assert parse_device("device.type", name) == name
    assert name == "auto" or str(torch.device(name)) == name


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:x", "cpu:0", "auto:1", "", None, 0, True, "cuda:0,cuda:1"]
)
def test_what_is_no_device_is_refused(name):
    with pytest.raises(ComposerError) as error:
        parse_device("device.type", name)
    assert error.value.key == "device.type" and "cuda:0" in error.value.allowed


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("device=cuda:1", "device.type=cuda:1"),
        ("device=cuda:0,cuda:1", "device.type=cuda:0,cuda:1"),
        ("device=cpu,cuda:0", "device.type=cpu,cuda:0"),
        ("device=cuda", "device=cuda"),
        ("device=cpu,cuda", "device=cpu,cuda"),
        ("device=cuda:x", "device=cuda:x"),
        ("device.type=cuda:1", "device.type=cuda:1"),
    ],
)
def test_an_index_becomes_a_setting(typed, prepared):
    assert prepare([typed], multirun=True) == [prepared]


@pytest.mark.parametrize("word", ["device=cuda:0", "device=cuda:99", "device.type=cuda:3", "device=mps:1"])
@pytest.mark.parametrize("command", [[], ["check"]])
def test_a_device_that_is_not_there_is_refused(compose, tmp_path, word, command):
    name = word.partition("=")[2]
    kind, _, index = name.partition(":")
    existing = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if int(index) < existing:
        pytest.skip("this machine has it")
    done = compose(*command, word, "model=local", "model.source=/dev/null")  # before the model is looked at
    assert done.code == 2 and f"compose: device={name}: this machine has" in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_first_of_a_kind_is_the_kind(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1) and resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("auto") == torch.device("cuda")
    with pytest.raises(ComposerError) as error:
        resolve_device("cuda:2")
    assert "has 2, counted from 0" in str(error.value) and "cuda:1" in error.value.allowed


@pytest.mark.skipif(torch.version.cuda is not None or torch.version.hip is not None, reason="torch was built for GPUs")
def test_a_torch_for_cpus_refuses_cuda_by_itself():
    with pytest.raises(ComposerError, match="cuda"):
        refuse_unavailable("cuda:0")
    refuse_unavailable("cpu")
    refuse_unavailable("auto")


@pytest.mark.skipif(sys.platform != "linux", reason="drivers are looked for on Linux")
@pytest.mark.parametrize(
    ("cuda", "driver", "rocm", "refused"),
    [
        (False, "libc.so.6", "/", "is built without CUDA"),
        (True, "libabsent.so.1", "/absent", "no driver of a GPU is installed"),
        (True, "libabsent.so.1", "/", None),
        (True, "libc.so.6", "/absent", None),
    ],
)
def test_a_gpu_is_missed_by_its_driver_before_torch_is_imported(monkeypatch, cuda, driver, rocm, refused):
    for name, value in {"built_for_cuda": lambda: cuda, "CUDA_DRIVER": driver, "ROCM": rocm}.items():
        monkeypatch.setattr(devices, name, value)
    monkeypatch.setattr(devices, "_why_no_cuda", devices._why_no_cuda.__wrapped__)
    assert is_on_cpu("auto") == (refused is not None) and is_on_cpu("cpu") and not is_on_cpu("cuda")
    if refused is None:
        refuse_unavailable("cuda:1")
    else:
        with pytest.raises(ComposerError, match=refused):
            refuse_unavailable("cuda:1")
