"""Weights in 8 bits: images near those without, models that are nobody else's, and less to hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiers import every

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.loading.precision import DtypePlan
from composer.options.memory.estimate import estimate, weights
from composer.pipelines.build import build_pipeline
from composer.records.job_id import job_id
from composer.testing.conformance import same

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("steps=4", "callbacks=[]")
SMALL = ("height=64", "width=64")
WAYS = ["precision=fp8", "memory=[layerwise_casting]"]
#: Three bits of fraction round each weight by up to 6 %: images keep what they show, not their values.
MEAN, LEAST = 25.0, 0.05


def pipeline(*words: str):
    return build_pipeline(check(read(compose_config([*FEW, *words]))))


@pytest.mark.parametrize("way", every(2, WAYS))  # which are one, as the next test shows
def test_images_are_close_and_the_next_run_is_as_before(way):
    plain, eight = composer.compose(*FEW), composer.compose(*FEW, way)
    apart = np.abs(np.asarray(plain.image, int) - np.asarray(eight.image, int)).mean()
    assert LEAST < apart < MEAN
    assert same(composer.compose(*FEW), plain) and same(composer.compose(*FEW, way), eight)
    assert eight.record["dtypes"] == {"vae": "float32", "text_encoder": "float32", "unet": "float8_e4m3fn"}


def test_both_ways_are_one():
    assert same(*(composer.compose(*FEW, way) for way in WAYS))


@pytest.mark.parametrize(
    "family", ["sd", "flux", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sdxl", "sd3", "ddpm"))]
)
def test_every_family(checkpoints, family):
    model = (
        "model=local",
        f"model.source={checkpoints[family]}",
        *(["task=unconditional"] if family == "ddpm" else SMALL),
    )
    held = pipeline(*model, "precision=fp8")
    few = sum(parameter.dtype == torch.float8_e4m3fn for parameter in held.family.denoiser.parameters())
    assert few > 10 and held.family.dtype == torch.float32
    assert len(composer.compose(*FEW, *model, "precision=fp8").images) == 1


def test_models_are_shared_with_their_like_alone():
    plain, eight, again = pipeline(), pipeline("precision=fp8"), pipeline("precision=fp8")
    assert plain.family.denoiser is not eight.family.denoiser and eight.family.denoiser is again.family.denoiser
    assert plain.family.modules["vae"] is eight.family.modules["vae"]


@pytest.mark.slow  # many runs
def test_a_sweep_over_both_leaks_nothing(compose):
    assert compose("-m", "precision=fp32,fp8,fp32", "seed=0,1", *FEW, "sweep.batch=1", "sweep.name=both").code == 0
    for file in Path("outputs/sweeps/both").rglob("run.json"):
        record = json.loads(file.read_text())
        words = (f"precision={record['options']['precision']}", f"seed={record['images'][0]['seed']}")
        assert record["pixels"] == composer.compose(*FEW, *words).record["pixels"]


def test_it_is_part_of_what_a_job_is():
    ids = {job_id(check(read(compose_config([*FEW, way])))) for way in ("precision=fp32", "precision=auto", *WAYS)}
    assert len(ids) == 4


def test_it_needs_less():
    checked = check(read(compose_config([*FEW])))
    complete, eight = DtypePlan(torch.float32), DtypePlan(torch.float32, stored=(("unet", "fp8"),))
    assert weights(checked, eight)["unet"] * 4 == weights(checked, complete)["unet"]
    assert estimate(checked, eight).total < estimate(checked, complete).total


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["precision=fp8", "memory=[layerwise_casting]"],
            "memory=layerwise_casting: precision.storage=fp8 keeps fewer bits already",
        ),
        (["precision=fp8", "accel=[fused_qkv]"], "accel=fused_qkv: needs the weights as they compute"),
        (["memory=[layerwise_casting]", "accel=[fused_qkv]"], "accel=fused_qkv: needs the weights as they compute"),
        (["precision=fp8", "accel=[openvino]"], "accel=openvino: needs the weights as they compute"),
        (["precision.storage=int3"], "precision.storage=int3: is not known"),
    ],
)
def test_what_can_not_be_is_refused(compose, words, message):
    done = compose(*FEW, *words)
    assert done.code == 2 and message in done.err, done.err
