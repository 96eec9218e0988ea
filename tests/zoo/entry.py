"""What an entry of the zoo consists of, and how its weights, components and arguments are made."""

from __future__ import annotations

import copy
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class Entry:
    """A tiny pipeline of one of diffusers' classes.

    Attributes:
        make: Makes the pipeline, in eval mode, always with the same random weights.
        call: (steps, seed) → arguments of the pipeline's `__call__`, all of them new objects.
        kind: What it generates: "image", "video" or "audio".
        needs: Package without which the class or one of its processors cannot be made, if any.
        global_random: Whether the class uses torch's global random generator besides the one it is given; seed it
            before each call.
        loads: Whether `DiffusionPipeline.from_pretrained` can read what `save_pretrained` wrote.
    """

    make: Callable[[], DiffusionPipeline]
    call: Callable[..., dict[str, Any]]
    kind: str
    needs: str | None = None
    global_random: bool = False
    loads: bool = True

    @property
    def available(self) -> bool:
        """Whether the package it needs is installed."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


def image(maker: Callable[[], Any], call: Callable[..., dict[str, Any]], **more: Any) -> Entry:
    return Entry(seeded(maker), call, "image", **more)


def video(maker: Callable[[], Any], call: Callable[..., dict[str, Any]], **more: Any) -> Entry:
    return Entry(seeded(maker), call, "video", **more)


def audio(maker: Callable[[], Any], call: Callable[..., dict[str, Any]], **more: Any) -> Entry:
    return Entry(seeded(maker), call, "audio", **more)


def arguments(
    steps_key: str | None = "num_inference_steps", one_generator: bool = False, **fixed: Any
) -> Callable[..., dict[str, Any]]:
    """The arguments of a call, made anew each time.

    Args:
        steps_key: Argument that takes the number of steps; None where there is none.
        one_generator: Where the pipeline takes no list of generators.
        **fixed: The other arguments; a function is called for its value, anything else is copied.
    """

    def call(steps: int = 4, seed: int = 3) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        values = {key: value() if callable(value) else copy.deepcopy(value) for key, value in fixed.items()}
        values["generator"] = generator if one_generator else [generator]
        return values if steps_key is None else {steps_key: steps, **values}

    return call


def of(cls: type, base: DiffusionPipeline, **changes: Any) -> Any:
    """A pipeline of another class from the components of one, as far as that class takes them."""
    taken = inspect.signature(cls.__init__).parameters
    components = {name: part for name, part in base.components.items() if name in taken}
    if "requires_safety_checker" in taken:
        components["requires_safety_checker"] = False
    return cls(**components | changes)


def seeded(maker: Callable[[], Any]) -> Callable[[], Any]:
    """The maker, with weights that do not depend on what ran before, and a random state left as it was."""

    def make() -> DiffusionPipeline:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipeline: DiffusionPipeline = maker()
            for model in models(pipeline):
                randomise(model)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return make


def models(pipeline: DiffusionPipeline) -> Iterator[torch.nn.Module]:
    for _, part in sorted(pipeline.components.items()):
        if isinstance(part, torch.nn.Module):
            yield part


@torch.no_grad()
def randomise(model: torch.nn.Module) -> None:
    """Initialise all weights anew, so that no layer begins at zero (a ControlNet's outputs, the last one of a DiT) and
    none is left uninitialised (Z-Image's padding tokens): each input matters to the output.
    """
    model.eval().requires_grad_(False)
    for name, weight in sorted(model.named_parameters()):
        if weight.dim() > 1:
            weight.normal_(0.0, weight[0].numel() ** -0.5)
        elif name.endswith("bias"):
            weight.normal_(0.0, 0.1)
        else:
            weight.normal_(1.0, 0.1)
    for name, statistics in sorted(model.named_buffers()):
        if name.endswith("running_mean"):
            statistics.normal_(0.0, 0.1)
        elif name.endswith("running_var"):
            statistics.uniform_(0.5, 1.5)


def write(entry: Entry, folder: Path) -> Path:
    """Save a tiny checkpoint; returns its folder."""
    entry.make().save_pretrained(folder)
    return folder
