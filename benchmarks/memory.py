"""What the memory options hold and take: `python benchmarks/memory.py [--side 768] [--large] [--quick]`

Each row is processes of its own: the most that is held more while generating than before it (resident, or allocated
on the GPU), the seconds of the second of two jobs, the least of both over --repeat processes; both against the row
without the option, and the mean difference of pixels in gray levels. Raw diffusers with the same setting is beside it,
where it has one. On the embedded checkpoint; --large adds the decoding of a VAE of Stable Diffusion's shape, random
weights, at 512 and 1024 pixels, fp32 and bf16, with and without tiles. A new option is a line of OPTIONS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from composer.checkpoints.sources import EMBEDDED

#: Name → composer's words, raw diffusers' statement (None: it has none), and whether several images are generated.
OPTIONS: dict[str, tuple[tuple[str, ...], str | None, bool]] = {
    "nothing": ((), "pass", False),
    "vae_tiling": (("memory=[vae_tiling]",), "pipe.vae.enable_tiling()", False),
    "attention_slicing": (("memory=[attention_slicing]",), "pipe.enable_attention_slicing()", False),
    "layerwise_casting": (
        ("memory=[layerwise_casting]",),
        "pipe.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)", False,
    ),
    "bf16": (("precision=bf16",), "pipe.to(torch.bfloat16)", False),
    "nothing, 4 images": ((), "pass", True),
    "vae_slicing, 4 images": (("memory=[vae_slicing]",), "pipe.vae.enable_slicing()", True),
    "batch=1, 4 images": (("batch=1",), None, True),
    "model_offload": (("memory=[model_offload]",), "pipe.enable_model_cpu_offload()", False),
    "group_offload": (("memory=[group_offload]",), None, False),
    "sequential_offload": (("memory=[sequential_offload]",), "pipe.enable_sequential_cpu_offload()", False),
}  # fmt: skip
#: glibc gives freed memory back at once: what it keeps of the first job would hide a part of the second one's.
GIVEN_BACK = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
PEAK = """
import json, sys, time
import numpy as np, torch
torch.set_num_threads(1)
torch.set_grad_enabled(False)
def status(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
def measured(job):
    job()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats(); before = 0
    else:
        open("/proc/self/clear_refs", "w").write("5"); before = status("VmRSS")
    started = time.perf_counter()
    found = job()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else status("VmHWM")
    return {"seconds": seconds, "peak": peak - before}, found
"""
OURS = """
from composer.config.compose import compose_config
from composer.pipelines.build import build_pipeline
from composer.checks.compatibility import check
from composer.config.read import read
from composer.errors import ComposerError
from composer.pipelines.batching import run_in_batches
try:
    checked = check(read(compose_config(sys.argv[2:])))
    pipeline = build_pipeline(checked)
except ComposerError as error:
    print(json.dumps({"refused": str(error)})); raise SystemExit
row, output = measured(lambda: run_in_batches(pipeline, checked, checked.request))
np.save(sys.argv[1], np.stack([np.asarray(image) for image in output.images]))
print(json.dumps(row))
"""
RAW = """
import diffusers
path, model, side, count, steps, device, statement = sys.argv[1:]
pipe = diffusers.StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32, safety_checker=None)
pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
if "offload" not in statement: pipe.to(device)
exec(statement)
def job():
    seeds = [torch.Generator().manual_seed(seed) for seed in range(int(count))]
    size = {"height": int(side), "width": int(side)}
    prompts = ["a red cone"] * int(count)
    return pipe(prompts, num_inference_steps=int(steps), guidance_scale=5.0, generator=seeds, **size).images
row, images = measured(job)
np.save(path, np.stack([np.asarray(image) for image in images]))
print(json.dumps(row))
"""
DECODE = """
from diffusers import AutoencoderKL
dtype, side, tiled = getattr(torch, sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "tiled"
vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                    up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, sample_size=512).to(dtype).eval()
if tiled: vae.enable_tiling()
latents = torch.randn(1, 4, side // 8, side // 8, generator=torch.Generator().manual_seed(0)).to(dtype)
row, pixels = measured(lambda: vae.decode(latents).sample)
np.save(sys.argv[1], pixels.float().numpy())
print(json.dumps(row))
"""


def child(code: str, *words: str) -> dict:
    """What a process measured, with its pixels under `pixels`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pixels.npy")
        environment = {**os.environ, **GIVEN_BACK, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PEAK + code, str(path), *words], capture_output=True, text=True, env=environment
        )
        if done.returncode:
            return {"refused": (done.stderr.strip().splitlines() or ["died"])[-1]}
        row = json.loads(done.stdout.splitlines()[-1])
        return row | ({"pixels": np.load(path)} if path.exists() else {})


def least(repeat: int, code: str, *words: str) -> dict:
    """What the best of several processes measured."""
    rows = [child(code, *words) for _ in range(repeat)]
    if "refused" in rows[0]:
        return rows[0]
    return rows[0] | {key: min(row[key] for row in rows) for key in ("peak", "seconds")}


def format_row(row: dict, base: dict) -> str:
    if "refused" in row:
        return f"refused: {row['refused']} | | | "
    apart = np.abs(row["pixels"].astype(float) - base["pixels"]).mean() if "pixels" in base else float("nan")
    peak, seconds = row["peak"] / base["peak"] - 1, row["seconds"] / base["seconds"]
    return f"{row['peak'] / 2**20:,.0f} | {peak:+.0%} | {seconds:.2f} × | {apart:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=768, help="pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", action="store_true")
    parser.add_argument(
        "--quick", action="store_true", help="small images and three options: proves the script, not the point"
    )
    parser.add_argument("--repeat", type=int, default=2, help="processes for each figure")
    args = parser.parse_args()
    args.repeat = 1 if args.quick else args.repeat
    side, steps = (192 if args.quick else args.side), 1
    bases: dict[tuple[str, bool], dict] = {}
    print(f"| {side} pixels | MiB | | time | levels | raw: MiB | | time | levels |\n|{'---|' * 9}")
    for name, (words, statement, several) in OPTIONS.items():
        if args.quick and name not in ("nothing", "vae_tiling", "model_offload"):
            continue
        count = 4 if several else 1
        request = (
            "scheduler=ddim", "guidance=5.0", "prompt=a red cone", f"steps={steps}", f"height={side}", f"width={side}",
            f"images={count}",
            f"device={args.device}", "callbacks=[]", *words,
        )  # fmt: skip
        rows = {"ours": least(args.repeat, OURS, *request)}
        if statement is not None:
            rows["raw"] = least(
                args.repeat, RAW, str(EMBEDDED / "text2img"), str(side), str(count), str(steps), args.device, statement
            )
        cells = [format_row(row, bases.setdefault((who, several), row)) for who, row in rows.items()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if args.large:
        print(f"\n| decoding, Stable Diffusion's VAE | MiB | | time | apart (−1 … 1) |\n|{'---|' * 5}")
        for dtype in ("float32", "bfloat16"):
            for pixels in (512, 1024):
                complete = child(DECODE, dtype, str(pixels), "complete")
                for how, row in (("complete", complete), ("tiled", child(DECODE, dtype, str(pixels), "tiled"))):
                    print(f"| {dtype}, {pixels}, {how} | {format_row(row, complete)} |", flush=True)


if __name__ == "__main__":
    main()
