"""Base of ``accel=[openvino]`` and ``accel=[onnx]``: UNet, transformer and VAE computed by another library on a CPU.

A module keeps its weights, config and dtype; only its ``forward`` is replaced. Of a VAE, those of encoder and decoder
are replaced, so that slicing and tiling still work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from composer.checkpoints.layouts import Supports
from composer.errors import ComposerError
from composer.options.accel.converted_forward import ConvertedForward, Engine
from composer.options.accel.hooking import PROGRAMS, Acceleration, patched_forward
from composer.options.base import OptionContext
from composer.sampling import embedding_cache
from composer.system.constraints import MinLen

#: Options that change how the model's own layers run, or where its weights are: a converted model has neither.
INSIDE = frozenset(
    {"accel.channels_last", "memory.attention_slicing", "memory.xformers", "memory.sequential_offload",
     "memory.group_offload", "memory.model_offload"}
)  # fmt: skip
#: Parts of a VAE that are converted, each when it is first used.
OF_VAE = ("encoder", "decoder")


class Converted(Acceleration):
    """Base of options that convert models for another library.

    Args:
        components: Components to convert; None for the denoiser and the VAE.

    Attributes:
        packages: Packages that the option needs.
        engine: The library that converts and runs models.
    """

    devices = frozenset({"cpu"})
    supports_quantised = False
    packages: ClassVar[tuple[str, ...]]
    engine: ClassVar[type[Engine]]

    def __init_subclass__(cls) -> None:
        cls.excludes = INSIDE | (PROGRAMS - {f"accel.{cls.name}"})

    def __init__(self, components: Annotated[Sequence[str], MinLen(1)] | None = None) -> None:
        self.components = None if components is None else tuple(components)

    def supported(self, supports: Supports) -> bool:
        """Whether the library supports the denoiser of a family.

        Args:
            supports: What the family supports.
        """
        return bool(getattr(supports, self.name))

    def check(self, context: OptionContext) -> None:
        super().check(context)
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            self.refuse(f"needs the package {missing[0]}: pip install 'diffusion-composer[{self.name}]'")
        checkpoint = context.checked.checkpoint
        denoiser = checkpoint.family_info.denoiser[0]
        convertible = [denoiser, *(["vae"] if "vae" in checkpoint.classes else [])]
        unknown = [name for name in self.components or () if name not in convertible]
        if unknown:
            raise ComposerError(
                f"accel.{self.name}.components", unknown[0], "is none that can be converted here", convertible
            )
        self.selected = tuple(convertible if self.components is None else self.components)
        self.keep = context.checked.spec.precision.cache
        if denoiser in self.selected:
            self._guidance_fits(context)

    def _guidance_fits(self, context: OptionContext) -> None:
        from composer.sampling.guiders import LAYER_CONFIGS

        guidance = context.checked.spec.guidance
        if guidance.keywords.get("guider") in LAYER_CONFIGS:
            raise ComposerError(
                "guidance",
                guidance.name,
                f"weakens layers of the model, which accel={self.name} replaces: choose one of them",
            )

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        with ExitStack() as stack:
            for name in self.selected:
                model = pipe.components[name]
                stack.callback(embedding_cache.evict_model, model)  # what it made so is not what it makes alone
                embedding_cache.evict_model(model)
                for module in [getattr(model, part) for part in OF_VAE] if name == "vae" else [model]:
                    self._replace(module, stack)
            yield

    def _replace(self, module: nn.Module, stack: ExitStack) -> None:
        engine = self.make_engine()
        replacement = ConvertedForward(self.name, module, module.forward, engine, self.compute_dtype, self.keep)
        stack.callback(replacement.close)
        stack.enter_context(patched_forward(module, lambda _: replacement))

    def make_engine(self) -> Engine:
        """Return the engine that converts and runs a module."""
        return self.engine()

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the dtype to compute in.

        Args:
            dtype: Dtype of the model's weights.
        """
        return dtype
