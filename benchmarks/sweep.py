"""What a sweep costs: `python benchmarks/sweep.py [PART …]`. Ratios of complete processes, side by side in one run.

jobs: on the embedded model, 4 schedulers × 5, 10, 20 steps × 2 seeds: one process a job, one sweep, and a script by
hand that loads raw diffusers once. batches: 8 seeds with and without. stub: what 1,000 jobs cost beside the model,
and what it takes to see that all of them are done. plan: seconds and memory for the plan of 10,000 jobs. growth: what a
job costs late in a sweep of 10,000, with the stub. large, if it is named: as jobs, on random weights of Stable
Diffusion 1.5's shape, where the model is all (half an hour). --quick: fewer jobs of stub, plan and growth.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sweep_growth
from PIL import Image

SCHEDULERS = ("euler", "ddim", "dpmpp_2m", "unipc")
STEPS = (5, 10, 20)
PROMPT = "a large red sphere on the left and a small blue cube on the right, on snow, at night"
MODEL = Path(__file__).parent.parent / "composer" / "tiny" / "checkpoint" / "text2img"

BY_HAND = """
import sys, torch
from pathlib import Path
from diffusers import StableDiffusionPipeline, EulerDiscreteScheduler, DDIMScheduler
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
model, out, steps, seeds, prompt = sys.argv[1], Path(sys.argv[2]), eval_list(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
pipe = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32, safety_checker=None)
pipe.set_progress_bar_config(disable=True)
original = pipe.scheduler.config
classes = dict(euler=EulerDiscreteScheduler, ddim=DDIMScheduler)
classes |= dict(dpmpp_2m=DPMSolverMultistepScheduler, unipc=UniPCMultistepScheduler)
number, guidance, side = 0, float(sys.argv[6]), int(sys.argv[7])
for name, cls in classes.items():
    for count in steps:
        for seed in range(seeds):
            pipe.scheduler = cls.from_config(original)
            image = pipe(prompt, num_inference_steps=count, guidance_scale=guidance, height=side, width=side,
                         generator=torch.Generator().manual_seed(seed)).images[0]
            image.save(out / f"{number:04d}.png")
            number += 1
"""


def timed(words: list[str], cwd: Path) -> float:
    begun = time.monotonic()
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return time.monotonic() - begun


def composed(*words: str) -> list[str]:
    return [sys.executable, "-m", "composer", *words]


def by_hand(folder: Path, model: str, steps: tuple[int, ...], seeds: int, guidance: float, side: int) -> float:
    folder.mkdir()
    script = BY_HAND.replace("eval_list(sys.argv[3])", "[int(each) for each in sys.argv[3].split(',')]")
    return timed(
        [
            sys.executable,
            "-c",
            script,
            model,
            str(folder),
            ",".join(map(str, steps)),
            str(seeds),
            PROMPT,
            str(guidance),
            str(side),
        ],
        folder,
    )


def alone(folder: Path, model: tuple[str, ...], steps: tuple[int, ...], seeds: int) -> float:
    """One process for each job, one after the other."""
    folder.mkdir()
    total = 0.0
    for number, (scheduler, count, seed) in enumerate(itertools.product(SCHEDULERS, steps, range(seeds))):
        words = [
            f"scheduler={scheduler}",
            f"steps={count}",
            f"seed={seed}",
            f"prompt={PROMPT}",
            f"hydra.run.dir={folder / f'{number:04d}'}",
        ]
        total += timed(composed(*model, *words), folder)
    return total


def swept(folder: Path, model: tuple[str, ...], steps: tuple[int, ...], seeds: int, *more: str) -> float:
    folder.parent.mkdir(exist_ok=True)
    axes = [
        f"scheduler={','.join(SCHEDULERS)}",
        f"steps={','.join(map(str, steps))}",
        f"seed=range({seeds})",
        f"prompt={PROMPT}",
    ]
    return timed(composed("-m", *model, *axes, f"hydra.sweep.dir={folder}", *more), folder.parent)


def images(folder: Path) -> list[bytes]:
    """Pixels of all images of a sweep, or of single runs, by number."""
    files = sorted(folder.glob("[0-9]*/000.png")) or sorted(folder.glob("*.png"))
    return [Image.open(file).tobytes() for file in files]


def furthest(one: list[bytes], other: list[bytes]) -> int:
    return max(max(map(abs, (a - b for a, b in zip(x, y)))) for x, y in zip(one, other))


def compare(
    root: Path,
    name: str,
    model: tuple[str, ...],
    source: str,
    steps: tuple[int, ...],
    seeds: int,
    guidance: float,
    side: int = 128,
) -> None:
    folder = root / name
    folder.mkdir()
    apart = alone(folder / "alone", model, steps, seeds)
    hand = by_hand(folder / "hand", source, steps, seeds, guidance, side)
    single = swept(folder / "single", model, steps, seeds, "sweep.batch=1")
    auto = swept(folder / "auto", model, steps, seeds)
    again = by_hand(folder / "hand2", source, steps, seeds, guidance, side)
    once_more = swept(folder / "single2", model, steps, seeds, "sweep.batch=1")
    jobs = len(SCHEDULERS) * len(steps) * seeds
    separate, ours, theirs = images(folder / "alone"), images(folder / "single"), images(folder / "hand")
    assert len(separate) == len(ours) == len(theirs) == jobs
    best, raw = min(single, once_more), min(hand, again)
    print(
        f"{name}, {jobs} jobs: a process each {apart:.1f} s, by hand {raw:.1f} s, a sweep {best:.1f} s, with batches "
        f"{auto:.1f} s"
    )
    print(
        f"  over a process each {apart / best:.2f}x (with batches {apart / auto:.2f}x); against the script by hand "
        f"{best / raw:.3f}x"
    )
    far = furthest(separate, images(folder / "auto"))
    print(
        f"  images equal to single runs: {separate == ours}, to the script's: {ours == theirs}; furthest in batches "
        f"{far} of 255"
    )


def embedded(root: Path) -> None:
    compare(root, "embedded", (), str(MODEL), STEPS, 2, 5.0)


def batches(root: Path) -> None:
    """8 seeds of each setting, one by one and in batches, alternating."""
    times = {"1": [], "auto": []}
    for i in range(3):
        for size, taken in times.items():
            taken.append(swept(root / f"batch-{size}-{i}", (), (10, 20), 8, f"sweep.batch={size}"))
    one, auto = (min(seconds_taken) for seconds_taken in times.values())
    print(f"8 seeds, 64 jobs: one by one {one:.1f} s, in batches {auto:.1f} s: {one / auto:.2f}x")


STUB = """
import json, resource, sys
from composer.cli import main as cli
from composer.families.sd.model import StableDiffusion
from composer.families.settings import Decoded
from composer.sampling.guidance import Branches
from composer.images.reading import read_image
image = read_image("image", "sample:scene").resize((128, 128))
StableDiffusion.predict = lambda self, step: Branches(step.model_input)
StableDiffusion.decode = lambda self, latents, request: Decoded(media=[image.copy() for _ in latents])
code = cli.main(sys.argv[1:])
spent = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"code": code, "cpu": spent.ru_utime + spent.ru_stime, "torch": "torch" in sys.modules}))
"""
#: Milliseconds of CPU that a job may take beside its model; seconds, and milliseconds a job, to find that nothing is
#: left to do.
BESIDE, AGAIN, EACH = 8.0, 2.0, 1.0


def stub(root: Path, jobs: int = 1000) -> None:
    """A UNet and a VAE that do nothing: what is left is composing, checking, planning, the loop, metadata, files and
    the sheet.
    """
    folder = root / "stub"
    folder.mkdir()

    def run(count: int, name: str, code: str = STUB) -> dict[str, float]:
        words = ["-m", f"seed=range({count})", "steps=5", "sweep.batch=1", f"output.folder={name}"]
        begun = time.monotonic()
        settings = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, env=settings, check=True
        )
        output = json.loads(done.stdout.splitlines()[-1])
        assert output["code"] == 0, done.stderr
        return output | {"wall": time.monotonic() - begun}

    few, many = run(10, "few"), run(jobs, "many")
    per_job = (many["cpu"] - few["cpu"]) / (jobs - 10) * 1e3
    print(
        f"{jobs} jobs with a stub: {per_job:.1f} ms CPU a job beside the model ({met(per_job <= BESIDE)}: {BESIDE:.0f})"
    )
    plain = STUB.replace(
        STUB[STUB.index("from composer.families") : STUB.index("code =")], ""
    )  # which would load torch
    one, all_of_them = run(10, "few", plain), run(jobs, "many", plain)
    late, most = all_of_them["wall"] - one["wall"], AGAIN + EACH * jobs / 1e3
    loaded = "torch is loaded" if all_of_them["torch"] else "torch is not loaded"
    print(
        f"going on with all {jobs} done: {late:.2f} s later than with 10, {loaded} ({met(late <= most)}: {most:.0f} s)"
    )


def plan(root: Path, jobs: int = 10_000) -> None:
    text, well = sweep_growth.large_plan(root, jobs)
    print(f"{text} ({met(well)}: {sweep_growth.PLAN_SECONDS:.0f} s for 10,000, {sweep_growth.PLAN_MEMORY} MiB)")


def growth(root: Path, jobs: int = 10_000) -> None:
    text, well = sweep_growth.growth(root, STUB, jobs)
    print(f"{text} ({met(well)}: {sweep_growth.GROWTH} times, {sweep_growth.KEPT:.0f} KiB)")


def met(well: bool) -> str:
    return "met" if well else "NOT MET"


def large(root: Path) -> None:
    """Random weights of Stable Diffusion 1.5's shape; 4 schedulers × 2 steps × 1 seed at 256 pixels."""
    source = root / "sd15-shape"
    save_stable_diffusion_shape(source)
    model = ("model=local", f"model.source={source}", "height=256", "width=256", "guidance=7.5")
    compare(root, "sd15 shape", model, str(source), (2,), 1, 7.5, 256)


def save_stable_diffusion_shape(folder: Path) -> None:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2, latent_channels=4, sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                projection_dim=768)
        ),
        tokenizer=CLIPTokenizer.from_pretrained(MODEL / "tokenizer"),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1, beta_start=0.00085, beta_end=0.012,
            beta_schedule="scaled_linear"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {
        "jobs": embedded,
        "batches": batches,
        "stub": stub,
        "plan": plan,
        "growth": growth,
        "large": large,
    }
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all but the last if none is named"
    )
    parser.add_argument("--quick", action="store_true", help="fewer jobs of stub, plan and growth")
    args = parser.parse_args()
    fewer = {"stub": 300, "plan": 1000, "growth": 1000} if args.quick else {}
    if unknown := set(args.parts) - set(parts):
        parser.error(f"no such part: {unknown.pop()}")
    with tempfile.TemporaryDirectory() as name:
        for part in args.parts or [*parts][:-1]:
            parts[part](Path(name), *([fewer[part]] if part in fewer else []))


if __name__ == "__main__":
    main()
