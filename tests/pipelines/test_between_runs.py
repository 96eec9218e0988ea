"""A run finds nothing of the runs before it: A, B, A in one process, for every option file of every group and both
pipelines.

A is a plain run and B the same with one option. Each is generated with weights just loaded first, then B and A in
turn on the same models: the images and what is recorded of them must be equal. A new option file joins by itself;
where it needs more than its name, or can't work on a CPU, it gets a line in NEEDS or NOT_HERE.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from diffusers import EDMEulerScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

from composer import compose
from composer.config.catalogue import BASE
from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.options.lifecycle import clear_models
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
#: Groups of which each run has options; those of one go into a list.
GROUPS = ("scheduler", "guidance", "precision", "task", "preset", "callbacks", "memory", "accel", "device", "output")
LISTS = ("callbacks", "memory", "accel")
#: Families, in the order in which they are tried, by pipeline.
PIPELINES = {
    "native": ("sd", "sdxl", "sd3", "flux", "ddpm", "sd_depth", "sdxl_edm", "flux_dev"),
    "hosted": ("sd", "sdxl", "sd3", "flux", "ddpm", "sdxl_edm", "flux_dev", "img2img", "inpaint"),
}
#: Models that generate from an image alone: their plain run is the task with another seed.
FROM_IMAGE = ("sd_depth", "img2img", "inpaint")
#: What an option needs beside its name.
NEEDS = {
    "accel/attention": ["accel.attention.backend=_native_math"],
    "accel/first_block_cache": ["accel.first_block_cache.threshold=0.9"],
    "accel/magcache": ["accel.magcache.ratios=flux", "accel.magcache.threshold=1", "accel.magcache.kept=0"],
    "accel/taylorseer": ["accel.taylorseer.interval=2", "accel.taylorseer.warmup=1"],
    "callbacks/prompt_switch": ["callbacks.prompt_switch.prompt=a dog", "callbacks.prompt_switch.step=1"],
    "memory/vae_slicing": ["images=2"],
    "memory/vae_tiling": ["height=256", "width=256"],
    "preset/small": ["images=2"],
    "task/outpaint": ["margins=8"],
}
#: Options that no CPU, or no installation without further packages, can run: they must be refused.
NOT_HERE = {
    "accel/onnx", "accel/openvino", "accel/tome", "device/cuda", "device/mps", "memory/cpu_text_encoder",
    "memory/group_offload", "memory/layerwise_casting", "memory/model_offload", "memory/sequential_offload",
    "memory/xformers", "precision/bnb_int8", "precision/bnb_nf4", "precision/quanto_int8", "precision/torchao_int8",
    *(f"preset/{name}" for name in ("sd15_lcm", "sdxl_lcm", "sdxl_lightning", "sd15_hyper", "sdxl_hyper", "flux_hyper",
            "flux_turbo", "qwen_image_lightning")),
}  # fmt: skip
#: Those that are tried in a fresh process too.
SAMPLE = {
    "scheduler/euler_karras", "scheduler/flow_heun", "guidance/pag", "precision/bf16", "callbacks/guidance_schedule",
    "memory/attention_slicing", "accel/fused_qkv", "accel/first_block_cache", "task/img2img",
}  # fmt: skip
#: Those that are tried for each merge.
OFTEN = {"scheduler/euler_karras", "guidance/pag", "callbacks/guidance_schedule", "memory/attention_slicing"}


@pytest.fixture(scope="module")
def sources(checkpoints, tmp_path_factory) -> dict[str, Path]:
    """A checkpoint of every family; some that want EDM schedulers, the guidance scale as an input, or an image."""
    edm = pipelines.sdxl()
    edm.scheduler = EDMEulerScheduler()
    more = {
        "sdxl_edm": edm,
        "flux_dev": pipelines.flux(guidance_embeds=True),
        "img2img": StableDiffusionImg2ImgPipeline(**pipelines.sd().components, requires_safety_checker=False),
        "inpaint": StableDiffusionInpaintPipeline(**pipelines.sd().components, requires_safety_checker=False),
    }
    root = tmp_path_factory.mktemp("more")
    for name, pipe in more.items():
        pipe.save_pretrained(root / name)
    return {**checkpoints, **{name: root / name for name in more}}


def options() -> list[str]:
    files = (file for group in GROUPS for file in sorted((packaged_conf() / group).glob("*.yaml")))
    return [f"{file.parent.name}/{file.stem}" for file in files if file.stem != BASE]


def cases() -> list[Any]:
    """Each option in both pipelines; all but a sample are slow."""
    marks = {option: () if option in OFTEN else (pytest.mark.slow,) for option in options()}
    return [
        pytest.param(option, pipeline, id=f"{option}-{pipeline}", marks=marks[option])
        for option in options()
        for pipeline in PIPELINES
    ]


def plain(folder: Path, pipeline: str) -> list[str]:
    family = ["model.family=hosted"] if pipeline == "hosted" else []
    task = ["task=unconditional"] if folder.name == "ddpm" else ["prompt=a cat", "negative_prompt=a dog"]
    return ["model=local", f"model.source={folder}", *family, *task, "steps=4", "callbacks=[]"]


def with_option(words: list[str], option: str) -> list[str]:
    group, name = option.split("/")
    kept = [word for word in words if not word.startswith(f"{group}=")]
    return [*kept, f"{group}=[{name}]" if group in LISTS else f"{group}={name}", *NEEDS.get(option, ())]


def generated(words: list[str]) -> tuple[Any, ...]:
    """The images' pixels, and all of the record that no clock has a say in."""
    result = compose(*words)
    record = {key: value for key, value in result.record.items() if key not in ("seconds", "peak_memory", "notes")}
    return (
        [image.tobytes() for image in result.images],
        _notes(result),
        result.flagged,
        json.dumps(record, sort_keys=True, default=str),
    )


def _notes(result: Any) -> list[str]:
    """Without the memory that was free at the moment."""
    return [re.sub(r"[\d.]+ (G|M)iB", "", note) for note in result.notes]


def suited(option: str, pipeline: str, sources: dict[str, Path]) -> tuple[list[str], list[str]] | ComposerError:
    """The words of A and B on the first family that takes the option, or why none does."""
    refused: list[ComposerError] = []
    for family in PIPELINES[pipeline]:
        a = plain(sources[family], pipeline)
        b = with_option(a, option)
        try:
            compose(*b)
        except ComposerError as error:
            refused.append(error)
            continue
        return ([*b, "seed=5"] if family in FROM_IMAGE else a), b
    return refused[0]


@pytest.mark.parametrize(("option", "pipeline"), cases())
def test_an_option_is_gone_with_its_run(sources, option, pipeline):
    result = suited(option, pipeline, sources)
    if isinstance(result, ComposerError):
        assert option in NOT_HERE or pipeline == "hosted", f"no family takes it: add what it needs to NEEDS. {result}"
        pytest.skip(str(result))
    a, b = result
    fresh = {}
    for name, words in (("b", b), ("a", a)):
        clear_models()
        fresh[name] = generated(words)
    assert generated(b) == fresh["b"]
    assert generated(a) == fresh["a"]


FRESH = """
import hashlib, json, sys
import torch
torch.set_num_threads(1)
import composer
for words in json.loads(sys.argv[1]):
    print(hashlib.sha256(b"".join(image.tobytes() for image in composer.compose(*words).images)).hexdigest())
"""


@pytest.mark.slow
def test_images_are_those_of_a_fresh_process(sources, tmp_path):
    """All plain runs and the sample of options, each after the other in one new process, the last one first."""
    requested = [
        plain(sources[family], pipeline)
        for pipeline, families in PIPELINES.items()
        for family in families
        if family not in FROM_IMAGE
    ]
    for option in sorted(SAMPLE):
        result = suited(option, "native", sources)
        requested.append(result[1])
    here = [hashlib.sha256(b"".join(generated(words)[0])).hexdigest() for words in requested]
    given = json.dumps(requested[::-1])
    done = subprocess.run(
        [sys.executable, "-c", FRESH, given], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[::-1] == here
