"""scheduler=… → one of diffusers' schedulers, and what its class does with its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import wraps
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from composer.config.spec import SchedulerSpec
from composer.config.targets import resolve
from composer.errors import ComposerError
from composer.sampling.custom_steps import CUSTOM, custom_steps
from composer.sampling.scheduler_settings import blame_setting, constructor, refuse_types
from composer.system.signatures import check_keywords, keywords_of

#: Settings of how one type of scheduler integrates; another type loses nothing without them.
SOLVER_SETTINGS = frozenset(
    {"skip_prk_steps", "set_alpha_to_one", "solver_order", "solver_type", "algorithm_type", "final_sigmas_type"}
)
#: Settings that classes take and do nothing with.
UNUSED_SETTINGS = {
    "LCMScheduler": frozenset({"timestep_spacing", "steps_offset", "set_alpha_to_one"}),
    "TCDScheduler": frozenset({"timestep_spacing", "steps_offset", "set_alpha_to_one", "clip_sample"}),
}
#: Unused by DPM++ on sigmas of another rule, which spaces the steps itself.
UNUSED_ON_SIGMAS = frozenset({"timestep_spacing", "steps_offset"})
#: Parameters of `step` that every scheduler gets from the loop.
STEP_ARGUMENTS = {"model_output", "timestep", "sample", "generator", "return_dict", "variance_noise"}
#: Schedulers that never took a step, by class, config and settings; diffusers takes milliseconds to make one.
_fresh: dict[tuple[type, str], Any] = {}
#: More schedulers than a sweep has.
MAX_SCHEDULERS = 256


class SchedulerParts(NamedTuple):
    """A scheduler before it is made.

    Attributes:
        cls: Class of diffusers or of a plugin.
        settings: Settings that override the checkpoint's scheduler config, and custom timesteps or sigmas.
        step_settings: Keywords for `step`.
    """

    cls: Any  # a SchedulerMixin, whose type says nothing of step, set_timesteps and from_config
    settings: dict[str, Any]
    step_settings: dict[str, Any]


def scheduler_parts(spec: SchedulerSpec, default: str) -> SchedulerParts:
    """Resolve a scheduler's class and divide its keywords.

    Args:
        spec: The scheduler option.
        default: Name of the checkpoint's own class.

    Returns:
        Class, settings, and keywords of `step`.

    Raises:
        ComposerError: The class does not have a setting, or does nothing with it.
    """
    cls = _scheduler_class(spec, default)
    _check_custom(cls, spec.keywords)
    step_keywords = keywords_of(cls.step) - STEP_ARGUMENTS
    init_keywords = keywords_of(constructor(cls)) | set(CUSTOM)
    keywords = {key: value for key, value in spec.keywords.items() if key not in CUSTOM}
    check_keywords("scheduler", keywords, init_keywords | step_keywords)
    for key in unused_settings(cls, spec.keywords) & set(spec.keywords):
        reason = f"changes nothing with {cls.__name__} and these settings: leave it out"
        raise ComposerError(f"scheduler.{key}", spec.keywords[key], reason)
    settings = {name: value for name, value in spec.keywords.items() if name in init_keywords}
    step_settings = {name: value for name, value in spec.keywords.items() if name not in init_keywords}
    return SchedulerParts(cls, settings, step_settings)


def _scheduler_class(spec: SchedulerSpec, default: str) -> Any:
    if not hasattr(diffusers, default):
        reason = f"diffusers {diffusers.__version__} has no such scheduler, and the checkpoint names it: name another"
        raise ComposerError("model.components.scheduler", default, f"{reason}, model.components.scheduler=FOLDER")
    return getattr(diffusers, default) if spec.target is None else resolve("scheduler", spec.target, SchedulerMixin)


def _check_custom(cls: Any, keywords: Mapping[str, Any]) -> None:
    custom, known = custom_steps(keywords), keywords_of(cls.set_timesteps)
    if custom and custom[0] not in known:
        key, value = custom
        other = next((name for name in CUSTOM if name in known), None)
        advice = f"it takes scheduler.{other}" if other else "it lays out its own: say how many by steps"
        raise ComposerError(f"scheduler.{key}", value, f"{cls.__name__} takes no list of {key}: {advice}")


def make_scheduler(cls: Any, original: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Make a fresh scheduler, always from the checkpoint's own config: another scheduler would leak its settings.

    Args:
        cls: Scheduler class.
        original: Config of the checkpoint's scheduler.
        settings: Settings that override it, and custom timesteps or sigmas.

    Returns:
        A scheduler that took no step.

    Raises:
        ComposerError: The class refuses the settings.
    """
    key = cls, repr((sorted(original.items()), sorted(settings.items())))
    if key not in _fresh:
        while len(_fresh) >= MAX_SCHEDULERS:
            del _fresh[next(iter(_fresh))]
        _fresh[key] = _from_config(cls, original, {name: settings[name] for name in settings if name not in CUSTOM})
    scheduler, custom = _copied(_fresh[key]), custom_steps(settings)
    if custom is not None:
        scheduler.set_timesteps = _with_custom_steps(scheduler.set_timesteps, *custom)
    return scheduler


def _copied(scheduler: Any) -> Any:
    """Copy a scheduler in a sixth of the time of `deepcopy` alone: its config is frozen, its tensors are tables."""
    config = scheduler.config
    copies: dict[int, Any] = {id(config): config}
    copies |= {id(value): value.clone() for value in vars(scheduler).values() if type(value) is torch.Tensor}
    return deepcopy(scheduler, copies)


def _from_config(cls: Any, original: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    if "shift" in original and "flow_shift" in keywords_of(constructor(cls)):
        settings = {"flow_shift": original["shift"], **settings}  # one setting, two names: from_config would lose it
    refuse_types(cls, settings)
    try:
        return cls.from_config(original, **settings)
    except Exception as error:  # diffusers' classes raise what they like
        raise blame_setting(cls, settings, error, lambda some: cls.from_config(original, **some)) from None


def _with_custom_steps(set_timesteps: Callable[..., None], key: str, values: list[float]) -> Callable[..., None]:
    """A scheduler's `set_timesteps` that takes these steps, and all else from its caller, such as a shift."""

    @wraps(set_timesteps)
    def set_custom(num_inference_steps: int | None = None, device: Any = None, **more: Any) -> None:
        others = {name: value for name, value in more.items() if name not in CUSTOM}
        set_timesteps(device=device, **others, **{key: values})

    return set_custom


def effective_settings(scheduler: Any) -> dict[str, Any]:
    """Get the settings that a scheduler's class takes; its config also has those of other classes, without effect.

    Args:
        scheduler: A diffusers scheduler.

    Returns:
        Setting → value.
    """
    cls = type(scheduler)
    known = keywords_of(constructor(cls)) - unused_settings(cls, scheduler.config)
    return {key: value for key, value in scheduler.config.items() if key in known}


def unused_settings(cls: Any, config: Mapping[str, Any]) -> frozenset[str]:
    """Get the settings that a scheduler's class takes, but that change nothing in a run.

    Args:
        cls: Scheduler class.
        config: Settings of the run.

    Returns:
        Names of settings.
    """
    spaced = cls is DPMSolverMultistepScheduler and config.get("use_karras_sigmas")
    return UNUSED_ON_SIGMAS if spaced else UNUSED_SETTINGS.get(cls.__name__, frozenset())


def dropped_settings(scheduler: Any, default: str) -> list[str]:
    """List the checkpoint's settings, beside its class's defaults, for which another scheduler's class has none.

    Args:
        scheduler: The scheduler of the run.
        default: Name of the checkpoint's own class.

    Returns:
        `setting=value` texts, sorted.
    """
    parameters = inspect.signature(constructor(getattr(diffusers, default, type(scheduler)))).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    known = {*keywords_of(constructor(type(scheduler))), *SOLVER_SETTINGS}
    if "flow_shift" in known:
        known.add("shift")
    config = {key: value for key, value in scheduler.config.items() if key in defaults and key not in known}
    lost = {key: value for key, value in config.items() if value not in (None, False)}
    return [f"{key}={value}" for key, value in sorted(lost.items()) if value != defaults[key]]
