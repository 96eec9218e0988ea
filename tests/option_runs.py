"""Runs with each option file of every group, on the first family that takes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from diffusers import EDMEulerScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from PIL import Image

from composer import compose
from composer.config.catalogue import BASE
from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.testing import pipelines

#: Groups of which each run has options; those of one go into a list.
GROUPS = ("scheduler", "guidance", "precision", "task", "preset", "callbacks", "memory", "accel", "device", "output")
LISTS = ("callbacks", "memory", "accel", "metric")
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


def more_sources(root: Path) -> dict[str, Path]:
    """Save checkpoints beside those of every family, which want EDM schedulers, guidance as an input, or an image."""
    edm = pipelines.sdxl()
    edm.scheduler = EDMEulerScheduler()
    more = {
        "sdxl_edm": edm,
        "flux_dev": pipelines.flux(guidance_embeds=True),
        "img2img": StableDiffusionImg2ImgPipeline(**pipelines.sd().components, requires_safety_checker=False),
        "inpaint": StableDiffusionInpaintPipeline(**pipelines.sd().components, requires_safety_checker=False),
    }
    for name, pipe in more.items():
        pipe.save_pretrained(root / name)
    return {name: root / name for name in more}


def options() -> list[str]:
    files = (file for group in GROUPS for file in sorted((packaged_conf() / group).glob("*.yaml")))
    return [f"{file.parent.name}/{file.stem}" for file in files if file.stem != BASE]


def plain(folder: Path, pipeline: str) -> list[str]:
    family = ["model.family=hosted"] if pipeline == "hosted" else []
    task = ["task=unconditional"] if folder.name == "ddpm" else ["prompt=a cat", "negative_prompt=a dog"]
    return ["model=local", f"model.source={folder}", *family, *task, "steps=4", "callbacks=[]"]


def with_option(words: list[str], option: str) -> list[str]:
    group, name = option.split("/")
    kept = [word for word in words if not word.startswith(f"{group}=")]
    return [*kept, f"{group}=[{name}]" if group in LISTS else f"{group}={name}", *NEEDS.get(option, ())]


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


def images_of_command(words: list[str], folder: Path) -> list[bytes]:
    """Run the console command, which defers imports, in a process of its own.

    Args:
        words: Its words.
        folder: Where its images go.

    Returns:
        The pixels of each image.
    """
    command = [sys.executable, "-m", "composer", *words, f"output.folder={folder}", "output=png"]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=alone, timeout=300)
    assert done.returncode == 0, done.stderr
    return [Image.open(file).tobytes() for file in sorted(folder.glob("[0-9]*.png"))]
