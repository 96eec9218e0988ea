"""Which of a pipeline's models diffusers loads LoRA for."""

from __future__ import annotations

from typing import Any


def loadable_components(pipe: Any) -> tuple[str, ...]:
    """Return the components that `load_lora_weights` of a diffusers pipeline changes.

    Args:
        pipe: The pipeline, or its class.

    Returns:
        Names, of which the pipeline may lack some; empty if the class loads no LoRA.
    """
    return tuple(getattr(pipe, "_lora_loadable_modules", ()))
