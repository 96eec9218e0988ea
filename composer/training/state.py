"""The state of a training in one file: it is replaced at once, so a killed process leaves a complete one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from composer.errors import ComposerError
from composer.system.files import write_atomically

#: Name of the file in the directory of the training.
FILE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class State:
    """A training after some of its steps.

    Data order and noise are functions of the seed and the step, and nothing else is random: no generator has a state.

    Attributes:
        step: Steps that are done.
        weights: What learns, by name.
        optimizer: State of the optimizer.
        losses: Loss of each step that is done.
        settings: What the weights depend on, as plain data.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    losses: tuple[float, ...]
    settings: Mapping[str, Any]


def save_state(folder: Path, state: State) -> None:
    """Write a state in one atomic step.

    Args:
        folder: Directory of the training.
        state: The state.
    """
    buffer = io.BytesIO()
    torch.save(
        {**vars(state), "weights": {name: tensor.detach().cpu() for name, tensor in state.weights.items()}}, buffer
    )
    write_atomically(folder / FILE, buffer.getvalue())


def load_state(folder: Path, settings: Mapping[str, Any]) -> State | None:
    """Read the state of a training, if there is one.

    Args:
        folder: Directory of the training.
        settings: What the weights depend on, which must be as when the training began.

    Returns:
        The state; ``None`` if the directory has none.

    Raises:
        ComposerError: It is of a training with other settings, or damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        state = State(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # of many kinds, from the depths of torch
        reason = f"holds a training that can't be read ({type(error).__name__}): fresh=true starts over"
        raise ComposerError("output.folder", folder, reason) from None
    refuse_other_settings(folder, state, settings)
    return state


def refuse_other_settings(folder: Path, state: State, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings than a training began with.

    Args:
        folder: Directory of the training.
        state: Its state.
        settings: What the weights depend on. More steps are allowed where the learning rate does not depend on them.

    Raises:
        ComposerError: A setting differs.
    """
    for name in sorted({*settings, *state.settings}):
        before, now = state.settings.get(name), settings.get(name)
        if name == "steps" and settings.get("lr_schedule") == "constant" and int(now or 0) >= state.step:
            continue
        if before != now:
            reason = f"holds a training with {name}={before}, and here it is {now}"
            raise ComposerError("output.folder", folder, f"{reason}: name another folder, or fresh=true starts over")
