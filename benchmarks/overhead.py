"""What the loop costs beside the model: `python benchmarks/overhead.py`

First a model that does nothing and DDIM, composer's loop and a bare one written by hand, in turn in one process;
microseconds a step, the least of many runs and, in brackets, the median. Then the same with five callbacks that only
look. Then complete jobs, from prompt to image, on a tiny Stable Diffusion whose UNet does nothing: composer's
pipeline as built from a checkpoint's folder, its options and record included, and diffusers' own, in turn; the median
differences of jobs of few and of many steps give what a step and what a job costs more.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from composer import StepCallback
from composer.callbacks.base import Conditioning, Run
from composer.checks.compatibility import check
from composer.cli.process import configure_process
from composer.config.compose import compose_config
from composer.config.read import read
from composer.pipelines.build import build_pipeline
from composer.records.record import record
from composer.sampling.guidance import Branches, Unguided
from composer.sampling.hooks import Hooks
from composer.sampling.loop import denoise
from composer.sampling.non_finite import FiniteWatch
from composer.sampling.sampler import Sampler
from composer.system.library_logs import disable_progress_bars
from composer.testing import pipelines

STEPS, ROUNDS = 200, 60
#: Microseconds a step.
LOOP, FIVE = 30.0, 20.0
#: Milliseconds more than raw diffusers.
STEP, JOB = 0.3, 5.0
FEW, MANY, JOBS = 5, 45, 40


class Neutral(StepCallback):
    """Takes part in every moment of a step and changes nothing."""

    def before_step(self, step):
        return None

    def after_predict(self, step, prediction):
        return None

    def after_step(self, step, latents):
        return None


class Returns(StepCallback):
    """Hands a new tensor back, which is looked at for shape, kind and finiteness."""

    def after_step(self, step, latents):
        return latents.clone()


def scheduler() -> DDIMScheduler:
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(STEPS)
    return scheduler


def bare(latents: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
    ddim = scheduler()
    for timestep in ddim.timesteps:
        prediction = ddim.scale_model_input(latents, timestep)
        latents = ddim.step(prediction, timestep, latents, eta=0.0, generator=generators, return_dict=False)[0]
    return latents


def ours(
    latents: torch.Tensor, generators: list[torch.Generator], callbacks: dict[str, StepCallback], watch: bool = True
) -> torch.Tensor:
    sampler = Sampler(scheduler(), tuple(generators))
    hooks = Hooks(callbacks, STEPS)
    unused = dict.fromkeys(field.name for field in fields(Run))
    run = Run(
        **unused | {"timesteps": sampler.timesteps, "generators": tuple(generators), "scheduler": sampler.scheduler}
    )
    looks = {"watch": FiniteWatch("unet", STEPS)} if watch else {}
    with hooks.around(run):
        return denoise(
            sampler,
            latents,
            Conditioning(positive=None),
            lambda step: Branches(step.model_input),
            Unguided(),
            hooks,
            **looks,
        )


def complete_jobs() -> tuple[float, float]:
    """Milliseconds that composer takes more than diffusers' own pipeline: a step, and a job beside its steps."""
    with tempfile.TemporaryDirectory() as folder:
        pipelines.save("sd", Path(folder))
        raw = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
        raw.set_progress_bar_config(disable=True)
        raw.unet.forward = idle
        checked = {
            steps: check(
                read(
                    compose_config(
                        ["model=local", f"model.source={folder}", f"steps={steps}", "prompt=a cat", "callbacks=[]"]
                    )
                )
            )
            for steps in (FEW, MANY)
        }
        ours = build_pipeline(checked[FEW])
        ours.family.denoiser.forward = idle

        def composer_job(steps: int) -> None:
            record(checked[steps], ours, ours(checked[steps].request))

        def raw_job(steps: int) -> None:
            generator = torch.Generator().manual_seed(0)
            raw("a cat", num_inference_steps=steps, guidance_scale=7.5, generator=generator, height=64, width=64)

        more = {FEW: [], MANY: []}
        for number in range(JOBS):
            for steps, differences in more.items():
                taken = [
                    seconds(job, steps) for job in ((raw_job, composer_job) if number % 2 else (composer_job, raw_job))
                ]
                differences.append((taken[1] - taken[0]) * (1 if number % 2 else -1) * 1e3)
    few, many = (statistics.median(seconds) for seconds in more.values())
    step = (many - few) / (MANY - FEW)
    return step, few - FEW * step


def idle(sample, timestep, encoder_hidden_states=None, return_dict=True, **settings):
    """A UNet that does nothing."""
    return (sample,)


def seconds(job, steps: int) -> float:
    started = time.perf_counter()
    job(steps)
    return time.perf_counter() - started


@torch.no_grad()
def main() -> None:
    configure_process(verbose=False)
    disable_progress_bars()
    torch.set_num_threads(1)
    step, job = complete_jobs()
    late = step > STEP or job > JOB
    print(
        f"complete jobs beside raw diffusers: {step:+.3f} ms a step, {job:+.2f} ms a job "
        f"({'NOT MET' if late else 'met'}: {STEP}, {JOB:.0f})"
    )
    latents, generators = torch.randn(1, 4, 64, 64), [torch.Generator()]
    kinds = {
        "bare loop": lambda: bare(latents, generators),
        "composer": lambda: ours(latents, generators, {}),
        "without looking for NaN": lambda: ours(latents, generators, {}, watch=False),
        "five that look": lambda: ours(latents, generators, {f"c{i}": Neutral() for i in range(5)}),
        "one that returns": lambda: ours(latents, generators, {"c": Returns()}),
        "clone alone": lambda: [latents.clone() for _ in range(STEPS)],
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, run in kinds.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) / STEPS * 1e6)
    least = {name: min(values) for name, values in times.items()}  # whatever else the machine does can only add to it
    loop, five = least["composer"] - least["bare loop"], least["five that look"] - least["composer"]
    looked = least["one that returns"] - least["composer"] - least["clone alone"]
    print("  ".join(f"{name} {value:.1f} us ({statistics.median(times[name]):.1f})" for name, value in least.items()))
    print(f"the loop {loop:.1f} us a step ({'met' if loop <= LOOP else 'NOT MET'}: {LOOP:.0f})")
    print(f"looking for NaN, which is in that: {least['composer'] - least['without looking for NaN']:.1f} us")
    print(f"five neutral callbacks {five:.1f} us ({'met' if five <= FIVE else 'NOT MET'}: {FIVE:.0f})")
    print(f"looking at what one returns {looked:.1f} us")
    raise SystemExit(late or loop > LOOP or five > FIVE)


if __name__ == "__main__":
    main()
