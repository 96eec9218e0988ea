"""``accel=[attention]``: the kernel that computes attention.

Layers whose attention diffusers dispatches accept any of its backends. Others call torch's attention, whose kernel can
be chosen. See https://huggingface.co/docs/diffusers/optimization/attention_backends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from composer.compat.attention import backend_names, backend_of, is_available, is_dispatched, set_backend
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, Acceleration, denoisers_of, patched_forward
from composer.options.base import OptionContext

#: Kernels of torch itself, by diffusers' name for them.
KERNELS = {
    "_native_math": SDPBackend.MATH, "_native_flash": SDPBackend.FLASH_ATTENTION,
    "_native_efficient": SDPBackend.EFFICIENT_ATTENTION, "_native_cudnn": SDPBackend.CUDNN_ATTENTION,
}  # fmt: skip
#: Backends that are no GPU's alone; torch takes its flash kernel on CPUs by itself.
ON_CPU = ("_native_math", "flex")


class Attention(Acceleration):
    """Compute the denoiser's attention with another kernel.

    Args:
        backend: diffusers' name of the kernel, such as ``flex``.
    """

    name = "attention"
    excludes = PROGRAMS | {"memory.xformers", "memory.attention_slicing"}

    def __init__(self, backend: str | None = None) -> None:
        self.backend = backend

    def check(self, context: OptionContext) -> None:
        super().check(context)
        backends = available(context.device.type, context.checked.checkpoint.family_info.supports.attention_backends)
        if self.backend not in backends:
            reason = (
                "is what runs without the option"
                if self.backend == "native"
                else "is not available here, or not for this model"
            )
            raise ComposerError(
                "accel.attention.backend", self.backend, reason if self.backend else "choose one", backends
            )

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for model in denoisers_of(pipe):
                count = stack.enter_context(self._dispatched(model))
                kernel = partial(self._kernel, dispatched=count)
                stack.enter_context(patched_forward(model, kernel))
            yield

    @contextmanager
    def _dispatched(self, model: nn.Module) -> Iterator[int]:
        """Set the backend of this model's processors; diffusers' own switch would affect all other models."""
        processors: dict[int, Any] = {
            id(processor): processor for processor in (getattr(module, "processor", None) for module in model.modules())
        }
        before = [(processor, backend_of(processor)) for processor in processors.values() if is_dispatched(processor)]
        for processor, _ in before:
            set_backend(processor, self.backend)
        try:
            yield len(before)
        finally:
            for processor, backend in before:
                set_backend(processor, backend)

    def _kernel(self, forward: Callable[..., Any], dispatched: int) -> Callable[..., Any]:
        if not dispatched and self.backend not in KERNELS:
            self.refuse_no_effect("diffusers dispatches no attention of this model, so it would do nothing", KERNELS)

        def run(*args: Any, **given: Any) -> Any:
            try:
                if dispatched:
                    return forward(*args, **given)
                with sdpa_kernel(KERNELS[str(self.backend)]):
                    return forward(*args, **given)
            except (RuntimeError, ValueError, TypeError) as error:
                why = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise ComposerError(
                    "accel.attention.backend", self.backend, f"can't compute this model: {why}"
                ) from error

        return run


def available(device: str, dispatched: bool) -> list[str]:
    """List the backends that can run here, without those whose code would be downloaded.

    Args:
        device: Type of the device.
        dispatched: Whether diffusers dispatches the model's attention.

    Returns:
        diffusers' names of the backends.
    """
    names = backend_names() if dispatched else list(KERNELS)
    return [name for name in names if name != "native" and _usable(name, device)]


def _usable(name: str, device: str) -> bool:
    if name.endswith("_hub") or (device != "cuda" and name not in ON_CPU):
        return False
    return name not in ("_native_npu", "_native_xla") and is_available(name)
