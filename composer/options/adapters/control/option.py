"""``control=MODEL control.image=FILE``: images follow the edges, depth or the like of another image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from composer.checkpoints.control_lora import CONTROL_LORA
from composer.checkpoints.control_model import ControlModel
from composer.checks.preprocessors import NONE, load_preprocessor
from composer.config.control import image_key, key_of
from composer.config.spec import ControlSpec
from composer.errors import ComposerError
from composer.images.reading import resize_to
from composer.loading.control_loader import keep_only, load_control
from composer.options.accel.hooking import PROGRAMS, denoiser_of, patched_forward
from composer.options.adapters.control import transformers, unet
from composer.options.adapters.control.forward import ActiveControl, ControlSchedule, controlled
from composer.options.adapters.control.lora import FluxControlLora
from composer.options.adapters.control.network import ControlNetwork
from composer.options.base import ModelOption, OptionContext
from composer.tasks.img2img import several

if TYPE_CHECKING:
    from PIL.Image import Image

    from composer.callbacks.base import StepCallback
    from composer.callbacks.request import Request

#: Class of diffusers → how a run calls it.
NETWORKS: Mapping[str, type[ControlNetwork]] = {
    "ControlNetModel": unet.ControlNet,
    "ControlNetUnionModel": unet.ControlNetUnion,
    "T2IAdapter": unet.T2IAdapter,
    "SD3ControlNetModel": transformers.SD3ControlNet,
    "FluxControlNetModel": transformers.FluxControlNet,
    "QwenImageControlNetModel": transformers.QwenImageControlNet,
    "ZImageControlNetModel": transformers.ZImageControlNet,
    CONTROL_LORA: FluxControlLora,
}
#: Caches that skip blocks of a transformer, and with them where a control model adds.
_SKIPPING = frozenset({"accel.first_block_cache", "accel.magcache"})


class Control(ModelOption):
    """All control models of a run.

    Args:
        specs: Name → settings.
        found: Name → model, with what is known of it without its weights.
    """

    group, name = "control", "control"
    base_only = True
    excludes = (PROGRAMS - {"accel.compile"}) | _SKIPPING

    def __init__(self, specs: Mapping[str, ControlSpec], found: Mapping[str, ControlModel]) -> None:
        self.specs, self.found = dict(specs), dict(found)
        self.context: OptionContext | None = None
        self.schedule = ControlSchedule()
        self._models: dict[str, nn.Module] = {}

    def refuse(self, reason: str, allowed: Any = ()) -> None:
        name, spec = next(iter(self.specs.items()))
        raise ComposerError(key_of(name), spec.model, reason, allowed)

    def check(self, context: OptionContext) -> None:
        super().check(context)
        self.context = context
        for name in self.specs:
            self._check_steps(name, context)
            self._check_size(name, context)

    def expand(self, context: OptionContext) -> tuple[Mapping[str, ModelOption], str | None]:
        note = "control: changes the base model, and the refiner runs without it"
        return {"control.control": self}, note if context.checked.refiner is not None else None

    def attach_key(self) -> Any:
        return [(name, model.component.cls, model.fingerprint) for name, model in self.found.items()]

    def embedding_key(self) -> Any:
        return None

    def callbacks(self) -> Mapping[str, StepCallback]:
        return {"control.schedule": self.schedule}

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        self._load(device)
        keep_only((model.component for model in self.found.values() if model.lora is None), self._dtype, device)
        yield

    @contextmanager
    def active_for(self, pipe: Any, request: Request) -> Iterator[None]:
        denoiser = denoiser_of(pipe)
        self.schedule.preprocessed.clear()
        self._load(self._context().device)  # an earlier run's option, with the same models, may be attached
        with ExitStack() as stack:
            controls, generators = [], tuple(torch.Generator("cpu").manual_seed(seed) for seed in request.seeds)
            for name, spec in self.specs.items():
                network = NETWORKS[self.found[name].component.cls](self._models.get(name, denoiser), self.found[name])
                stack.enter_context(network.attached(pipe))
                if spec.scale != 0:
                    images = self._images(name, request)
                    if spec.preprocess != NONE:
                        self.schedule.preprocessed[key_of(name)] = images
                    encoded = network.encode(pipe, images, generators)
                    controls.append(ActiveControl(network, encoded, float(spec.scale), spec.start, spec.end))
            if controls:
                make = partial(controlled, denoiser, controls=controls, schedule=self.schedule)
                stack.enter_context(patched_forward(denoiser, make))
            yield

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe all control models for the record: name → settings, class, and a hash of the files."""
        return {
            name or "control": {
                "model": spec.model,
                "revision": spec.revision,
                "variant": spec.variant,
                "class": self.found[name].component.cls,
                "fingerprint": self.found[name].fingerprint,
                "image": [one if isinstance(one, str) else None for one in several(spec.image)],
                "scale": spec.scale,
                "start": spec.start,
                "end": spec.end,
                "mode": self.found[name].mode,
                "preprocess": spec.preprocess,
                "preprocess_settings": dict(spec.preprocess_settings),
            }
            for name, spec in self.specs.items()
        }

    def _load(self, device: torch.device) -> None:
        cache = self._context().checked.spec.precision.cache
        for name, model in self.found.items():
            if model.lora is not None:
                continue  # its layers are among the LoRA of the run
            self._models[name] = load_control(key_of(name), model.component, self._dtype, device, cache)

    @property
    def _dtype(self) -> torch.dtype:
        """Dtype that the denoiser computes in."""
        context = self._context()
        return context.dtypes.of(context.checked.checkpoint.family_info.denoiser[0])

    def _images(self, name: str, request: Request) -> list[Image]:
        """The images of a control model in the size of the request, preprocessed; equal ones are one object."""
        spec, processed = self.specs[name], dict[int, Any]()
        for image in request.inputs[image_key(name)]:
            if id(image) not in processed:
                resized = resize_to(image, request.height, request.width)
                processed[id(image)] = _preprocessed(key_of(name), spec, resized)
        return [processed[id(image)] for image in request.inputs[image_key(name)]]

    def _check_steps(self, name: str, context: OptionContext) -> None:
        """Refuse a part of the steps that no step is in."""
        spec, request = self.specs[name], context.checked.request
        steps = request.steps - request.steps_skipped
        if not any(index / steps >= spec.start and (index + 1) / steps <= spec.end for index in range(steps)):
            reason = f"to {spec.end} holds none of {steps} steps, so it would do nothing: widen it or take more steps"
            raise ComposerError(f"{key_of(name)}.start", spec.start, reason)

    def _check_size(self, name: str, context: OptionContext) -> None:
        """Refuse sizes that a T2I-Adapter can't divide."""
        component, request = self.found[name].component, context.checked.request
        factor = component.config.get("downscale_factor", 1)
        for sides in request.sizes:
            for key, pixels in zip(("height", "width"), sides, strict=True):
                if pixels % factor:
                    raise ComposerError(key, pixels, f"must be a multiple of {factor} pixels for {key_of(name)}")

    def _context(self) -> OptionContext:
        if self.context is None:
            raise RuntimeError("the option was not checked")
        return self.context


def _preprocessed(key: str, spec: ControlSpec, image: Image) -> Image:
    if spec.preprocess == NONE:
        return image
    result = load_preprocessor(spec.preprocess)(image, **spec.preprocess_settings).convert("RGB")
    if result.size != image.size:
        reason = f"returned {result.width} x {result.height} pixels instead of {image.width} x {image.height}"
        raise ComposerError(f"{key}.preprocess", spec.preprocess, reason)
    return result
