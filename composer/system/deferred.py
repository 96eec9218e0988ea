"""Imports of torch, diffusers, transformers and scipy that images do not need, deferred until they are used.

They are half of the time before the first step. Each entry says who imports it. A name that is not listed loads its
module at once, as a plain import would: where a library changes, a run is slower and not wrong. tests/system checks
that each entry is still of use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType, SimpleNamespace
from typing import Any

from composer.system.lazy_imports import LazyModule, LazyName, defer, find_module, lazy_import

#: Module → the names that are imported from it and seldom used.
DEFERRED = {
    "scipy.stats": (),  # diffusers' schedulers, for sigmas that are spaced by a beta distribution
    "scipy.integrate": (),  # diffusers' LMSDiscreteScheduler
    "scipy.optimize": ("linear_sum_assignment",),  # transformers' losses of object detection
    # transformers' loading of weights, for tensors that are spread over several devices
    "torch.distributed.tensor": ("DTensor", "Partial()", "Replicate()", "Shard()", "distribute_tensor"),
    "torch.distributed.checkpoint.hf_storage": ("HuggingFaceStorageReader", "HuggingFaceStorageWriter"),
    "torch.distributed.tensor._utils": ("compute_local_shape_and_global_offset",),
    "torch.distributed.tensor.placement_types": ("Shard()", "_StridedShard()"),
    "torch.distributed.fsdp": ("CPUOffloadPolicy", "MixedPrecisionPolicy"),
    "torch.distributed._composable.fsdp": ("fully_shard",),
}
#: diffusers' conversions of LoRA files, all of them functions of this prefix.
CONVERSIONS, CONVERSION = "diffusers.loaders.lora_conversion_utils", "_convert_"

#: Attribute of functions that the compiler leaves alone.
MARK = "_torchdynamo_disable"


class _Conversions(LazyModule):
    """Substitute of diffusers' conversions of LoRA files."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith((CONVERSION, "_maybe_")):
            return LazyName(self.__name__, name)
        return super().__getattr__(name)


class _Dynamo(LazyModule):
    """Substitute of torch._dynamo, which diffusers and transformers import for decorators that only compiling needs.

    A decorated function is noted, and decorated again once the module is loaded.
    """

    def __init__(self, spec: Any) -> None:
        super().__init__(spec, light=("_trace_wrapped_higher_order_op",))
        self._noted: list[tuple[str, Any]] = []
        self._disabled: list[tuple[Any, dict[str, Any]]] = []
        self._module: ModuleType | None = None
        compiled: Any = LazyName("torch._dynamo.eval_frame", "OptimizedModule")
        self._eval_frame = SimpleNamespace(OptimizedModule=_NeverLoaded(self, compiled))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and self._module is None:
            if name in ("allow_in_graph", "assume_constant_result"):
                return lambda decorated: self._note(name, decorated)
            if name == "disable":
                return self._disable
            if name == "eval_frame":
                return self._eval_frame
        return super().__getattr__(name)

    def _note(self, decorator: str, decorated: Any) -> Any:
        self._noted.append((decorator, decorated))
        return decorated

    def _disable(self, fn: Any = None, recursive: bool = True, *, reason: str | None = None, **more: Any) -> Any:
        if fn is None:
            return lambda decorated: self._disable(decorated, recursive, reason=reason, **more)
        if isinstance(fn, type) or not callable(fn):
            return super().__getattr__("disable")(fn, recursive, reason=reason, **more)
        return self._later(fn, recursive=recursive, reason=reason, **more)

    def _later(self, fn: Callable[..., Any], **how: Any) -> Callable[..., Any]:
        """The function as it is while nothing can be compiled, and disabled for the compiler afterwards."""
        disabled: list[Callable[..., Any]] = []

        @wraps(fn)
        def call(*args: Any, **keywords: Any) -> Any:
            if self._module is None:
                return fn(*args, **keywords)
            if not disabled:
                disabled.append(self._module.disable(fn, **how))
            return disabled[0](*args, **keywords)

        self._disabled.append((call, how))
        return call

    def loaded(self, module: ModuleType) -> None:
        """Decorate what was decorated before.

        Args:
            module: torch._dynamo.
        """
        self._module = module
        for decorator, decorated in self._noted:
            getattr(module, decorator)(decorated)
        for call, how in self._disabled:
            vars(call).update({MARK: True, f"{MARK}_msg": how["reason"], f"{MARK}_recursive": how["recursive"]})


class _NeverLoaded:
    """A class that has no instances until torch._dynamo is loaded."""

    def __init__(self, dynamo: _Dynamo, name: Any) -> None:
        self._dynamo, self._name = dynamo, name

    def __instancecheck__(self, value: object) -> bool:
        return self._dynamo._module is not None and isinstance(value, self._name)


def defer_imports() -> None:
    """Defer all of them in a process that composer owns, before torch, diffusers and transformers are imported."""
    for name, names in DEFERRED.items():
        lazy_import(name, names)
    for name, substitute in ((CONVERSIONS, _Conversions), ("torch._dynamo", _Dynamo)):
        spec = None if name in sys.modules else find_module(name)
        if spec is not None:
            defer(substitute(spec))
