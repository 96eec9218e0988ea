"""State that accelerate keeps for the process, which its public interface does not reset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def accelerator_state() -> Iterator[None]:
    """Let the process have no state of accelerate before and after the context.

    A second ``Accelerator`` with another device or dtype is refused otherwise, and a process can train twice.
    """
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    try:
        yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
