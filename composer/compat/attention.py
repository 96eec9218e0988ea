"""Dispatch of attention. diffusers' public switch, ``set_attention_backend``, changes the default of all other
models.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.attention_dispatch import AttentionBackendName, _check_attention_backend_requirements

#: Attribute of an attention processor that holds the backend of its model alone.
BACKEND = "_attention_backend"


def backend_names() -> list[str]:
    """List the names of all backends, available or not."""
    return [backend.value for backend in AttentionBackendName]


def is_available(name: str) -> bool:
    """Whether the packages that a backend needs are installed; diffusers finds out by an error when it is set.

    Args:
        name: Name of the backend.
    """
    try:
        _check_attention_backend_requirements(AttentionBackendName(name))
    except RuntimeError:
        return False
    return True


def is_dispatched(processor: Any) -> bool:
    """Whether diffusers dispatches the attention of a processor.

    Args:
        processor: An attention processor, or None.
    """
    return hasattr(processor, BACKEND)


def backend_of(processor: Any) -> AttentionBackendName | None:
    """Return the backend of a processor; None for the default.

    Args:
        processor: A processor whose attention is dispatched.
    """
    return getattr(processor, BACKEND)


def set_backend(processor: Any, backend: AttentionBackendName | str | None) -> None:
    """Set the backend of a processor.

    Args:
        processor: A processor whose attention is dispatched.
        backend: The backend or its name; None for the default.
    """
    setattr(processor, BACKEND, AttentionBackendName(backend) if isinstance(backend, str) else backend)
