"""What callbacks can do on each pipeline class of the zoo: `python tests/pipelines/hosted/breadth.py [NAME …]` prints a
table.
"""

from __future__ import annotations

import sys
import time
import warnings
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from zoo import ZOO, Entry, generate, output

from composer import ComposerError, StepCallback, StopDenoising
from composer.callbacks.base import bound_to
from composer.pipelines.hosted.call import HostedCall, step_end_keywords
from composer.pipelines.hosted.wrapping import models_in
from composer.sampling.guidance import ClassifierFree
from composer.sampling.hooks import Hooks

#: Moments that change something, one at a time.
EDITS = ("before_step", "after_predict", "after_step", "guidance_scale")


class Looking(StepCallback):
    """Changes nothing; decodes in the middle and at the end of the last loop."""

    def __init__(self) -> None:
        self.latents: list[torch.Tensor] = []
        self.middle: Any = None
        self.last: Any = None
        self.refused: str = ""
        self.stage = 0

    def before_step(self, step):
        return None

    def after_predict(self, step, prediction):
        return None

    def after_step(self, step, latents):
        self.latents.append(latents.clone())
        if step.stage != self.stage:  # latents of an earlier loop are no images
            self.refused, self.stage = "", step.stage
        try:
            if step.index == 1:
                self.middle = output(self.run.decode(latents))
            if step.index + 1 == step.total:
                self.last = output(self.run.decode(latents))
        except ComposerError as error:
            self.refused = str(error)


class Editing(StepCallback):
    """Changes one thing at each step."""

    def __init__(self, edit: str) -> None:
        self.edit = edit

    def before_step(self, step):
        if self.edit == "before_step":
            return replace(step, latents=step.latents * 1.05)
        return replace(step, guidance_scale=step.guidance_scale + 1) if self.edit == "guidance_scale" else None

    def after_predict(self, step, prediction):
        return prediction * 0.9 if self.edit == "after_predict" else None

    def after_step(self, step, latents):
        return latents * 0.95 if self.edit == "after_step" else None


class Stopping(StepCallback):
    """Stops a loop after its second step."""

    def __init__(self, stage: int) -> None:
        self.stage = stage

    def after_step(self, step, latents):
        if (step.stage, step.index) == (self.stage, 1):
            raise StopDenoising


@dataclass
class Survey:
    """What was seen on one class. Texts are refusals.

    Attributes:
        cls: The class.
        looking: Whether a run with callbacks that only look, and decode, gives the same result as a plain call.
        callback: Whether `after_step` gets what diffusers' own callback gets; None without one.
        edits: For each edit whether the result changes, or why it is refused.
        guidance: Likewise of a guidance that composer applies.
        stop: Whether stopping gives what decoding in the middle gave.
        decode_last: Whether decoding the last latents gives the result.
        afterwards: Whether a plain call gives the same as before, and the models are as they were.
        findings: What the engine found out.
    """

    cls: str
    looking: bool = False
    callback: bool | None = None
    edits: dict[str, bool | str] = field(default_factory=dict)
    guidance: bool | str = False
    stop: bool | str = False
    decode_last: bool | str = False
    afterwards: bool = False
    findings: Any = None


def survey(entry: Entry) -> Survey:
    """Try everything on one pipeline."""
    pipe = entry.make()
    plain = generate(entry, pipe)
    seen = Survey(type(pipe).__name__)
    looking = Looking()
    result, call = run(entry, pipe, looking)
    seen.looking, seen.findings = bool(np.array_equal(result, plain)), call.loop.findings
    seen.callback = _callback_sees(entry, pipe, looking)
    seen.decode_last = looking.refused or (looking.last is not None and bool(np.array_equal(looking.last, plain)))
    for edit in EDITS:
        seen.edits[edit] = _changes(entry, pipe, plain, Editing(edit))
    seen.guidance = _changes(entry, pipe, plain, StepCallback(), lambda: ClassifierFree(3.0, rescale=0.7))
    seen.stop = _stops(entry, pipe, plain, looking)
    unchanged = not any({"forward", "_compiled_call_impl"} & vars(model).keys() for model in models_in(pipe).values())
    seen.afterwards = unchanged and bool(np.array_equal(generate(entry, pipe), plain))
    return seen


def run(entry: Entry, pipe: Any, callback: StepCallback, guidance: Any = lambda: None) -> tuple[np.ndarray, HostedCall]:
    """The result of a hosted call, and the call."""
    hooks = Hooks({"c": callback}, 4)
    scheduler = pipe.components.get("scheduler")
    call = HostedCall(
        pipe, lambda: deepcopy(scheduler), entry.call, hooks, scale=scale_of(entry, pipe), guidance=guidance
    )
    with torch.random.fork_rng(devices=[], enabled=entry.global_random), torch.no_grad():
        if entry.global_random:
            torch.manual_seed(0)
        with call.listening(), bound_to(callback, SimpleNamespace(decode=call.end_with)):
            return output(call.run()), call


def scale_of(entry: Entry, pipe: Any) -> float:
    """The guidance scale of the call, or its default."""
    import inspect

    defaults = {name: parameter.default for name, parameter in inspect.signature(pipe.__call__).parameters.items()}
    given = {**defaults, **entry.call()}
    values = (given.get(name) for name in ("true_cfg_scale", "guidance_scale"))
    return float(next((value for value in values if isinstance(value, (int, float))), 1.0))


def _changes(
    entry: Entry, pipe: Any, plain: np.ndarray, callback: StepCallback, guidance: Any = lambda: None
) -> bool | str:
    try:
        return not np.array_equal(run(entry, pipe, callback, guidance)[0], plain)
    except ComposerError as error:
        return str(error)


def _stops(entry: Entry, pipe: Any, plain: np.ndarray, looking: Looking) -> bool | str:
    try:
        stopped = run(entry, pipe, Stopping(looking.stage))[0]
    except ComposerError as error:  # its tail can't decode unfinished latents
        return str(error)
    ends_there = len(looking.latents) == 2  # it has no more steps than this
    return bool(np.array_equal(stopped, looking.middle) and (ends_there or not np.array_equal(stopped, plain)))


def _callback_sees(entry: Entry, pipe: Any, looking: Looking) -> bool | None:
    """Whether diffusers' own callback gets the latents that `after_step` got."""
    seen: list[torch.Tensor] = []

    def keep(_pipe: Any, _index: int, _timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(tensors["latents"].clone())
        return {}

    keywords = step_end_keywords(pipe, SimpleNamespace(on_step_end=keep))
    if not keywords:
        return None
    with torch.random.fork_rng(devices=[], enabled=entry.global_random):
        if entry.global_random:
            torch.manual_seed(0)
        pipe(**entry.call(), **keywords)
    return len(seen) == len(looking.latents) and all(map(torch.equal, seen, looking.latents))


def row(name: str, seen: Survey) -> str:
    """A line of the table."""
    words = {True: "yes", False: "NO", None: "none"}
    stages = seen.findings.stages
    loops = "; ".join(f"{stage.steps} × {'/'.join(map(str, dict.fromkeys(stage.evaluations)))}" for stage in stages)
    rules = "; ".join(stage.rule or "not known" for stage in stages)
    effects = [seen.edits[edit] for edit in EDITS] + [seen.guidance, seen.stop, seen.decode_last]
    marks = ["refused" if isinstance(effect, str) else words[effect] for effect in effects]
    kept = [words[seen.looking], words[seen.callback]]
    return f"| {' | '.join([name, seen.cls, loops, *kept, rules, *marks, words[seen.afterwards]])} |"


HEAD = (
    "| name | class | steps × evaluations | looking changes nothing | equals diffusers' callback | rule of guidance | "
    "before_step | "
    "after_predict | after_step | guidance_scale | guidance | stop | decode | afterwards as before |\n|" + "---|" * 14
)


def main(names: list[str]) -> None:
    from diffusers.utils import logging

    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    print(HEAD)
    for name in names or ZOO:
        if not ZOO[name].available:
            continue
        begun = time.process_time()
        try:
            seen = survey(ZOO[name])
            print(row(name, seen), flush=True)
            refusals = {
                text
                for text in [*seen.edits.values(), seen.guidance, seen.stop, seen.decode_last]
                if isinstance(text, str)
            }
            print("\n".join(sorted(refusals)), f"{time.process_time() - begun:.1f} s", file=sys.stderr, flush=True)
        except Exception as error:
            import traceback

            print(f"| {name} | {type(error).__name__}: {str(error)[:300]} |", flush=True)
            traceback.print_exc(limit=-6)


if __name__ == "__main__":
    main(sys.argv[1:])
