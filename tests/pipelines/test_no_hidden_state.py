"""A run writes nothing to what it shares with other runs: the family, the Pipeline and the diffusers pipe refuse it.

A new task joins by its option file.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property

import pytest
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from composer.api.requests import request_of
from composer.checks.compatibility import check
from composer.config.search_path import packaged_conf
from composer.families.base import Family
from composer.pipelines.build import build_pipeline
from composer.pipelines.pipeline import Pipeline
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
TASKS = sorted(file.stem for file in (packaged_conf() / "task").glob("*.yaml") if not file.stem.startswith("_"))
#: What a task needs beside its name.
NEEDS = {"outpaint": ["margins=8"]}
#: Tasks that the embedded checkpoint can't do → a tiny checkpoint that can, and what it needs.
ELSEWHERE = {
    "control": ("sdcontrol", ["height=64", "width=64"]),
    "edit": ("klein", ["references=[sample:scene]", "height=32", "width=32"]),
    "image2video": ("ltx_image2video", ["image=sample:scene", "height=32", "width=32", "frames=9"]),
    "text2audio": ("stable_audio", ["prompt=rain", "seconds=1"]),
    "text2video": ("wan", ["prompt=a cat", "height=32", "width=32", "frames=5"]),
}
#: Runs of pipelines that own their loop, by the checkpoint.
HOSTED = {"sd": ["prompt=a cat"], "ddpm": ["task=unconditional"]}


@pytest.fixture
def read_only(monkeypatch):
    """Function after which attributes of an object can neither be set nor deleted; copies of it stay as they are."""
    protected = []
    for cls in (DiffusionPipeline, Family, Pipeline):
        for name in ("__setattr__", "__delattr__"):
            monkeypatch.setattr(cls, name, guarded(getattr(cls, name), protected))
    return protected.append


def guarded(method, protected):
    def refuse(self, name, *value):
        assert all(self is not shared for shared in protected), f"{type(self).__name__}.{name} is set by a run"
        return method(self, name, *value)

    return refuse


def attributes(shared):
    """Name → object of all attributes, but for what is computed once from them."""
    classes = type(shared).__mro__
    derived = {name for cls in classes for name, member in vars(cls).items() if isinstance(member, cached_property)}
    return {name: member for name, member in vars(shared).items() if name not in derived}


def run_read_only(words, read_only):
    spec, callbacks = request_of([*words, "steps=4"], {}, None)
    checked = check(spec)
    pipeline = build_pipeline(checked, callbacks)
    pipe = pipeline.family.pipe
    objects = [pipeline, pipeline.family, pipe]
    before, scheduler = [attributes(shared) for shared in objects], dict(vars(pipe.scheduler))
    for shared in objects:
        read_only(shared)
    assert pipeline(checked.request).media
    for shared, members in zip(objects, before, strict=True):
        after = attributes(shared)
        assert after.keys() == members.keys() and all(after[name] is member for name, member in members.items())
    assert vars(pipe.scheduler) == scheduler


@pytest.mark.parametrize("task", TASKS)
def test_no_task_writes_to_shared_objects(others, task, read_only):
    if task not in ELSEWHERE:
        return run_read_only([f"task={task}", *NEEDS.get(task, ())], read_only)
    name, words = ELSEWHERE[task]
    return run_read_only(
        [f"task={task}", "model=local", f"model.source={others[name]}", "callbacks=[]", *words], read_only
    )


@pytest.mark.parametrize("family", HOSTED)
def test_no_hosted_pipeline_writes_to_shared_objects(checkpoints, family, read_only):
    words = ["model=local", f"model.source={checkpoints[family]}", "model.family=hosted", "callbacks=[]"]
    run_read_only([*words, *HOSTED[family]], read_only)


def test_writing_to_a_shared_object_is_noticed(read_only):
    """The guard itself: it refuses the object and not a copy of it."""
    pipe = pipelines.ddpm()
    read_only(pipe)
    with pytest.raises(AssertionError, match="anything is set by a run"):
        pipe.anything = 1
    copy(pipe).anything = 1
