"""The calls that every loop of diffusers makes, passed to a listener: progress bar, denoiser and scheduler step.

Bars and schedulers belong to the pipeline object of one run, so they are changed for good. Models are shared with
other runs: their ``forward`` is replaced inside of a context, and put back.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import Any, Protocol

from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor, nn

#: What schedulers call the prediction, the timestep and the latents of a `step`.
STEP_ARGUMENTS = (("model_output",), ("timestep", "timesteps", "sigma"), ("sample", "x_t", "sample_hat"))


class Listener(Protocol):
    """Receives the calls of a pipeline's loops."""

    def begin(self, pipe: DiffusionPipeline, frame: FrameType, timesteps: Tensor | None) -> None:
        """A loop is about to begin.

        Args:
            pipe: The pipeline whose loop it is; of combined pipelines the one inside.
            frame: The function with the loop; its local variables are for reading.
            timesteps: Those that the loop iterates over, `(iterations,)`, if they are shown.
        """

    def evaluate(self, name: str, call: Callable[[], Any]) -> Any:
        """A model is called.

        Args:
            name: Component.
            call: Evaluates the model.

        Returns:
            The output that the pipeline receives.
        """

    def take_step(
        self, name: str, scheduler: Any, call: Callable[[Tensor], Any], prediction: Tensor, timestep: Any,
        sample: Tensor
    ) -> Any:  # fmt: skip
        """A scheduler is about to step.

        Args:
            name: Component.
            scheduler: The scheduler.
            call: Takes the step with a prediction.
            prediction: Prediction of the pipeline.
            timestep: Present timestep.
            sample: Latents x_t.

        Returns:
            The output that the pipeline receives.
        """

    def take_step_of_copy(self, name: str) -> None:
        """A copy of a scheduler, which the pipeline made, is about to step.

        Args:
            name: Component.
        """


def listen(pipe: DiffusionPipeline, listener: Listener) -> None:
    """Pass the bars and the scheduler steps of a run's own pipeline to a listener.

    Args:
        pipe: A pipeline object that no other run uses, with schedulers of its own; pipelines inside of it likewise.
        listener: Receives the calls.
    """
    part: Any  # pyright takes a method of mixins for the pipeline's own
    for part in pipelines_in(pipe).values():
        part.progress_bar = partial(_progress_bar, part, part.progress_bar, listener)
    for name, scheduler in schedulers_in(pipe).items():
        scheduler.__class__ = _hooked_class(name, scheduler, listener)


@contextmanager
def listen_to_models(pipe: DiffusionPipeline, listener: Listener) -> Iterator[None]:
    """Pass the calls of a pipeline's models to a listener.

    Args:
        pipe: The pipeline; its models may be shared.
        listener: Receives the calls.
    """
    with ExitStack() as stack:
        for name, model in models_in(pipe).items():
            stack.enter_context(_wrapped(name, model, listener))
        yield


def pipelines_in(pipe: DiffusionPipeline, path: str = "") -> dict[str, DiffusionPipeline]:
    """Return a pipeline and those inside of it, as combined pipelines have them.

    Args:
        pipe: The pipeline.
        path: Prefix of all names.

    Returns:
        Name such as ``prior_pipe.`` → pipeline; the outermost has the name `path`.
    """
    pipelines = {path: pipe}
    for name, part in vars(pipe).items():
        if isinstance(part, DiffusionPipeline):
            pipelines |= pipelines_in(part, f"{path}{name}.")
    return pipelines


def schedulers_in(pipe: DiffusionPipeline) -> dict[str, Any]:
    """Return the schedulers of a pipeline and of those inside of it, each once.

    Args:
        pipe: The pipeline.
    """
    return _components(pipe, lambda part: hasattr(part, "step") and hasattr(part, "set_timesteps"))


def models_in(pipe: DiffusionPipeline) -> dict[str, nn.Module]:
    """Return the models of diffusers that may predict, also compiled ones: all but autoencoders.

    Args:
        pipe: The pipeline; those inside of it are searched too.
    """
    return _components(pipe, _may_predict)


def _may_predict(part: Any) -> bool:
    if not isinstance(part, nn.Module):
        return False
    model = vars(part).get("_modules", {}).get("_orig_mod", part)  # of torch.compile(model)
    return isinstance(model, ModelMixin) and not hasattr(model, "decode")


def _components(pipe: DiffusionPipeline, predicate: Callable[[Any], bool]) -> dict[str, Any]:
    components: dict[str, Any] = {}
    for path, part in pipelines_in(pipe).items():
        for name, component in vars(part).items():
            if predicate(component) and all(component is not known for known in components.values()):
                components[f"{path}{name}"] = component
    return components


def _progress_bar(
    pipe: DiffusionPipeline, own: Callable[..., Any], listener: Listener, *args: Any, **keywords: Any
) -> Any:  # fmt: skip
    """Announce a loop, and return its bar."""
    here = inspect.currentframe()
    assert here is not None and here.f_back is not None
    frame = here.f_back
    schedule = getattr(getattr(pipe, "scheduler", None), "timesteps", None)
    full = isinstance(schedule, Tensor) and schedule.ndim == 1 and keywords.get("total") == len(schedule)
    shown = (*args[:1], keywords.get("iterable"), frame.f_locals.get("timesteps"), schedule if full else None)
    timesteps = next((value for value in shown if isinstance(value, Tensor) and value.ndim == 1), None)
    listener.begin(pipe, frame, timesteps)
    return own(*args, **keywords)


def _hooked_class(name: str, scheduler: Any, listener: Listener) -> type:
    """A class for one scheduler, which passes on its steps; copies that the pipeline makes of it step as they are."""
    cls: Any = type(scheduler)
    signature = inspect.signature(cls.step)
    arguments = [
        argument for names in STEP_ARGUMENTS if (argument := first_of(names, signature.parameters)) is not None
    ]

    @functools.wraps(cls.step)
    def step(self: Any, *args: Any, **keywords: Any) -> Any:
        if self is not scheduler:
            listener.take_step_of_copy(name)
        if self is not scheduler or len(arguments) < len(STEP_ARGUMENTS):
            return cls.step(self, *args, **keywords)
        bound = signature.bind(self, *args, **keywords)

        def call(prediction: Tensor) -> Any:
            bound.arguments[arguments[0]] = prediction
            return cls.step(*bound.args, **bound.kwargs)

        return listener.take_step(name, self, call, *(bound.arguments[argument] for argument in arguments))

    members = {"step": step, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return _SameClass(cls.__name__, (cls,), members)


def first_of(names: Iterable[str], parameters: Container[str]) -> str | None:
    """Return the first name that is among parameters; None if none is."""
    return next((name for name in names if name in parameters), None)


class _SameClass(type):
    """A class that compares like its base: pipelines of Bria compare ``type(scheduler)`` with scheduler classes."""

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.__mro__[1]

    def __hash__(cls) -> int:
        return hash(cls.__mro__[1])


@contextmanager
def _wrapped(name: str, model: nn.Module, listener: Listener) -> Iterator[None]:
    """Replace the function that a call of a model runs. Hooks of accelerate and diffusers, and programs of
    ``model.compile()``, are such functions on the instance, and stay inside of the new one.
    """
    attribute = "forward" if model._compiled_call_impl is None else "_compiled_call_impl"
    forward, before = getattr(model, attribute), vars(model).get(attribute)

    @functools.wraps(forward)
    def call(*args: Any, **keywords: Any) -> Any:
        return listener.evaluate(name, partial(forward, *args, **keywords))

    setattr(model, attribute, call)
    try:
        yield
    finally:
        if vars(model).get(attribute) is call:  # else a library has set another in the meantime
            delattr(model, attribute) if before is None else setattr(model, attribute, before)
