"""accel=[first_block_cache], [magcache], [taylorseer], [faster_cache], [pyramid_attention_broadcast]: diffusers' caches
for one run.

https://huggingface.co/docs/diffusers/api/cache. They were written for diffusers' own loops, which name each branch of
guidance; here
every kind of forward has a state of its own, so that none takes what another one left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from diffusers import hooks
from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

from composer.checkpoints.layouts import Supports
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, Acceleration, denoiser_of, patched_forward
from composer.options.accel.states import States, clean, hooks_of
from composer.options.base import OptionContext
from composer.system.constraints import Ge

NAMES = frozenset(
    f"accel.{name}"
    for name in ("first_block_cache", "magcache", "taylorseer", "faster_cache", "pyramid_attention_broadcast")
)
#: What MagCache can't do without.
WANTED = "needs its checkpoint's ratios: [1.0,1.21,…] as accel.magcache.calibrate=true prints them, or flux for those of Flux dev"
#: Ends of the modules of diffusers whose hooks are caches.
MODULES = ("_cache", "pyramid_attention_broadcast")


class Cache(Acceleration):
    """One of diffusers' caches, of which a model has room for one. steps, timestep_scale: of the run, once checked."""

    why = "diffusers' cache hooks nothing in a {}, so it would do nothing"
    #: diffusers' function, by name.
    apply: ClassVar[str]
    steps = 0
    timestep_scale: float = 1

    def __init_subclass__(cls) -> None:
        cls.excludes = PROGRAMS | (NAMES - {f"accel.{cls.name}"})

    def supported(self, supports: Supports) -> bool:
        return self.name in supports.caches

    def check(self, context: OptionContext) -> None:
        super().check(context)
        request = context.checked.request
        self.steps = request.steps - request.steps_skipped
        self.timestep_scale = context.checked.checkpoint.family_info.timestep_scale
        if self.steps < 2:
            self.refuse_no_effect("a single step has no earlier one to take from, so it would do nothing")

    def config(self, now: Callable[[], float]) -> Any:
        """The cache's settings, as diffusers takes them. now: the timestep, 0–1000; without bounds where nothing is
        cached yet.
        """
        raise NotImplementedError

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        model = denoiser_of(pipe)
        states = States(self.timestep_scale)
        with clean(model):
            getattr(hooks, self.apply)(model, self.config(lambda: states.timestep))
            states.hooks = [
                hook
                for module in model.modules()
                for hook in hooks_of(module)
                if type(hook).__module__.endswith(MODULES)
            ]
            if not states.hooks:
                self.refuse_no_effect("diffusers' cache hooks nothing in this model, so it would do nothing")
            with patched_forward(model, lambda forward: states.around(model, forward)):
                yield


#: Thresholds, timesteps and weights.
NonNegative = Annotated[float, Ge(0)]


class FirstBlockCache(Cache):
    """All blocks but the first are left out of a step in which that changes by less than `threshold`, relative to its
    mean.
    """

    name, apply = "first_block_cache", "apply_first_block_cache"
    why = "diffusers' cache breaks on a {}"

    def __init__(self, threshold: NonNegative = 0.05) -> None:
        self.threshold = threshold

    def config(self, now: Callable[[], float]) -> Any:
        return hooks.FirstBlockCacheConfig(threshold=self.threshold)


class MagCache(Cache):
    """Steps take an earlier one's residual while the ratios of their sizes, measured beforehand, add up to less than
    `threshold`.
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
            raise ComposerError("accel.magcache.ratios", None, WANTED)

    def config(self, now: Callable[[], float]) -> Any:
        return hooks.MagCacheConfig(
            threshold=self.threshold, max_skip_steps=self.most, retention_ratio=self.kept, num_inference_steps=self.steps,
            mag_ratios=self.ratios or None, calibrate=self.calibrate,
        )  # fmt: skip


class TaylorSeer(Cache):
    """Attention is computed at every `interval`-th step after `warmup` of them, and between continued as a polynomial
    of `order`.
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
        return hooks.TaylorSeerCacheConfig(
            cache_interval=self.interval,
            disable_cache_before_step=self.warmup,
            max_order=self.order,
            taylor_factors_dtype=torch.float32,
        )


class Broadcast(Cache):
    """Attention is computed at every `interval`-th step of those whose timesteps lie between `begin` and `end`, 0–1000."""

    name, apply = "pyramid_attention_broadcast", "apply_pyramid_attention_broadcast"

    def __init__(self, interval: Annotated[int, Ge(2)] = 2, begin: NonNegative = 100, end: NonNegative = 800) -> None:
        self.interval, self.begin, self.end = interval, begin, end
        if end <= begin:
            raise ComposerError(f"accel.{self.name}.end", end, f"must be more than begin, {self.begin}")

    def config(self, now: Callable[[], float]) -> Any:
        return hooks.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=self.interval, spatial_attention_timestep_skip_range=(self.begin, self.end),
            current_timestep_callback=now,
        )  # fmt: skip


class FasterCache(Broadcast):
    """Like it, but attention that is not computed goes on as it changed last, by `weight` of that change.
    https://arxiv.org/abs/2410.19355

    The negative branch is computed as ever: diffusers estimates it from the other for models that take both in one
    batch of their own.
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
        return hooks.FasterCacheConfig(
            spatial_attention_block_skip_range=self.interval, spatial_attention_timestep_skip_range=(self.begin, self.end),
            current_timestep_callback=now, attention_weight_callback=lambda module: self.weight, is_guidance_distilled=True,
        )  # fmt: skip
