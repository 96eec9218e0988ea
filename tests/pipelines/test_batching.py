"""batch=…: the same images in shares; auto takes what should fit and halves when memory runs out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.pipelines.batching import max_batch
from composer.pipelines.build import build_pipeline
from composer.pipelines.run import execute
from composer.testing.conformance import same

FIVE = ("steps=2", "images=5", "callbacks=[]")
#: A batch of one adds in another order than a larger one: a difference of a gray level at most.
LEVEL = 1


def furthest(one, other) -> int:
    return max(
        int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())
        for a, b in zip(one.images, other.images, strict=True)
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), marks=pytest.mark.slow),
        ("scheduler=dpmpp_2m_sde",),
        pytest.param(("task=img2img",), marks=pytest.mark.slow),
        ("task=inpaint",),
        pytest.param(("task=upscale", "steps=4", "images=3"), marks=pytest.mark.slow),
        ("task=unconditional",),
    ],
    ids=" ".join,
)
def test_batches_are_the_same_images(one_thread, words):
    words = (*FIVE, *words)
    complete, batches = composer.compose(*words), composer.compose(*words, "batch=2")
    assert furthest(complete, batches) <= LEVEL
    assert batches.seeds == complete.seeds and batches.record["images"] == complete.record["images"]
    count = len(complete.images)
    assert complete.record["batches"] == [count] and batches.record["batches"] == [2] * (count // 2) + [1]


def test_a_batch_of_one_is_the_single_run_to_the_bit(one_thread):
    single = composer.compose(*FIVE, "images=1", "seed=3")
    batches = composer.compose(*FIVE, "batch=1")
    assert np.array_equal(np.asarray(single.image), np.asarray(batches.images[3]))


def test_a_batch_of_all_is_not_split(one_thread):
    assert same(composer.compose(*FIVE), composer.compose(*FIVE, "batch=9"))


def test_prompts_go_with_their_images(one_thread):
    words = (
        "steps=2",
        "prompt=['a red cone','a blue cube','a green sphere']",
        "negative_prompt=['a','b','c']",
        "callbacks=[]",
    )
    assert furthest(composer.compose(*words), composer.compose(*words, "batch=1")) <= LEVEL


def test_callbacks_write_for_each_batch(compose):
    done = compose("steps=2", "images=3", "batch=2", "callbacks=[preview]", "hydra.run.dir=out")
    assert done.code == 0, done.err
    assert {"0", "2"} <= {file.parent.name for file in Path("out").rglob("*") if file.is_file()}
    assert json.loads(Path("out/run.json").read_text())["batches"] == [2, 1]


def test_auto_takes_what_should_fit():
    checked = check(read(compose_config([*FIVE, "images=32", "batch=auto"])))
    pipeline = build_pipeline(checked)
    sizes = [max_batch(pipeline, checked, 32, free << 20) for free in (0, 40, 80, 160, 1000)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == 32 and len(set(sizes)) > 3


def test_auto_halves_when_memory_runs_out(one_thread):
    class Small(composer.StepCallback):
        def before_step(self, step):
            if len(step.latents) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    notes = []
    results = execute(read(compose_config([*FIVE, "batch=auto"])), say=notes.append, more=[Small()])
    assert results.record["batches"] == [2, 2, 1] and "batch=auto: 2 then 1 images at once" in notes
    assert same(results, composer.compose(*FIVE, "batch=2"))


def test_only_memory_makes_batches_smaller():
    class Broken(composer.StepCallback):
        def before_step(self, step):
            raise RuntimeError("something else")

    with pytest.raises(composer.ComposerError, match="something else"):
        execute(read(compose_config([*FIVE, "batch=auto"])), more=[Broken()])


def test_jobs_of_a_sweep_are_generated_in_batches(compose):
    done = compose("-m", "steps=1,2", "images=3", "batch=2", "callbacks=[]", "sweep.name=shares")
    assert done.code == 0, done.err
    records = [json.loads(file.read_text()) for file in Path("outputs/sweeps/shares").rglob("run.json")]
    assert [record["batches"] for record in records] == [[2, 1]] * 2


@pytest.mark.parametrize(("value", "shown"), [("0", 0), ("-1", -1), ("1.5", 1.5), ("true", True), ("many", "many")])
def test_a_batch_is_a_number(compose, value, shown):
    done = compose(f"batch={value}")
    assert done.code == 2 and done.err.startswith(f"compose: batch={shown}: must be an integer"), done.err
