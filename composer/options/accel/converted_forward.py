"""A module's forward computed by another library, converted on first use and kept in the disk cache.

Sizes are left open, so that one converted model serves all batches, image sizes and lengths of text.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.utils.outputs import BaseOutput
from torch import Tensor, nn

from composer.errors import ComposerError
from composer.loading import disk_cache
from composer.options.accel.hooking import patched_forward
from composer.options.accel.inputs import array, nested, odd, parted, small
from composer.sampling.model_guard import HOOKS

#: How often models were converted, by library and class.
converted: Counter[tuple[str, str]] = Counter()


class Engine:
    """A library that converts models and runs them.

    Attributes:
        package: Package whose version is part of the cache key.
        variant: What else sets its converted models apart; part of the cache key.
        fixed_shapes: Whether a model is compiled anew for each shape of its inputs.
    """

    package: ClassVar[str]
    variant: str = ""
    fixed_shapes: bool = False

    def convert(self, module: nn.Module, inputs: dict[str, Tensor], folder: Path) -> None:
        """Write a converted module.

        Args:
            module: The module, whose inputs are tensors.
            inputs: Example inputs; all sizes but channels are left open.
            folder: Directory to write to.
        """
        raise NotImplementedError

    def compile(self, folder: Path, shapes: list[tuple[int, ...]]) -> Callable[[list[np.ndarray]], np.ndarray]:
        """Compile a converted module.

        Args:
            folder: Directory that ``convert`` wrote to.
            shapes: Shapes of the inputs; only an engine of ``fixed_shapes`` is bound to them.

        Returns:
            A function of arrays; its result is not reused.
        """
        raise NotImplementedError


@dataclass
class Sampled(BaseOutput):
    """Output of diffusers' denoisers.

    Attributes:
        sample: The prediction, such as ``(B, 4, H/8, W/8)``.
    """

    sample: Tensor


class TensorOnly(nn.Module):
    """A module whose inputs are tensors only.

    Args:
        module: The module.
        names: Names of the inputs.
        like: Dtype that each input is cast to.
        fixed: Other arguments of the module's forward.
    """

    def __init__(self, module: nn.Module, names: list[str], like: list[torch.dtype], fixed: dict[str, Any]) -> None:
        super().__init__()
        self.module, self.names, self.like, self.fixed = module, names, like, fixed

    def forward(self, *tensors: Tensor) -> Tensor:
        """Call the module and return its first output in fp32.

        Args:
            tensors: The inputs.
        """
        cast = (tensor.to(dtype) for tensor, dtype in zip(tensors, self.like))
        output = self.module(**nested(dict(zip(self.names, cast)), self.fixed))
        return (output[0] if isinstance(output, tuple) else output).float()


class ConvertedForward:
    """The forward of a module, computed by another library.

    Args:
        option: Name of the option.
        module: The module.
        forward: Its own forward.
        engine: The library.
        compute_dtype: Dtype of the weights → compute dtype.
        keep: Whether to keep the converted model in the disk cache.
    """

    def __init__(
        self,
        option: str,
        module: nn.Module,
        forward: Callable[..., Any],
        engine: Engine,
        compute_dtype: Callable[[torch.dtype], torch.dtype],
        keep: bool,
    ) -> None:
        self.option, self.module, self.forward = option, module, forward
        self.engine, self.compute_dtype, self.keep = engine, compute_dtype, keep
        self.inner = [(name, submodule) for name, submodule in module.named_modules() if submodule is not module]
        self.known, self.stack = self._traits(), ExitStack()
        self.programs: dict[Any, Callable[[list[np.ndarray]], np.ndarray]] = {}
        self.hashes: dict[torch.dtype, str] = {}
        self.parameters = inspect.signature(forward)

    def close(self) -> None:
        """Free the compiled models."""
        self.programs.clear()
        self.stack.close()

    def __call__(self, *args: Any, **given: Any) -> Any:
        self._check_unchanged()
        bound = self.parameters.bind(*args, **given).arguments
        as_tuple = not bound.pop("return_dict", True)
        try:
            sample = self._run(*parted(bound))
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ComposerError("accel", self.option, f"can't run a {type(self.module).__name__}: {why}") from error
        if "return_dict" not in self.parameters.parameters:
            return sample
        return (sample,) if as_tuple else Sampled(sample=sample)

    def _run(self, tensors: dict[str, Tensor], fixed: dict[str, Any]) -> Tensor:
        dtype = next(self.module.parameters()).dtype
        like = tuple((name, tensor.dim(), tensor.dtype) for name, tensor in tensors.items())
        kind = like, repr(fixed), odd(self.module, tensors), self.compute_dtype(dtype), dtype
        shapes = [tuple(tensor.shape) for tensor in tensors.values()]
        program = kind, tuple(shapes) if self.engine.fixed_shapes else None
        if program not in self.programs:
            self.programs[program] = self.engine.compile(self._folder(kind, tensors, fixed), shapes)
        output = self.programs[program]([array(tensor) for tensor in tensors.values()])
        return torch.from_numpy(output).to(next(iter(tensors.values())).dtype)

    def _folder(self, kind: tuple[Any, ...], tensors: dict[str, Tensor], fixed: dict[str, Any]) -> Path:
        """Return the directory of the converted model: in the disk cache, or a temporary one."""
        if self.keep:
            facts = self._content(kind[-1]), kind, self.engine.variant
            traits = hashlib.sha256(repr(facts).encode()).hexdigest()[:40]
            try:
                key = f"{traits}-{version(self.engine.package)}-torch-{torch.__version__}"
                return disk_cache.get_or_create(self.option, key, lambda draft: self._convert(tensors, fixed, draft))
            except OSError:  # the disk is full or read-only: the run goes on without the cache
                pass
        folder = Path(self.stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)))
        self._convert(tensors, fixed, folder)
        return folder

    @torch.no_grad()
    def _convert(self, tensors: dict[str, Tensor], fixed: dict[str, Any], folder: Path) -> None:
        converted[self.option, type(self.module).__name__] += 1
        if "return_dict" in self.parameters.parameters:
            fixed = {**fixed, "return_dict": False}
        inputs = {
            name.replace(".", "_"): torch.from_numpy(array(small(name, tensor))) for name, tensor in tensors.items()
        }
        with patched_forward(self.module, lambda _: self.forward), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's tracer, on each branch that looks at a size
            module, before = self._in_compute_dtype(), next(self.module.parameters()).dtype
            compute_dtype = self.compute_dtype(before)  # except timesteps: 16 bits hold only every fourth of them
            like = [
                compute_dtype if tensor.dtype == before and name != "timestep" else tensor.dtype
                for name, tensor in tensors.items()
            ]
            self.engine.convert(TensorOnly(module, list(tensors), like, fixed).eval(), inputs, folder)

    def _in_compute_dtype(self) -> nn.Module:
        """Return the module in the compute dtype, as a copy if it has another one."""
        dtype = next(self.module.parameters()).dtype
        return (
            self.module
            if self.compute_dtype(dtype) == dtype
            else nn.Module.to(deepcopy(self.module), self.compute_dtype(dtype))
        )

    def _content(self, dtype: torch.dtype) -> str:
        """Hash the weights and the classes of the layers, which files do not show after merging."""
        if dtype not in self.hashes:
            total = hashlib.sha256(repr(sorted(dict(getattr(self.module, "config", {})).items())).encode())
            total.update(repr([(name, type(submodule).__qualname__) for name, submodule in self.inner]).encode())
            for name, weight in sorted(self.module.state_dict().items()):
                total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                total.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
            self.hashes[dtype] = total.hexdigest()
        return self.hashes[dtype]

    def _traits(self) -> list[Any]:
        """Collect changes that others may make to the module, which a converted one would not run."""
        return [
            (
                vars(submodule).get("forward"),
                vars(submodule).get("processor"),
                [len(getattr(submodule, kind)) for kind in HOOKS],
            )
            for _, submodule in self.inner
        ] + [sum(weight._version for weight in self.module.parameters())]

    def _check_unchanged(self) -> None:
        now = self._traits()
        if now == self.known:
            return
        names = [name for (name, _), before, after in zip(self.inner, self.known, now) if before != after]
        what = f"{names[0]} was hooked into or runs otherwise" if names else "weights were written over"
        reason = f"{what}, which a converted model does not see: leave out this option, or what does that"
        raise ComposerError("accel", self.option, reason)
