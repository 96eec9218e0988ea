"""The ladder of diffusers' tutorial, composer beside raw diffusers: `python benchmarks/ladder.py [--device cuda]
[--model DIR] [--quick]`

https://huggingface.co/docs/diffusers/stable_diffusion: 32 bits and 50 steps, then 16 bits, then 20 steps of
DPM-Solver++, then several images at once. All models are loaded before; jobs are run in turn in one process. Seconds
an image, least and median; how many times faster than raw diffusers' first rung each is; and by how many gray levels
the two images differ at most. On a CPU 16 bits are bf16.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import diffusers
import numpy as np
import torch
from PIL.Image import Image

from composer.checkpoints.sources import EMBEDDED
from composer.checks.compatibility import check
from composer.cli.process import configure_process
from composer.config.compose import compose_config
from composer.config.read import read
from composer.pipelines.build import build_pipeline
from composer.system.library_logs import disable_progress_bars

PROMPT = "a large red sphere on the left and a small blue cube on the right, on snow, at night"
#: Name, 16 bits, DPM-Solver++, steps, images.
RUNGS = [
    ("32 bits, 50 steps", False, False, 50, 1),
    ("16 bits", True, False, 50, 1),
    ("16 bits, 20 steps of DPM-Solver++", True, True, 20, 1),
    ("the same, 4 images at once", True, True, 20, 4),
]


def raw_job(
    model: str, device: str, half: torch.dtype | None, solver: bool, steps: int, count: int
) -> Callable[[], list[Image]]:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        model, torch_dtype=half or torch.float32, safety_checker=None
    ).to(device)
    kind = diffusers.DPMSolverMultistepScheduler if solver else diffusers.DDIMScheduler
    pipe.scheduler = kind.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def job() -> list[Image]:
        seeds = [torch.Generator().manual_seed(seed) for seed in range(count)]
        return pipe([PROMPT] * count, num_inference_steps=steps, guidance_scale=5.0, generator=seeds).images

    return job


def our_job(
    model: str, device: str, half: torch.dtype | None, solver: bool, steps: int, count: int
) -> Callable[[], list[Image]]:
    precision = {None: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[half]
    words = [
        "model=local", f"model.source={model}", f"device={device}", f"precision={precision}", f"steps={steps}",
        f"images={count}",
        f"scheduler={'dpmpp_2m' if solver else 'ddim'}", "guidance=5.0", f"prompt={PROMPT}", "callbacks=[]",
        "model.safety_checker=false",
    ]  # fmt: skip
    checked = check(read(compose_config(words)))
    pipeline = build_pipeline(checked)
    return lambda: pipeline(checked.request).images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(EMBEDDED / "text2img"), help="a folder of Stable Diffusion's layout")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--quick", action="store_true", help="few steps and one round: proves the script, not the point"
    )
    args = parser.parse_args()
    configure_process(verbose=False)
    disable_progress_bars()
    torch.set_num_threads(1)
    half = torch.bfloat16 if args.device == "cpu" else torch.float16
    first = None
    columns = (
        "",
        "raw: least, median",
        "composer: least, median",
        "composer / raw",
        "× faster than the first",
        "levels apart",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, sixteen, solver, steps, count in RUNGS:
        settings = (
            args.model,
            args.device,
            half if sixteen else None,
            solver,
            max(steps // 10, 2) if args.quick else steps,
            count,
        )
        jobs, taken, images = (raw_job(*settings), our_job(*settings)), ([], []), [[], []]
        for number in range(1 + (1 if args.quick else args.rounds)):  # the first warms up
            for side in (0, 1) if number % 2 else (1, 0):
                started = time.perf_counter()
                images[side] = jobs[side]()
                taken[side].append((time.perf_counter() - started) / count)
        least, median = ([measure(side[1:]) for side in taken] for measure in (min, statistics.median))
        first = median[0] if first is None else first
        apart = max(int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max()) for a, b in zip(*images))
        cells = [
            f"{least[0]:.3f}, {median[0]:.3f} s", f"{least[1]:.3f}, {median[1]:.3f} s", f"{median[1] / median[0]:.3f}",
            f"{first / median[1]:.2f} ×", str(apart),
        ]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
