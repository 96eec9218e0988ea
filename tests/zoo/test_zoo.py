"""Every tiny pipeline of the zoo is a fair test object: repeatable, seeded, sensitive to its seed, and savable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from zoo import MODULES, ZOO, generate, save

#: One of each kind; the others run with the slow tests.
REPRESENTATIVE = (
    "sd_inpaint",
    "sd3_control",
    "sdxl",
    "flux",
    "klein_references",
    "qwen",
    "zimage",
    "sana",
    "wan",
    "video",
)


def entries():
    for name, entry in ZOO.items():
        marks = [pytest.mark.standard if name in REPRESENTATIVE else pytest.mark.slow]
        if not entry.available:
            marks.append(pytest.mark.skip(reason=f"needs {entry.needs}"))
        yield pytest.param(name, marks=marks)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", entries())
def test_entry(name, tmp_path):
    entry = ZOO[name]
    pipeline = entry.make()
    first = generate(entry, pipeline)
    assert np.isfinite(first).all() and first.std() > 1e-3
    assert np.array_equal(generate(entry, pipeline), first)
    assert np.array_equal(generate(entry, entry.make()), first)
    other = generate(entry, pipeline, seed=8)
    assert np.abs(other - first).mean() > 1e-3
    if entry.loads:
        loaded = DiffusionPipeline.from_pretrained(save(name, tmp_path / name))
        assert type(loaded) is type(pipeline)
        # files are mapped at other addresses than tensors are allocated at, which changes the order of some additions
        assert np.abs(generate(entry, loaded) - first).mean() < 1e-4 * max(1, first.std())


@pytest.mark.parametrize("name", [name for name in ZOO if name in REPRESENTATIVE])
def test_arguments_are_new(name):
    first, second = ZOO[name].call(2), ZOO[name].call(2)
    assert first["num_inference_steps"] == 2
    assert first["generator"] is not second["generator"]
    assert not [key for key, value in first.items() if isinstance(value, list) and value is second[key]]


def test_names_are_used_once():
    assert len(ZOO) == sum(len(module.ENTRIES) for module in MODULES)


def test_making_leaves_the_random_state():
    before = torch.get_rng_state()
    ZOO["sd"].make()
    assert torch.equal(torch.get_rng_state(), before)
