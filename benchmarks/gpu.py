"""Everything that needs a GPU, by one command within eight minutes: `python benchmarks/gpu.py [--out FILE] [--device
cpu --quick]`

It makes a checkpoint of Stable Diffusion 1.5's shape with random weights, and measures
  peak    the device's real speed at large matrix products, fp16 and bf16
  unet    forwards at 512 × 512 pixels, batch 1 and 8: fraction of that peak (operations are counted, not guessed), by
  precision and option
  ladder  complete jobs, composer beside raw diffusers: fp32 50 steps, 16 bits, 20 steps of DPM-Solver++, 4 images at
  once
  memory  complete jobs with each memory option: most allocated, seconds, and how far the pixels are from those without
and writes JSON with device, versions and date. What no longer fits into --budget seconds, or is refused here, is named
in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from composer.checks.compatibility import check
from composer.cli.process import configure_process
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.options.lifecycle import apply_options, clear_models, remove_options
from composer.pipelines.build import build_pipeline
from composer.records.record import versions
from composer.system.library_logs import disable_progress_bars

#: Options of the forwards, joined with a line.
FORWARDS: dict[str, tuple[str, ...]] = {
    "eager": (),
    "channels_last": ("accel=[channels_last]",),
    "fused_qkv": ("accel=[fused_qkv]",),
    "tome": ("accel=[tome]",),
    "layerwise fp8": ("memory=[layerwise_casting]",),
    "compile": ("accel=[compile]",),
    "compile, CUDA graphs": ("accel=[compile]", "accel.compile.mode=reduce-overhead"),
    "compile, regional": ("accel=[compile]", "accel.compile.regional=true"),
}
MEMORY: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "vae_slicing": ("memory=[vae_slicing]",),
    "attention_slicing": ("memory=[attention_slicing]",),
    "layerwise_casting": ("memory=[layerwise_casting]",),
    "cpu_text_encoder": ("memory=[cpu_text_encoder]",),
    "model_offload": ("memory=[model_offload]",),
    "model_offload and compile": ("memory=[model_offload]", "accel=[compile]"),
    "group_offload": ("memory=[group_offload]",),
    "sequential_offload": ("memory=[sequential_offload]",),
    "auto": ("memory=auto",),
    "deepcache": ("accel=[deepcache]",),
}
#: Name, composer's words, raw diffusers' settings: 16 bits, DPM-Solver++, steps, images.
LADDER = [
    ("fp32, 50 steps", False, False, 50, 1),
    ("16 bits, 50 steps", True, False, 50, 1),
    ("16 bits, 20 steps of dpmpp_2m", True, True, 20, 1),
    ("the same, 4 images", True, True, 20, 4),
]


class Bench:
    """device, quick, only: as on the command line. until: on the clock. skipped: what was left out, and why."""

    def __init__(self, device: str, quick: bool, budget: float, model: Path, only: tuple[str, ...] = ("",)) -> None:
        self.device, self.quick, self.until, self.model, self.only = (
            device,
            quick,
            time.monotonic() + budget,
            model,
            only,
        )
        self.side, self.rounds, self.skipped = (64 if quick else 512), (1 if quick else 5), {}

    def words(self, precision: str, *more: str) -> list[str]:
        size = (f"height={self.side}", f"width={self.side}")
        where = ("model=local", f"model.source={self.model}", f"device={self.device}", f"precision={precision}")
        return [*where, *size, "prompt=a cat, sitting", "guidance=7.5", "callbacks=[]", "precision.cache=false", *more]

    def job(self, precision: str, *more: str) -> Callable[[], Any]:
        checked = check(read(compose_config(self.words(precision, *more))))
        pipeline = build_pipeline(checked)
        return lambda: pipeline(checked.request)

    def each(self, section: str, options: dict[str, Any], measure: Callable[..., Any]) -> dict[str, Any]:
        """Every option measured, as long as there is time; what is refused or fails is named."""
        results: dict[str, Any] = {}
        for name, option in options.items():
            if time.monotonic() > self.until or not f"{section}: {name}".startswith(self.only):
                self.skipped[f"{section}: {name}"] = "no time left" if time.monotonic() > self.until else "not selected"
                continue
            try:
                results[name] = measure(option)
                print(f"{section:8} {name:32} {json.dumps(results[name])}", flush=True)
            except (ComposerError, RuntimeError, ImportError) as error:
                self.skipped[f"{section}: {name}"] = (str(error).splitlines() or [type(error).__name__])[0]
            remove_options()
            self.clear()
        return results

    def clear(self) -> None:
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def seconds(self, work: Callable[[], Any], rounds: int | None = None) -> float:
        """Median of several, after one that warms up."""
        work()
        taken = []
        for _ in range(rounds or self.rounds):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def peak(self, dtype: torch.dtype) -> float:
        """Operations a second of a large matrix product."""
        size = 256 if self.quick else 8192
        a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
        return 2 * size**3 * 10 / self.seconds(lambda: [a @ b for _ in range(10)])

    def forward(self, precision: str, batch: int, words: tuple[str, ...], peak: float) -> dict[str, float]:
        """Seconds a sample of one forward, and the fraction of the peak that its operations come to."""
        checked = check(read(compose_config(self.words(precision, *words))))
        pipeline = build_pipeline(checked)
        unet, side = pipeline.family.denoiser, self.side // 8
        apply_options(pipeline.family.pipe, pipeline.options, pipeline.device)
        dtype = pipeline.family.dtype
        sample = torch.randn(batch, 4, side, side, device=self.device, dtype=dtype)
        text = torch.randn(batch, 77, unet.config.cross_attention_dim, device=self.device, dtype=dtype)
        with pipeline.options_active(checked.request):
            taken = self.seconds(lambda: unet(sample, torch.tensor(500, device=self.device), text, return_dict=False))
        return {
            "ms a sample": round(taken / batch * 1e3, 3),
            "of the peak": round(self.operations / (taken / batch) / peak, 4),
        }

    def count(self) -> None:
        """Operations of one sample's forward."""
        unet = diffusers.UNet2DConditionModel.from_config(
            json.loads((self.model / "unet" / "config.json").read_text())
        ).to("meta")
        side, width = self.side // 8, unet.config.cross_attention_dim
        with FlopCounterMode(display=False) as counter:
            unet(
                torch.empty(1, 4, side, side, device="meta"),
                torch.empty((), device="meta"),
                torch.empty(1, 77, width, device="meta"),
            )
        self.operations = counter.get_total_flops()

    def raw(self, half: bool, solver: bool, steps: int, count: int) -> Callable[[], Any]:
        dtype = self.half if half else torch.float32
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(self.model, torch_dtype=dtype, safety_checker=None).to(
            self.device
        )
        if solver:
            pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        seeds = [torch.Generator().manual_seed(seed) for seed in range(count)]
        size = {"height": self.side, "width": self.side}
        return lambda: pipe(
            ["a cat, sitting"] * count, num_inference_steps=steps, guidance_scale=7.5, generator=seeds, **size
        )

    @property
    def half(self) -> torch.dtype:
        return torch.float16 if self.device == "cuda" else torch.bfloat16

    def rung(self, rung: tuple[bool, bool, int, int]) -> dict[str, float]:
        half, solver, steps, count = rung
        steps = 3 if self.quick else steps
        precision = "fp32" if not half else "fp16" if self.device == "cuda" else "bf16"
        composer_row = self.job(
            precision, f"steps={steps}", f"images={count}", f"scheduler={'dpmpp_2m' if solver else 'default'}"
        )
        sides = {"composer": composer_row, "raw": self.raw(half, solver, steps, count)}
        taken = {name: round(self.seconds(work, 1 if self.quick else 3) / count, 4) for name, work in sides.items()}
        return taken | {"composer / raw": round(taken["composer"] / taken["raw"], 3)}

    def held(self, words: tuple[str, ...]) -> dict[str, float]:
        """Most allocated in one job, its seconds, and how far its images are from those without the option."""
        precision = "fp16" if self.device == "cuda" else "fp32"
        count = "images=2" if "memory=[vae_slicing]" in words else "images=1"
        plain = getattr(self, "plain", {}).get(count)
        if plain is None:
            self.plain = {**getattr(self, "plain", {}), count: self.job(precision, "steps=10", count)()}
            plain = self.plain[count]
        clear_models()
        self.clear()
        work = self.job(precision, "steps=10", count, *words)
        work()
        self.wait()
        started = time.perf_counter()
        output = work()
        self.wait()
        taken = time.perf_counter() - started
        apart = np.mean(
            [np.abs(np.asarray(a, int) - np.asarray(b, int)).mean() for a, b in zip(output.images, plain.images)]
        )
        most = torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else float("nan")
        return {"MiB": round(most), "seconds": round(taken, 3), "levels": round(float(apart), 3)} if most == most else {
            "seconds": round(taken, 3), "levels": round(float(apart), 3)
        }  # fmt: skip


def save_model(folder: Path, quick: bool) -> None:
    """Stable Diffusion 1.5's shape, or a tiny one, with random weights."""
    if quick:
        from composer.testing.pipelines import save

        save("sd", folder)
        return
    from sweep import save_stable_diffusion_shape

    save_stable_diffusion_shape(folder)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="a tiny model: proves the script, not the point")
    parser.add_argument("--budget", type=float, default=450, help="seconds after which nothing is begun")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        help="beginnings of what is measured, such as memory or 'unet: fp16, batch 8'",
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/gpu.json"))
    args = parser.parse_args()
    configure_process(verbose=False)
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        save_model(model, args.quick)
        bench = Bench(args.device, args.quick, args.budget, model, ("peak", *args.only))
        bench.count()
        kinds = {"fp16": torch.float16, "bf16": torch.bfloat16} if args.device == "cuda" else {"fp32": torch.float32}
        peaks = bench.each("peak", kinds, bench.peak)
        fastest = max(peaks.values())
        forwards = {
            f"{precision}, batch {batch}, {name}": (precision, batch, words)
            for precision in kinds for batch in (1, 8) for name, words in FORWARDS.items()
            if precision != "bf16" or name in ("eager", "compile")
        }  # fmt: skip
        report = {
            "date": date.today().isoformat(),
            "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
            "versions": dict(versions()),
            "side": bench.side,
            "operations of a sample": bench.operations,
            "peak": peaks,
            "ladder": bench.each("ladder", {name: rung for name, *rung in LADDER}, bench.rung),
            "memory": bench.each("memory", MEMORY, bench.held),
            "unet": bench.each("unet", forwards, lambda each: bench.forward(*each, fastest)),
            "left out": bench.skipped,
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1))
    print(json.dumps(bench.skipped, indent=1))
    print(args.out)


if __name__ == "__main__":
    main()
