"""``accel=[compile]``: the denoiser compiled by torch.compile, which takes a minute or more in the first run.

See https://docs.pytorch.org/docs/stable/generated/torch.compile.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import diffusers
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from torch.utils import _pytree

from composer.compat.attributes import repeated_blocks
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, Acceleration, denoisers_of, patched_forward
from composer.options.base import OptionContext

#: Modes that record CUDA graphs, whose results the next call writes over.
GRAPHS = ("reduce-overhead", "max-autotune")

_compiled: list[nn.Module] = []


class Compile(Acceleration):
    """Compile the denoiser.

    Args:
        mode: Mode of torch.compile: ``default``, ``reduce-overhead`` or ``max-autotune``.
        regional: Whether to compile only the repeated blocks, once for all of them.
        freezing: Whether weights become constants; ``auto`` for yes on a CPU.
        dynamic: Whether programs accept any size; ``auto`` for yes once a second size occurs.
    """

    name = "compile"
    excludes = (PROGRAMS - {"accel.compile"}) | {"memory.sequential_offload", "memory.xformers"}

    def __init__(
        self,
        mode: Literal["default", "reduce-overhead", "max-autotune"] = "default",
        regional: bool = False,
        freezing: Literal["auto"] | bool = "auto",
        dynamic: Literal["auto"] | bool = "auto",
    ) -> None:
        self.mode, self.regional, self.freezing, self.dynamic = mode, regional, freezing, dynamic

    def check(self, context: OptionContext) -> None:
        super().check(context)
        device, cls = context.device.type, context.checked.checkpoint.family_info.denoiser[1]
        missing = lacking(device)
        if missing:
            self.refuse(f"needs {missing}, which is not here: install it")
        if device == "cpu" and self.mode == "reduce-overhead":
            raise ComposerError(
                "accel.compile.mode", self.mode, "records CUDA graphs, so it would do nothing on a CPU: use default"
            )
        if device != "cpu" and self.freezing is True:
            raise ComposerError("accel.compile.freezing", True, "is for CPUs: leave it at auto")
        if self.regional and not repeated_blocks(getattr(diffusers, cls, None)):
            raise ComposerError(
                "accel.compile.regional", True, f"diffusers names no blocks that repeat in a {cls}: leave it at false"
            )

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        settings = self._settings(device)
        with ExitStack() as stack:
            for model in denoisers_of(pipe):
                stack.enter_context(self._compiled(model, settings))
            yield

    @contextmanager
    def _compiled(self, model: Any, settings: dict[str, Any]) -> Iterator[None]:
        with forgotten_afterwards(model), patched_forward(model, lambda forward: self._guarded(forward, settings)):
            if self.regional:
                model.compile_repeated_blocks(**settings)
            yield

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        with torch._dynamo.config.patch(
            skip_nnmodule_hook_guards=False
        ):  # else hooks that a callback sets later go unseen
            yield

    def _settings(self, device: torch.device) -> dict[str, Any]:
        """Return the arguments of torch.compile: freezing is an option of this program alone."""
        options = dict(torch._inductor.list_mode_options(self.mode, dynamic=self.dynamic is True))
        if self.freezing is True or (self.freezing == "auto" and device.type == "cpu"):
            options["freezing"] = True
        return {"dynamic": None if self.dynamic == "auto" else self.dynamic, "options": options}

    def _guarded(self, forward: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
        program = forward if self.regional else torch.compile(forward, **settings)

        def run(*args: Any, **given: Any) -> Any:
            try:
                if self.mode not in GRAPHS:
                    return program(*args, **given)
                torch.compiler.cudagraph_mark_step_begin()
                return _pytree.tree_map_only(torch.Tensor, torch.clone, program(*args, **given))
            except TorchDynamoException as error:
                why = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise ComposerError("accel", "compile", f"torch can't compile this model: {why}") from error

        return run


@contextmanager
def forgotten_afterwards(model: nn.Module) -> Iterator[None]:
    """Remove compiled blocks from a model when the context exits.

    torch keeps programs by code, not by model. They are dropped once no model is compiled.

    Args:
        model: The model.
    """
    before = {module: module._compiled_call_impl for module in model.modules()}
    _compiled.append(model)
    try:
        yield
    finally:
        for module, program in before.items():
            module._compiled_call_impl = program
        _compiled.remove(model)
        if not _compiled:
            torch._dynamo.reset()


def lacking(device: str) -> str | None:
    """Return what torch.compile needs on a device and does not find.

    Args:
        device: Type of the device.

    Returns:
        The missing tool; None if all exist.
    """
    if device == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "the package triton"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "a C++ compiler (g++ or clang++)"
    return None
