"""What speed costs: each option's images against those without it. `python benchmarks/quality.py [--prompts 50]
[--quick]`

On the embedded checkpoint, 20 steps of Euler. For each option, in one run with its reference: how many times faster a
complete job of one image is (CPU seconds and wall, medians of runs in turn), then over the same prompts and seeds
SSIM, the mean difference in gray levels, the distance of features, and adherence without → with the option
(benchmarks/adherence.py: prompts met; sizes right). The features are those of adherence's classifier, layer by layer
as LPIPS compares them: LPIPS' own weights are in no package that can be installed, so its numbers can't be compared
with these. A new option is a line of OPTIONS. What can't work here is skipped with composer's own words.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import adherence
import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

import composer
from composer.checks.compatibility import check
from composer.cli.process import configure_process
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.pipelines.build import build_pipeline
from composer.tiny.captions import caption

BASE = ("scheduler=euler", "steps=20", "callbacks=[]")
FIFTY = "steps=50"
#: Name → settings of the option, and of its reference beside BASE.
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "10 steps": (("steps=10",), ()),
    "10 steps of dpmpp_2m": (("steps=10", "scheduler=dpmpp_2m"), ()),
    "bf16": (("precision=bf16",), ()),
    "deepcache, every 2nd": (("accel=[deepcache]", "accel.deepcache.interval=2"), ()),
    "deepcache, every 3rd": (("accel=[deepcache]",), ()),
    "deepcache, every 5th": (("accel=[deepcache]", "accel.deepcache.interval=5"), ()),
    "deepcache, 50 steps": ((FIFTY, "accel=[deepcache]"), (FIFTY,)),
    "no guidance in the 2nd half": (("callbacks=[cfg_cutoff]",), ()),
    "guidance in the middle": (("guidance=interval",), ()),
    "token merging": (("accel=[tome]",), ()),
    "channels_last": (("accel=[channels_last]",), ()),
    "fused_qkv": (("accel=[fused_qkv]",), ()),
    "compile": (("accel=[compile]",), ()),
    "openvino": (("accel=[openvino]",), ()),
    "onnx": (("accel=[onnx]",), ()),
    "attention_slicing": (("memory=[attention_slicing]",), ()),
}
ROUNDS, BLOCK = 4, 3


def pipeline_of(words: tuple[str, ...]):
    checked = check(read(compose_config([*BASE, *words])))
    return build_pipeline(checked), checked.request


def speed(on: tuple[str, ...], off: tuple[str, ...], rounds: int) -> tuple[float, float]:
    """Median CPU and wall seconds of jobs without the option over those with it. In blocks, since fitting a model anew
    takes time.
    """
    sides, times = (pipeline_of(off), pipeline_of(on)), ([], [])
    for _ in range(rounds):
        for (pipeline, request), taken in zip(sides, times):
            pipeline(request)  # fits the option and warms up
            for _ in range(BLOCK):
                cpu, wall = time.process_time(), time.perf_counter()
                pipeline(request)
                taken.append((time.process_time() - cpu, time.perf_counter() - wall))
    medians = [[statistics.median(column) for column in zip(*taken)] for taken in times]
    return medians[0][0] / medians[1][0], medians[0][1] / medians[1][1]


def generated(prompts: list[str], words: tuple[str, ...], batch: int) -> np.ndarray:
    """Images (N, H, W, 3), 0–255; image i from seed i."""
    images = []
    for start in range(0, len(prompts), batch):
        images += composer.compose(*BASE, *words, prompt=prompts[start : start + batch], seed=start).images
    return np.stack([np.asarray(image) for image in images])


def seen(images: np.ndarray) -> Tensor:
    """As the classifier wants them: (N, 3, 64, 64), −1 … 1."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.nn.functional.interpolate(x, size=adherence.SIZE, mode="area")


@torch.no_grad()
def features_apart(model: adherence.Classifier, one: Tensor, other: Tensor) -> float:
    """Mean squared distance of unit-length features over all positions, summed over the convolutions' layers."""
    total = 0.0
    for layer in model.body:
        one, other = layer(one), layer(other)
        if isinstance(layer, torch.nn.SiLU):
            a, b = (torch.nn.functional.normalize(x, dim=1) for x in (one, other))
            total += float((a - b).square().sum(1).mean())
        if layer is model.body[11]:  # what follows asks questions
            break
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=50, help="for each of the four sets of prompts")
    parser.add_argument(
        "--quick", action="store_true", help="two prompts, three options: proves the script, not the point"
    )
    parser.add_argument("--only", nargs="+", help="options by name")
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/adherence"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    configure_process(verbose=False)
    count, rounds = (1, 1) if args.quick else (args.prompts, ROUNDS)
    model = adherence.trained(args.cache) if not args.quick else adherence.Classifier().eval()
    scenes = [
        scene for pairs, things in adherence.SETS.values() for scene in adherence.scenes_with(count, pairs, things)
    ]
    prompts = [caption(scene, np.random.default_rng(i), full=True)[0] for i, scene in enumerate(scenes)]
    names = args.only or (["10 steps", "deepcache, every 3rd", "attention_slicing"] if args.quick else list(OPTIONS))
    references: dict[tuple[str, ...], np.ndarray] = {}
    columns = ("option", "CPU", "wall", "SSIM (least)", "levels", "features", "prompts met", "sizes right")
    print(f"{len(prompts)} prompts\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in names:
        on, off = OPTIONS[name]
        try:
            cpu, wall = speed(on, off, rounds)
        except ComposerError as error:
            print(f"| {name} | skipped: {error} |", flush=True)
            continue
        if off not in references:
            references[off] = generated(prompts, off, 20)
        plain, other = references[off], generated(prompts, on, 20)
        alike = [structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in zip(plain, other)]
        scores = [adherence.score(adherence.read(model, seen(images)), scenes) for images in (plain, other)]
        cells = [
            f"{cpu:.2f} ×", f"{wall:.2f} ×", f"{np.mean(alike):.3f} ({min(alike):.3f})",
            f"{np.abs(plain.astype(int) - other).mean():.2f}",
            f"{features_apart(model, seen(plain), seen(other)):.4f}",
            *(" → ".join(f"{score[key]:.3f}" for score in scores) for key in ("prompts", "sizes")),
        ]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
