"""``memory=auto``: the fastest options that should fit into free memory; the next ones if it runs out nevertheless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from composer.errors import ComposerError
from composer.options.base import ModelOption, OptionContext
from composer.options.memory.estimate import Estimate, estimate
from composer.options.memory.offload import GroupOffload, ModelOffload, SequentialOffload
from composer.options.memory.slicing import VaeSlicing, VaeTiling
from composer.system.constraints import Ge, Gt
from composer.system.memory import format_bytes, free_memory

GIB = 2**30
#: Fractions of the largest model's weights that are on the device at the same time.
GROUPED, LAYER = 0.15, 0.03


class Auto(ModelOption):
    """Choose other memory options.

    Args:
        limit: Memory in GiB; None for what is free before the run.
        further: Number of additional steps towards less memory.
    """

    group, name = "memory", "auto"

    def __init__(self, limit: Annotated[float, Gt(0)] | None = None, further: Annotated[int, Ge(0)] = 0) -> None:
        self.limit, self.further = limit, further

    def expand(self, context: OptionContext) -> tuple[Mapping[str, ModelOption], str]:
        """Return the options to use, and a note with the reason.

        Args:
            context: Facts about the run.
        """
        free = free_memory(str(context.device)) if self.limit is None else int(self.limit * GIB)
        rungs = list(memory_steps(context))
        fits = next((i for i, (_, need) in enumerate(rungs) if free is None or need <= free), len(rungs) - 1)
        chosen, need = rungs[min(fits + self.further, len(rungs) - 1)]
        words = ",".join(option.name for option in chosen)
        available = "an unknown amount" if free is None else f"{format_bytes(free)}"
        line = f"memory=auto: about {format_bytes(rungs[0][1])} needed, {available} free: "
        line += f"memory=[{words}], about {format_bytes(need)}" if chosen else "nothing to save"
        if free is not None and need > free:
            line += ", which may not be enough"
        return {f"memory.{option.name}": option for option in chosen}, line

    def last(self, context: OptionContext) -> bool:
        """Whether there is no further step.

        Args:
            context: Facts about the run.
        """
        return self.further + 1 >= len(list(memory_steps(context)))


def memory_steps(context: OptionContext) -> Iterator[tuple[tuple[ModelOption, ...], int]]:
    """Yield sets of options that have an effect, the fastest first, and the bytes that each should need.

    Args:
        context: Facts about the run.
    """
    savings: list[tuple[ModelOption, ...]] = [()]
    for option in (VaeSlicing(), VaeTiling()):
        if helps(option, context):
            savings.append((*savings[-1], option))
    for offload in (None, ModelOffload(), GroupOffload(), SequentialOffload()):
        if offload is None or helps(offload, context):
            for saving in savings:
                yield ((offload,) if offload else ()) + saving, need(context, offload, saving)


def helps(option: ModelOption, context: OptionContext) -> bool:
    try:
        option.check(context)
    except ComposerError:
        return False
    return True


def need(context: OptionContext, offload: ModelOption | None, saving: tuple[ModelOption, ...]) -> int:
    kinds = {type(option) for option in saving}
    estimated = estimate(context.checked, context.dtypes, sliced=VaeSlicing in kinds, tiled=VaeTiling in kinds)
    return resident(estimated, offload) + estimated.working


def resident(found: Estimate, offload: ModelOption | None) -> int:
    """Bytes of weights that are on the device at once."""
    if offload is None:
        return sum(found.weights.values())
    fraction = {ModelOffload: 1.0, GroupOffload: GROUPED, SequentialOffload: LAYER}[type(offload)]
    return int(found.largest * fraction)
