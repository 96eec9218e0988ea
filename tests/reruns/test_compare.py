"""Differences of a regenerated image are explained from its record, by the processor too."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from composer.reruns.compare import compare_with_record
from composer.system.processor import processor_name


@pytest.fixture
def pair(compose, tmp_path):
    """A record whose pixels are others, and the result of the same run."""
    from composer import compose as run

    assert compose("steps=1").code == 0
    record = json.loads(next(tmp_path.rglob("run.json")).read_text("utf-8"))
    result = replace(run("steps=1"), numbers=(0,))
    return record | {"pixels": ["0" * 64]}, result


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"processor": "Pentium III, DEFAULT"}, "processor was Pentium III, DEFAULT and is "),
        ({}, "all recorded settings, versions and hardware are the same"),
        ({"processor": None}, "an old record does not name its processor"),
    ],
)
def test_the_processor_is_a_reason(pair, tmp_path, changes, why):
    old, result = pair
    old = {key: value for key, value in (old | changes).items() if key != "processor" or value}
    same, line = compare_with_record(tmp_path / "000.webp", old, result)
    assert not same and why in line


def test_the_name_says_what_torch_uses():
    import torch

    assert processor_name(torch.device("cpu")).endswith(torch.backends.cpu.get_cpu_capability())
