"""diffusers' caches for one run, such as ``accel=[first_block_cache]``.

diffusers' caches rely on its own loops, which name each branch of guidance. Here, each kind of forward has a state of
its own, so that none uses what another one cached. See https://huggingface.co/docs/diffusers/api/cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from diffusers import hooks
from diffusers.hooks.faster_cache import FasterCacheConfig
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS, MagCacheConfig
from diffusers.hooks.pyramid_attention_broadcast import PyramidAttentionBroadcastConfig
from diffusers.hooks.taylorseer_cache import TaylorSeerCacheConfig

from composer.checkpoints.layouts import Supports
from composer.compat.hooks import hooks_of
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, Acceleration, denoisers_of, patched_forward
from composer.options.accel.states import States, clean
from composer.options.base import OptionContext
from composer.system.constraints import Ge

NAMES = frozenset(
    f"accel.{name}"
    for name in ("first_block_cache", "magcache", "taylorseer", "faster_cache", "pyramid_attention_broadcast")
)
#: Refusal of MagCache without ratios.
RATIOS_NEEDED = (
    "needs its checkpoint's ratios: [1.0,1.21,…] as accel.magcache.calibrate=true prints them,"
    " or flux for those of Flux dev"
)
#: Ends of the names of diffusers' modules whose hooks are caches.
CACHE_MODULES = ("_cache", "pyramid_attention_broadcast")


class Cache(Acceleration):
    """Base of options that use one of diffusers' caches, of which a model can have one.

    Attributes:
        apply: Name of diffusers' function that attaches the cache.
        steps: Steps of the run, set by ``check``.
        timestep_scale: Factor from the model's timesteps to ``[0, 1000]``, set by ``check``.
    """

    why = "diffusers' cache hooks nothing in a {}, so it would do nothing"
    #: diffusers' function, by name.
    apply: ClassVar[str]
    steps = 0
    timestep_scale: float = 1

    def __init_subclass__(cls) -> None:
        cls.excludes = PROGRAMS | (NAMES - {f"accel.{cls.name}"})

    def supported(self, supports: Supports) -> bool:
        """Whether the cache supports the denoiser of a family.

        Args:
            supports: What the family supports.
        """
        return self.name in supports.caches

    def check(self, context: OptionContext) -> None:
        super().check(context)
        request = context.checked.request
        self.steps = request.steps - request.steps_skipped
        self.timestep_scale = context.checked.checkpoint.family_info.timestep_scale
        if self.steps < 2:
            self.refuse_no_effect("a single step has no earlier one to take from, so it would do nothing")

    def config(self, now: Callable[[], float]) -> Any:
        """Return the cache's settings for diffusers.

        Args:
            now: Returns the current timestep in ``[0, 1000]``, or infinity if nothing is cached yet.
        """
        raise NotImplementedError

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for model in denoisers_of(pipe):
                stack.enter_context(self._cached(model))
            yield

    @contextmanager
    def _cached(self, model: Any) -> Iterator[None]:
        states = States(self.timestep_scale)
        with clean(model):
            getattr(hooks, self.apply)(model, self.config(lambda: states.timestep))
            states.hooks = [
                hook
                for module in model.modules()
                for hook in hooks_of(module)
                if type(hook).__module__.endswith(CACHE_MODULES)
            ]
            if not states.hooks:
                self.refuse_no_effect("diffusers' cache hooks nothing in this model, so it would do nothing")
            with patched_forward(model, lambda forward: states.around(model, forward)):
                yield


#: Thresholds, timesteps and weights.
NonNegative = Annotated[float, Ge(0)]


class FirstBlockCache(Cache):
    """Reuse all blocks but the first one where the first one's output hardly changes.

    Args:
        threshold: Largest change of the output, relative to its mean, >= 0.
    """

    name, apply = "first_block_cache", "apply_first_block_cache"
    why = "diffusers' cache breaks on a {}"

    def __init__(self, threshold: NonNegative = 0.05) -> None:
        self.threshold = threshold

    def config(self, now: Callable[[], float]) -> Any:
        return FirstBlockCacheConfig(threshold=self.threshold)


class MagCache(Cache):
    """Reuse an earlier step's residual while the error estimated from measured magnitude ratios is small.

    Args:
        ratios: Ratios of the residuals' magnitudes in successive steps, or ``flux`` for those of Flux dev.
        threshold: Largest accumulated error, >= 0.
        most: Largest number of successive steps that reuse a residual.
        kept: Part of the schedule at its start that is always computed, in ``[0, 1]``.
        calibrate: Whether to print the ratios of a run instead of using any.
    """

    name, apply = "magcache", "apply_mag_cache"

    def __init__(
        self,
        ratios: Literal["flux"] | Sequence[NonNegative] | None = None,
        threshold: NonNegative = 0.06,
        most: Annotated[int, Ge(1)] = 3,
        kept: NonNegative = 0.2,
        calibrate: bool = False,
    ) -> None:
        self.ratios = FLUX_MAG_RATIOS.tolist() if ratios == "flux" else list(ratios or ())
        self.threshold, self.most, self.kept, self.calibrate = threshold, most, kept, calibrate

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if not self.ratios and not self.calibrate:
            raise ComposerError("accel.magcache.ratios", None, RATIOS_NEEDED)
        if "transformer_2" in context.checked.checkpoint.classes:
            self.refuse("its ratios are of all steps of one transformer, and this model has two")

    def config(self, now: Callable[[], float]) -> Any:
        return MagCacheConfig(
            threshold=self.threshold, max_skip_steps=self.most, retention_ratio=self.kept,
            num_inference_steps=self.steps, mag_ratios=self.ratios or None, calibrate=self.calibrate,
        )  # fmt: skip


class TaylorSeer(Cache):
    """Extrapolate attention between computed steps by a Taylor polynomial.

    Args:
        interval: Attention is computed at every ``interval``-th step.
        warmup: Steps at the start that are computed.
        order: Order of the polynomial.
    """

    name, apply = "taylorseer", "apply_taylorseer_cache"

    def __init__(
        self, interval: Annotated[int, Ge(2)] = 5, warmup: Annotated[int, Ge(1)] = 3, order: Annotated[int, Ge(0)] = 1
    ) -> None:
        self.interval, self.warmup, self.order = interval, warmup, order

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if self.warmup + 1 >= self.steps:
            reason = f"leaves none of {self.steps} steps to continue, so it would do nothing"
            raise ComposerError("accel.taylorseer.warmup", self.warmup, reason)

    def config(self, now: Callable[[], float]) -> Any:
        return TaylorSeerCacheConfig(
            cache_interval=self.interval,
            disable_cache_before_step=self.warmup,
            max_order=self.order,
            taylor_factors_dtype=torch.float32,
        )


class Broadcast(Cache):
    """Reuse attention between computed steps, in a range of timesteps.

    Args:
        interval: Attention is computed at every ``interval``-th step.
        begin: Smallest timestep of the range, in ``[0, 1000]``.
        end: Largest timestep of the range, in ``[0, 1000]``.
    """

    name, apply = "pyramid_attention_broadcast", "apply_pyramid_attention_broadcast"

    def __init__(self, interval: Annotated[int, Ge(2)] = 2, begin: NonNegative = 100, end: NonNegative = 800) -> None:
        self.interval, self.begin, self.end = interval, begin, end
        if end <= begin:
            raise ComposerError(f"accel.{self.name}.end", end, f"must be more than begin, {self.begin}")

    def config(self, now: Callable[[], float]) -> Any:
        bounds: Any = (self.begin, self.end)  # diffusers declares integers, and only compares
        timestep: Any = now
        return PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=self.interval, spatial_attention_timestep_skip_range=bounds,
            current_timestep_callback=timestep,
        )  # fmt: skip


class FasterCache(Broadcast):
    """Extrapolate attention between computed steps by its last change. See https://arxiv.org/abs/2410.19355.

    The negative branch is always computed: diffusers estimates it only for models that take both branches in one batch.

    Args:
        interval: Attention is computed at every ``interval``-th step.
        begin: Smallest timestep of the range, in ``[0, 1000]``.
        end: Largest timestep of the range, in ``[0, 1000]``.
        weight: Factor of the last change.
    """

    name, apply = "faster_cache", "apply_faster_cache"

    def __init__(
        self,
        interval: Annotated[int, Ge(2)] = 2,
        begin: NonNegative = 0,
        end: NonNegative = 681,
        weight: NonNegative = 0.5,
    ) -> None:
        super().__init__(interval, begin, end)
        self.weight = weight

    def config(self, now: Callable[[], float]) -> Any:
        bounds: Any = (self.begin, self.end)  # diffusers declares integers, and only compares
        timestep: Any = now
        return FasterCacheConfig(
            spatial_attention_block_skip_range=self.interval, spatial_attention_timestep_skip_range=bounds,
            current_timestep_callback=timestep, attention_weight_callback=lambda module: self.weight,
            is_guidance_distilled=True,
        )  # fmt: skip
