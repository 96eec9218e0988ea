"""What the loop costs beside the model: `python benchmarks/overhead.py`

A model that does nothing and DDIM, composer's loop and a bare one written by hand, in turn in one process; microseconds a
step, medians of many runs. Then the same with five callbacks that only look.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import fields

import torch
from diffusers import DDIMScheduler

from composer import StepCallback
from composer.callbacks.base import Conditioning, Run
from composer.denoise import denoise
from composer.guidance import Branches, Unguided
from composer.hooks import Hooks
from composer.sampler import Sampler

STEPS, ROUNDS = 200, 60
#: Microseconds a step.
LOOP, FIVE = 30.0, 20.0


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
    made = DDIMScheduler()
    made.set_timesteps(STEPS)
    return made


def bare(latents: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
    ddim = scheduler()
    for timestep in ddim.timesteps:
        prediction = ddim.scale_model_input(latents, timestep)
        latents = ddim.step(prediction, timestep, latents, eta=0.0, generator=generators, return_dict=False)[0]
    return latents


def ours(latents: torch.Tensor, generators: list[torch.Generator], callbacks: dict[str, StepCallback]) -> torch.Tensor:
    sampler = Sampler(scheduler(), tuple(generators))
    hooks = Hooks(callbacks, STEPS)
    unused = dict.fromkeys(field.name for field in fields(Run))
    run = Run(**unused | {"timesteps": sampler.timesteps, "generators": tuple(generators), "scheduler": sampler.scheduler})
    with hooks.around(run):
        return denoise(sampler, latents, Conditioning(positive=None), lambda step: Branches(step.model_input), Unguided(), hooks)


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    latents, generators = torch.randn(1, 4, 64, 64), [torch.Generator()]
    kinds = {
        "bare loop": lambda: bare(latents, generators),
        "composer": lambda: ours(latents, generators, {}),
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
    medians = {name: statistics.median(values) for name, values in times.items()}
    loop, five = medians["composer"] - medians["bare loop"], medians["five that look"] - medians["composer"]
    looked = medians["one that returns"] - medians["composer"] - medians["clone alone"]
    print("  ".join(f"{name} {value:.1f} us" for name, value in medians.items()))
    print(f"the loop {loop:.1f} us a step ({'met' if loop <= LOOP else 'NOT MET'}: {LOOP:.0f})")
    print(f"five neutral callbacks {five:.1f} us ({'met' if five <= FIVE else 'NOT MET'}: {FIVE:.0f})")
    print(f"looking at what one returns {looked:.1f} us")
    raise SystemExit(loop > LOOP or five > FIVE)


if __name__ == "__main__":
    main()
