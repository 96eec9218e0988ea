"""``lora=FILE``: small changes to layers of the models, from one file or several. https://arxiv.org/abs/2106.09685"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from composer.checkpoints.fingerprints import file_sha256
from composer.checkpoints.lora_fit import LoraFit, fit_lora
from composer.config.lora import is_control, key_of
from composer.config.spec import LoraSpec
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, denoiser_of
from composer.options.adapters.lora_merge import merged_loras, set_merged_scales
from composer.options.adapters.lora_peft import adaptable, peft_loras, set_peft_scales
from composer.options.adapters.lora_schedule import LoraSchedule
from composer.options.adapters.lora_widening import widened
from composer.options.base import ModelOption, OptionContext

if TYPE_CHECKING:
    from composer.callbacks.base import StepCallback

#: Programs that read weights when they are converted, and no layers that are computed beside them.
_CONVERTED = PROGRAMS - {"accel.compile"}
#: Option that joins layers that PEFT's layers wrap.
_FUSED = "accel.fused_qkv"


class Lora(ModelOption):
    """All LoRA of a run, also those that let an image control it.

    Args:
        specs: Name → settings.
        fits: Name → file with the layers that it changes.
    """

    group, name = "lora", "lora"
    base_only = True

    def __init__(self, specs: Mapping[str, LoraSpec], fits: Mapping[str, LoraFit]) -> None:
        self.specs, self.fits = dict(specs), dict(fits)
        self.context: OptionContext | None = None
        self._pipe: Any = None

    def check(self, context: OptionContext) -> None:
        super().check(context)
        self.context = context
        for name, fit in self.fits.items():
            self._check_file(name, fit)
            self._check_steps(name, context)

    def expand(self, context: OptionContext) -> tuple[Mapping[str, ModelOption], str | None]:
        merged = [
            f"{key_of(name)}: {fit.file.path.name} {fit.why_not_peft}, so it is merged into the weights"
            for name, fit in self.fits.items()
            if self.specs[name].method == "auto" and fit.why_not_peft
        ]
        refined = ["lora: changes the base model, and the refiner runs without it"] * (
            context.checked.refiner is not None
        )
        return {"lora.lora": self}, "; ".join([*merged, *refined]) or None

    def attach_key(self) -> Any:
        others = self._context().active - {"lora.lora"}  # what they find in the weights must not change later
        return [
            (
                name,
                self.sha256(name),
                method := self.method(name),
                self._scales([name]) if method == "merge" and others else None,
            )
            for name in self.fits
        ]

    def embedding_key(self) -> Any:
        text_scales = {name: self._text_scales(name) for name in self.fits}
        return [
            (self.sha256(name), self.method(name), scales)
            for name, scales in text_scales.items()
            if any(scales.values())
        ]

    def callbacks(self) -> Mapping[str, StepCallback]:
        if all((spec.start, spec.end) == (0, 1) for spec in self.specs.values()):
            return {}
        return {"lora.schedule": LoraSchedule(self.specs, self._switch)}

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        self._match_open(pipe)
        merged = {name: fit for name, fit in self.fits.items() if self.method(name) == "merge"}
        beside = {name: fit for name, fit in self.fits.items() if name not in merged}
        if beside and not adaptable(pipe):
            name = next(iter(beside))
            reason = f"diffusers loads no LoRA into a {type(pipe).__name__}: use {key_of(name)}.method=merge"
            raise ComposerError(key_of(name), beside[name].file.path.name, reason)
        with ExitStack() as stack:
            for fit in self.fits.values():
                if fit.widening is not None:
                    stack.enter_context(widened(pipe, fit, fit.widening))
            if merged:
                stack.enter_context(merged_loras(pipe, denoiser_of(pipe), merged, self._scales(merged)))
            if beside:
                stack.enter_context(peft_loras(pipe, beside))
            yield

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        self._pipe = pipe
        self._set_scales(frozenset(self.specs))
        try:
            yield
        finally:
            self._pipe = None

    def method(self, name: str) -> str:
        """Return how a file is applied: ``peft`` or ``merge``.

        Args:
            name: Its name.
        """
        if self.specs[name].method != "auto":
            return self.specs[name].method
        converted = self.context is not None and self.context.active & (_CONVERTED | {_FUSED})
        return "merge" if converted or self.fits[name].why_not_peft or find_spec("peft") is None else "peft"

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file.

        Args:
            name: Its name.
        """
        return file_sha256(self.fits[name].file.path)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe all files for the record: name → settings, SHA-256, and how the file was applied."""
        return {
            name or "lora": {
                "file": spec.file,
                "revision": spec.revision,
                "sha256": self.sha256(name),
                "scale": spec.scale,
                "scales": dict(spec.scales),
                "start": spec.start,
                "end": spec.end,
                "method": self.method(name),
            }
            for name, spec in self.specs.items()
            if not is_control(name)
        }

    def _check_file(self, name: str, fit: LoraFit) -> None:
        """Refuse a way of applying a file that can't be combined with another option."""
        context, method, key = self._context(), self.method(name), key_of(name)
        if context.dtypes.stored or "memory.layerwise_casting" in context.active:
            self._refuse(
                name, "changes weights as they compute, and here they are stored in fewer bits: omit one of the two"
            )
        if method == "peft" and find_spec("peft") is None:
            self._refuse(name, "needs the package peft: pip install 'diffusion-composer[lora]'")
        clash = sorted(context.active & (_CONVERTED | {_FUSED})) if method == "peft" else []
        if clash:
            what = clash[0].replace(".", "=")
            raise ComposerError(f"{key}.method", "peft", f"can't be together with {what}: use auto", ("auto", "merge"))
        timed = (self.specs[name].start, self.specs[name].end) != (0, 1)
        clash = sorted(context.active & PROGRAMS) if method == "merge" and timed else []
        if clash:
            what = clash[0].replace(".", "=")
            reason = f"changes weights between steps, which {what} reads once: omit one of the two"
            raise ComposerError(f"{key}.start", self.specs[name].start, reason)

    def _check_steps(self, name: str, context: OptionContext) -> None:
        """Refuse a part of the steps that no step is in."""
        spec, request = self.specs[name], context.checked.request
        steps = request.steps - request.steps_skipped
        if not any(index / steps >= spec.start and (index + 1) / steps <= spec.end for index in range(steps)):
            reason = f"to {spec.end} holds none of {steps} steps, so it would do nothing: widen it or take more steps"
            raise ComposerError(f"{key_of(name)}.start", spec.start, reason)

    def _match_open(self, pipe: Any) -> None:
        """Look for layers in the loaded model that no header has."""
        context = self._context()
        for name, fit in self.fits.items():
            if fit.open and fit.widening is None:
                shapes = {
                    part: _shapes(model) for part, model in pipe.components.items() if isinstance(model, nn.Module)
                }
                self.fits[name] = fit_lora(key_of(name), fit.file, context.checked.checkpoint, shapes)
                self._check_file(name, self.fits[name])

    def _scales(self, names: Any) -> dict[str, dict[str, float]]:
        """Factor of each component, for the named files."""
        components = self._context().checked.checkpoint.classes
        return {
            name: {part: float(self.specs[name].scales.get(part, self.specs[name].scale)) for part in components}
            for name in names
        }

    def _text_scales(self, name: str) -> dict[str, float]:
        """Factor of each text encoder that a file changes, or may change."""
        changed = None if self.fits[name].open else self.fits[name].components
        scales = self._scales([name])[name].items()
        return {
            part: scale
            for part, scale in scales
            if part.startswith("text_encoder") and (changed is None or part in changed)
        }

    def _switch(self, active: frozenset[str]) -> None:
        """Let only some files apply to the denoiser, between steps of a run."""
        if self._pipe is not None:
            self._set_scales(active, self._context().checked.checkpoint.family_info.denoiser[0])

    def _set_scales(self, active: frozenset[str], component: str | None = None) -> None:
        """Set the factors of all files, 0 for those that do not apply."""
        scales = self._scales(self.specs)
        for name in set(self.specs) - active:
            scales[name] = dict.fromkeys(scales[name], 0.0) if component is None else {**scales[name], component: 0.0}
        merged = {name: of for name, of in scales.items() if self.method(name) == "merge"}
        beside = {name: of for name, of in scales.items() if name not in merged}
        if merged:
            set_merged_scales(denoiser_of(self._pipe), merged, component)
        if beside:
            set_peft_scales(self._pipe, beside, component)

    def _context(self) -> OptionContext:
        if self.context is None:
            raise RuntimeError("the option was not checked")
        return self.context

    def _refuse(self, name: str, reason: str) -> None:
        raise ComposerError(key_of(name), self.fits[name].file.path.name, reason)


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    weights = ((path, getattr(module, "weight", None)) for path, module in model.named_modules())
    return {path: tuple(weight.shape) for path, weight in weights if isinstance(weight, nn.Parameter)}
