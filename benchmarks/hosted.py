"""Overhead of composer's hooks on a hosted pipeline: 50 steps of a tiny one, with and without them.

`python benchmarks/hosted.py [ROUNDS]` prints CPU seconds; runs alternate, and the median of each is taken.
"""

from __future__ import annotations

import statistics
import sys
import time
from copy import deepcopy

import torch

from composer import StepCallback
from composer.pipelines.hosted.call import HostedCall
from composer.sampling.hooks import Hooks
from composer.testing import pipelines

STEPS = 50


class Looking(StepCallback):
    """Has every moment, and changes nothing."""

    def before_step(self, step):
        return None

    def after_predict(self, step, prediction):
        return None

    def after_step(self, step, latents):
        return None


def keywords() -> dict:
    generator = torch.Generator().manual_seed(0)
    return {"prompt": "a cat", "num_inference_steps": STEPS, "height": 64, "width": 64, "generator": generator}


def seconds(call) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


@torch.no_grad()
def main(rounds: int) -> None:
    torch.set_num_threads(1)
    pipe = pipelines.sd()
    pipe.set_progress_bar_config(disable=True)

    def hosted(callbacks):
        call = HostedCall(pipe, lambda: deepcopy(pipe.scheduler), keywords, Hooks(callbacks, STEPS), scale=7.5)
        with call.listening():
            call.run()

    ways = {
        "the plain call": lambda: pipe(**keywords()),
        "hooks without callbacks": lambda: hosted({}),
        "hooks with a callback of every moment": lambda: hosted({"looking": Looking()}),
    }
    for call in ways.values():
        call()
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            times[name].append(seconds(call))
    plain = statistics.median(times["the plain call"])
    for name, taken in times.items():
        median = statistics.median(taken)
        spread = f"{min(taken):.3f} to {max(taken):.3f}"
        print(f"{name:40} {median:.3f} CPU s ({spread}), {(median - plain) / STEPS * 1e6:+.0f} µs a step")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
