"""A module's forward by another library: converted and compiled when it is first called, and kept in the cache for next
time.

Sizes are left open, so that one converted model does for all batches, images and lengths of text.
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
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from composer.errors import ComposerError
from composer.loading import disk_cache
from composer.options.accel.hooking import patched_forward
from composer.options.accel.inputs import array, nested, odd, parted, small
from composer.sampling.model_guard import HOOKS

#: How often models were converted, by library and class.
converted: Counter[tuple[str, str]] = Counter()


class Engine:
    """A library that converts models and runs them. package: whose version tells converted models apart."""

    package: ClassVar[str]

    def convert(self, module: nn.Module, inputs: dict[str, Tensor], folder: Path) -> None:
        """Write a module that takes these inputs, of any size, into a folder."""
        raise NotImplementedError

    def compile(self, folder: Path) -> Callable[[list[np.ndarray]], np.ndarray]:
        """What `convert` wrote, as a function; its result is the caller's to keep."""
        raise NotImplementedError


@dataclass
class Sampled(BaseOutput):
    """What diffusers' denoisers return where no tuple is asked for."""

    sample: Tensor


class TensorOnly(nn.Module):
    """A module of tensors alone. like: the dtype that each is turned into. fixed: its other arguments."""

    def __init__(self, module: nn.Module, names: list[str], like: list[torch.dtype], fixed: dict[str, Any]) -> None:
        super().__init__()
        self.module, self.names, self.like, self.fixed = module, names, like, fixed

    def forward(self, *tensors: Tensor) -> Tensor:
        given = nested(dict(zip(self.names, (each.to(dtype) for each, dtype in zip(tensors, self.like)))))
        found = self.module(**given, **self.fixed)
        return (found[0] if isinstance(found, tuple) else found).float()


class ConvertedForward:
    """A module's forward. wanted: the weights' dtype → what to compute with. keep: the converted model, for next time."""

    def __init__(
        self, option: str, module: nn.Module, forward: Callable[..., Any], engine: Engine, wanted: Callable[[torch.dtype], torch.dtype],
        keep: bool,
    ) -> None:  # fmt: skip
        self.option, self.module, self.forward, self.engine, self.wanted, self.keep = (
            option,
            module,
            forward,
            engine,
            wanted,
            keep,
        )
        self.inner = [(place, each) for place, each in module.named_modules() if each is not module]
        self.known, self.programs, self.sums, self.stack = self._traits(), {}, {}, ExitStack()
        self.parameters = inspect.signature(forward)

    def close(self) -> None:
        """Let go of the compiled models."""
        self.programs.clear()
        self.stack.close()

    def __call__(self, *args: Any, **given: Any) -> Any:
        self._untouched()
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
        like = tuple((name, each.dim(), each.dtype) for name, each in tensors.items())
        kind = like, repr(fixed), odd(self.module, tensors), self.wanted(dtype), dtype
        if kind not in self.programs:
            self.programs[kind] = self.engine.compile(self._folder(kind, tensors, fixed))
        found = self.programs[kind]([array(each) for each in tensors.values()])
        return torch.from_numpy(found).to(next(iter(tensors.values())).dtype)

    def _folder(self, kind: tuple[Any, ...], tensors: dict[str, Tensor], fixed: dict[str, Any]) -> Path:
        """Where the converted model lies: in the cache, or until `close` where nothing is to be kept or can be."""
        if self.keep:
            traits = hashlib.sha256(repr((self._content(kind[-1]), kind)).encode()).hexdigest()[:40]
            try:
                key = f"{traits}-{version(self.engine.package)}-torch-{torch.__version__}"
                return disk_cache.get_or_create(self.option, key, lambda draft: self._convert(tensors, fixed, draft))
            except OSError:  # no room or no right to write: a run must not fail for that
                pass
        folder = Path(self.stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)))
        self._convert(tensors, fixed, folder)
        return folder

    @torch.no_grad()
    def _convert(self, tensors: dict[str, Tensor], fixed: dict[str, Any], folder: Path) -> None:
        converted[self.option, type(self.module).__name__] += 1
        if "return_dict" in self.parameters.parameters:
            fixed = {**fixed, "return_dict": False}
        inputs = {name.replace(".", "_"): torch.from_numpy(array(small(name, each))) for name, each in tensors.items()}
        with patched_forward(self.module, lambda _: self.forward), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's tracer, on each branch that looks at a size
            module, before = self._wanted(), next(self.module.parameters()).dtype
            own = self.wanted(before)  # but timesteps, of which 16 bits leave every fourth
            like = [
                own if each.dtype == before and name != "timestep" else each.dtype for name, each in tensors.items()
            ]
            self.engine.convert(TensorOnly(module, list(tensors), like, fixed).eval(), inputs, folder)

    def _wanted(self) -> nn.Module:
        """The module in the dtype to compute with: a copy for the while where it has another."""
        own = next(self.module.parameters()).dtype
        return self.module if self.wanted(own) == own else nn.Module.to(deepcopy(self.module), self.wanted(own))

    def _content(self, dtype: torch.dtype) -> str:
        """A sum of the weights as they are now, and of the layers that they are in: files would not tell what was
        merged into them.
        """
        if dtype not in self.sums:
            total = hashlib.sha256(repr(sorted(dict(getattr(self.module, "config", {})).items())).encode())
            total.update(repr([(place, type(each).__qualname__) for place, each in self.inner]).encode())
            for name, weight in sorted(self.module.state_dict().items()):
                total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                total.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
            self.sums[dtype] = total.hexdigest()
        return self.sums[dtype]

    def _traits(self) -> list[Any]:
        """What others may have put into the module, which a converted one would not run."""
        return [
            (vars(each).get("forward"), vars(each).get("processor"), [len(getattr(each, kind)) for kind in HOOKS])
            for _, each in self.inner
        ] + [sum(weight._version for weight in self.module.parameters())]

    def _untouched(self) -> None:
        now = self._traits()
        if now == self.known:
            return
        places = [place for (place, _), before, after in zip(self.inner, self.known, now) if before != after]
        what = f"{places[0]} was hooked into or runs otherwise" if places else "weights were written over"
        raise ComposerError(
            "accel",
            self.option,
            f"{what}, which a converted model does not see: leave out this option, or what does that",
        )
