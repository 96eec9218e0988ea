"""Offloading moves weights between devices: results stay the same to the bit, and nothing of it is left afterwards.

A GPU is not at hand here, so the CPU plays the device that models are moved to: every hook runs as it would.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiers import sampled
from torch import nn

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.options import lifecycle
from composer.options.memory.offload import CpuTextEncoder, GroupOffload, ModelOffload, SequentialOffload
from composer.pipelines.build import build_pipeline
from composer.testing.conformance import same

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = {
    "model": ModelOffload(),
    "group": GroupOffload(stream=False),
    "group of blocks": GroupOffload(blocks=1, stream=False),
    "sequential": SequentialOffload(),
    "text encoder": CpuTextEncoder(),
}
TASKS = ["text2img", "inpaint", "depth2img"]


def run(checked, **options):
    pipeline = replace(
        build_pipeline(checked), options={f"memory.{option.name}": option for option in options.values()}
    )
    return pipeline(checked.request), pipeline


def furthest(one, other) -> int:
    return max(
        int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())
        for a, b in zip(one.images, other.images, strict=True)
    )


def of(*words: str):
    return check(read(compose_config(list(words))))


def traces(pipeline) -> list[str]:
    """What hooks leave behind."""
    results = []
    for part in pipeline.family.pipe.components.values():
        for name, module in part.named_modules() if isinstance(part, nn.Module) else ():
            results += [
                f"{name}.{mark}" for mark in ("_hf_hook", "_diffusers_hook", "_old_forward") if hasattr(module, mark)
            ]
    return results


@pytest.mark.parametrize(("name", "task"), sampled([*OPTIONS], TASKS))
def test_the_same_image_and_nothing_left(name, task):
    option = OPTIONS[name]
    checked = of(f"task={task}", "steps=3", "images=2")
    plain, _ = run(checked)
    moved, pipeline = run(checked, option=option)
    assert same(plain, moved)
    assert traces(pipeline), "it was not on"
    again, pipeline = run(checked)
    assert same(plain, again) and not traces(pipeline)
    assert all(p.device.type == "cpu" for model in pipeline.family.modules.values() for p in model.parameters())


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    "family", [pytest.param("sdxl", marks=pytest.mark.slow), pytest.param("sd3", marks=pytest.mark.slow), "flux"]
)
def test_every_family(checkpoints, family, option):
    checked = of("model=local", f"model.source={checkpoints[family]}", "steps=2", "height=64", "width=64")
    plain, _ = run(checked)
    moved, _ = run(checked, option=option)
    again, pipeline = run(checked)
    # 1 of 255: weights that were moved are aligned otherwise in memory, and the CPU's matrix products sum by alignment
    assert furthest(plain, moved) <= 1 and furthest(plain, again) <= 1 and not traces(pipeline)


@pytest.mark.parametrize(
    "option", [OPTIONS["model"], OPTIONS["group"], OPTIONS["sequential"]], ids=["model", "group", "sequential"]
)
def test_a_failure_in_the_middle_leaves_nothing(option):
    class Fails(composer.StepCallback):
        def before_step(self, step):
            raise ValueError("on purpose")

    checked = of("steps=2")
    plain, pipeline = run(checked)
    broken = replace(pipeline, callbacks={"fails": Fails()}, options={"memory.x": option})
    with pytest.raises(ComposerError, match="on purpose"):
        broken(checked.request)
    again, pipeline = run(checked)
    assert same(plain, again) and not traces(pipeline)


@pytest.fixture(autouse=True)
def loose():
    yield
    lifecycle.remove_options()


@pytest.mark.parametrize("name", ["model_offload", "group_offload", "sequential_offload", "cpu_text_encoder"])
def test_on_a_cpu_there_is_nothing_to_save(compose, name):
    done = compose(f"memory=[{name}]", "device=cpu")
    assert done.code == 2 and f"memory={name}: does nothing on cpu: it is for cuda and xpu" in done.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": 0}, "memory.group_offload.blocks=0: must be an integer, 1 or more, or null"),
        ({"stream": "often"}, "memory.group_offload.stream=often: must be true, false or null"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ComposerError, match=message):
        GroupOffload(**settings)


def test_they_exclude_each_other(monkeypatch):
    from composer.loading.precision import DtypePlan
    from composer.options.base import OptionContext

    setting = OptionContext(
        checked=of("steps=1"), device=torch.device("cuda"), dtypes=DtypePlan(torch.float32),
        active=frozenset({"memory.model_offload", "memory.group_offload"}),
    )  # fmt: skip
    with pytest.raises(ComposerError, match="memory=model_offload: can't be together with memory=group_offload"):
        ModelOffload().check(setting)
    with pytest.raises(ComposerError, match="ddpm models have no text encoder"):
        CpuTextEncoder().check(
            OptionContext(
                checked=of("task=unconditional"), device=torch.device("cuda"), dtypes=DtypePlan(torch.float32)
            )
        )
