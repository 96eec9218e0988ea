"""scheduler=… → one of diffusers' schedulers, and what its class does with the settings that it is given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from functools import wraps
from typing import Any

import diffusers
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from composer.config.spec import SchedulerSpec
from composer.config.targets import resolve
from composer.errors import ComposerError
from composer.sampling.custom_steps import CUSTOM, custom_steps
from composer.sampling.scheduler_settings import blamed, refuse_kinds
from composer.system.signatures import check_keywords, keywords_of

#: Settings of how one kind of scheduler integrates; another kind loses nothing without them.
OF_SOLVERS = frozenset(
    {"skip_prk_steps", "set_alpha_to_one", "solver_order", "solver_type", "algorithm_type", "final_sigmas_type"}
)
#: Settings that classes take and do nothing with.
IDLE = {
    "LCMScheduler": frozenset({"timestep_spacing", "steps_offset", "set_alpha_to_one"}),
    "TCDScheduler": frozenset({"timestep_spacing", "steps_offset", "set_alpha_to_one", "clip_sample"}),
}
#: Of DPM++ on sigmas of another rule, which spaces the steps itself.
IDLE_ON_SIGMAS = frozenset({"timestep_spacing", "steps_offset"})
#: Schedulers that never took a step, by class, config and settings; diffusers takes milliseconds to make one.
_unused: dict[tuple[type, str], Any] = {}
#: More kinds than a sweep has.
KINDS = 256


def scheduler_parts(spec: SchedulerSpec, own: str) -> tuple[type, dict[str, Any], dict[str, Any]]:
    """The scheduler's class, the settings that `make_scheduler` takes, and the keywords for its `step`.

    Args:
        own: the checkpoint's own class.

    Raises:
        ComposerError: a setting that the class does not have.
    """
    if not hasattr(diffusers, own):
        reason = f"diffusers {diffusers.__version__} has no such scheduler, and the checkpoint names it: name another"
        raise ComposerError("model.components.scheduler", own, f"{reason}, model.components.scheduler=FOLDER")
    cls = getattr(diffusers, own) if spec.target is None else resolve("scheduler", spec.target, SchedulerMixin)
    _check_custom(cls, spec.keywords)
    of_step = keywords_of(cls.step) - {
        "model_output",
        "timestep",
        "sample",
        "generator",
        "return_dict",
        "variance_noise",
    }
    made_with = keywords_of(cls.__init__) | set(CUSTOM)
    check_keywords(
        "scheduler", {key: value for key, value in spec.keywords.items() if key not in CUSTOM}, made_with | of_step
    )
    for key in idle(cls, spec.keywords) & set(spec.keywords):
        raise ComposerError(
            f"scheduler.{key}",
            spec.keywords[key],
            f"changes nothing with {cls.__name__} and these settings: leave it out",
        )
    split: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for name, value in spec.keywords.items():
        split[name in made_with][name] = value
    return cls, split[True], split[False]


def _check_custom(cls: type, keywords: Mapping[str, Any]) -> None:
    custom, known = custom_steps(keywords), keywords_of(cls.set_timesteps)
    if custom and custom[0] not in known:
        key, value = custom
        other = next((each for each in CUSTOM if each in known), None)
        advice = f"it takes scheduler.{other}" if other else "it lays out its own: say how many by steps"
        raise ComposerError(f"scheduler.{key}", value, f"{cls.__name__} takes no list of {key}: {advice}")


def make_scheduler(cls: type, original: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """A fresh one, always from the checkpoint's own config: going through another scheduler would leak its settings."""
    told = cls, repr((sorted(original.items()), sorted(settings.items())))
    if told not in _unused:
        while len(_unused) >= KINDS:
            del _unused[next(iter(_unused))]
        _unused[told] = _made(cls, original, {key: value for key, value in settings.items() if key not in CUSTOM})
    fresh, custom = deepcopy(_unused[told]), custom_steps(settings)
    if custom is not None:
        fresh.set_timesteps = _given(fresh.set_timesteps, *custom)
    return fresh


def _made(cls: type, original: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    if "shift" in original and "flow_shift" in keywords_of(cls.__init__):
        settings = {"flow_shift": original["shift"], **settings}  # one setting, two names: from_config would lose it
    refuse_kinds(cls, settings)
    try:
        return cls.from_config(original, **settings)
    except Exception as error:  # diffusers' classes raise what they like
        raise blamed(cls, settings, error, lambda some: cls.from_config(original, **some)) from None


def _given(set_timesteps: Any, key: str, values: list[float]) -> Any:
    """A scheduler's `set_timesteps` that takes these steps, and all else from who calls it, such as a shift."""

    @wraps(set_timesteps)
    def given(num_inference_steps: int | None = None, device: Any = None, **more: Any) -> None:
        others = {name: value for name, value in more.items() if name not in CUSTOM}
        set_timesteps(device=device, **others, **{key: values})

    return given


def effective_settings(scheduler: Any) -> dict[str, Any]:
    """Of a scheduler's config what its class takes: `from_config` keeps settings of other classes too, to no effect."""
    cls = type(scheduler)
    known = keywords_of(cls.__init__) - idle(cls, scheduler.config)
    return {key: value for key, value in scheduler.config.items() if key in known}


def idle(cls: type, config: Mapping[str, Any]) -> frozenset[str]:
    """Settings that a scheduler's class takes, and that change nothing in a run with this config."""
    spaced = cls is diffusers.DPMSolverMultistepScheduler and config.get("use_karras_sigmas")
    return IDLE_ON_SIGMAS if spaced else IDLE.get(cls.__name__, frozenset())


def dropped(scheduler: Any, own: str) -> list[str]:
    """What a checkpoint's own scheduler is set to do beside its class's defaults, and this scheduler's class has no
    setting for.

    Args:
        own: the class of the checkpoint's scheduler.
    """
    parameters = inspect.signature(getattr(diffusers, own, type(scheduler)).__init__).parameters
    usual = {name: parameter.default for name, parameter in parameters.items()}
    known = {*keywords_of(type(scheduler).__init__), *OF_SOLVERS}
    if "flow_shift" in known:
        known.add("shift")
    lost = {
        key: value
        for key, value in scheduler.config.items()
        if key in usual and key not in known and value not in (None, False)
    }
    return [f"{key}={value}" for key, value in sorted(lost.items()) if value != usual[key]]
