"""One call of a diffusers pipeline with composer's callbacks in its loops."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from composer.errors import ComposerError
from composer.media.medium import Medium
from composer.pipelines.hosted.base_call import Call, LoopView
from composer.pipelines.hosted.decoding import end_with
from composer.pipelines.hosted.guiding import StageGuidance
from composer.pipelines.hosted.loop import Loop
from composer.pipelines.hosted.outputs import decoded_of
from composer.pipelines.hosted.own_pipeline import run_pipeline
from composer.pipelines.hosted.text_memo import TextMemo
from composer.pipelines.hosted.wrapping import Listener, listen, listen_to_models, pipelines_in
from composer.sampling.guidance import Guidance
from composer.sampling.hooks import Hooks
from composer.sampling.non_finite import NonFinite
from composer.system.memory import is_out_of_memory
from composer.system.signatures import keywords_of


class PipelineFailure(ComposerError):
    """A pipeline that failed inside of its own call."""

    exit_code = 1


class HostedCall(Call):
    """A call of a pipeline, and what callbacks can ask of it.

    Args:
        shared: The cached pipeline, which is not changed.
        make_scheduler: Returns a fresh scheduler.
        make_keywords: Returns fresh keywords of the pipeline's call; some pipelines write into the lists that they get.
        hooks: Callbacks of the run.
        scale: Requested guidance scale.
        guidance: Returns the guidance that composer applies to a loop; None if the pipeline guides itself.
        notes: Receives notes for the user.
        denoiser_name: Component that predicts, for messages.
        fps: Frames a second of the clips that it makes; None for the default.
    """

    def __init__(
        self, shared: Any, make_scheduler: Callable[[], Any], make_keywords: Callable[[], dict[str, Any]], hooks: Hooks,
        *, scale: float = 1.0, guidance: Callable[[], Guidance | None] = lambda: None, notes: list[str] | None = None,
        denoiser_name: str = "denoiser", fps: float | None = None,
    ) -> None:  # fmt: skip
        self.shared, self.make_scheduler, self.make_keywords, self.fps = shared, make_scheduler, make_keywords, fps
        self.texts, self.notes = TextMemo(), [] if notes is None else notes
        keywords = make_keywords()
        scales = tuple(dict.fromkeys((float(scale), *scales_in(shared, keywords))))
        rescale = float(keywords.get("guidance_rescale") or 0.0)

        arguments = frozenset(keywords_of(shared.__call__))

        def make_guidance(pipeline: str) -> StageGuidance:
            return StageGuidance(pipeline, guidance(), scales, rescale, self.notes, arguments)

        self.pipe = run_pipeline(shared, make_scheduler())
        self.loop = Loop(self.pipe, hooks, make_guidance, denoiser_name)
        self._prepare(self.pipe, self.loop)

    @property
    def view(self) -> LoopView:
        return self.loop

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Follow the calls of the pipeline's models, for the call itself and for decoding."""
        with listen_to_models(self.pipe, self.loop):
            yield

    def run(self) -> Any:
        """Call the pipeline.

        Returns:
            Its output.

        Raises:
            ComposerError: It failed, or a callback changed what can't be changed.
        """
        output = call_pipeline(self.pipe, self.make_keywords() | step_end_keywords(self.pipe, self.loop))
        self.loop.end()
        return output

    def end_with(self, latents: Tensor) -> Any:
        """Let the pipeline's own tail make its output of latents of the present loop.

        Args:
            latents: Latents x₀, in the shape of the loop's latents.

        Returns:
            The output that the pipeline would return for them.
        """

        def call(tail: Any) -> Any:
            pipe = run_pipeline(self.shared, self.make_scheduler())
            self._prepare(pipe, tail)
            return call_pipeline(pipe, self.make_keywords() | step_end_keywords(pipe, tail))

        return end_with(self.loop, latents, call)

    def decode(self, latents: Tensor) -> list[Medium]:
        """Decode latents of the present loop by the pipeline's own tail.

        Args:
            latents: Latents x₀, in the shape of the loop's latents.

        Returns:
            What the pipeline would return for them: images, clips or sounds.
        """
        return list(decoded_of(self.end_with(latents), self.pipe, self.fps).media)

    def _prepare(self, pipe: Any, listener: Listener) -> None:
        for name, part in pipelines_in(pipe).items():
            part.set_progress_bar_config(disable=True)
            self.texts.attach(name, part)
        listen(pipe, listener)


def scales_in(pipe: Any, keywords: Mapping[str, Any]) -> Sequence[float]:
    """Collect the guidance scales that a call may use.

    Args:
        pipe: The pipeline.
        keywords: Keywords of its call; the defaults count for others.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(pipe.__call__).parameters.items()}
    given = {
        name: value
        for name, value in {**defaults, **keywords}.items()
        if name.endswith(("guidance_scale", "cfg_scale"))
    }
    given |= {name: value for name, value in {**defaults, **keywords}.items() if name.startswith("guidance_scale")}
    return [float(value) for value in given.values() if isinstance(value, (int, float))]


def step_end_keywords(pipe: Any, listener: Any) -> dict[str, Any]:
    """Return the keywords by which a pipeline, or those inside of it, call back after each step.

    Args:
        pipe: The pipeline.
        listener: Its `on_step_end` is called back.
    """
    names = [name for name in keywords_of(pipe.__call__) if name.endswith("callback_on_step_end")]
    return dict.fromkeys(names, listener.on_step_end)


def call_pipeline(pipe: Any, keywords: Mapping[str, Any], name: str = "") -> Any:
    """Call a pipeline; values that are not finite would come out black, with a warning of numpy's.

    Args:
        pipe: The pipeline.
        keywords: Keywords of its call.
        name: Its name in errors; empty for that of its class.

    Returns:
        Its output.

    Raises:
        ComposerError: It failed; the line names it.
        NonFinite: Its image is not finite.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "invalid value encountered in cast", RuntimeWarning)
        try:
            return pipe(**keywords)
        except ComposerError:
            raise
        except RuntimeWarning:
            raise NonFinite("vae", None, "its image holds numbers that are not finite (NaN or infinity)") from None
        except Exception as error:
            if is_out_of_memory(error):
                raise
            line = (str(error).strip().splitlines() or [""])[0]
            reason = f"{name or type(pipe).__name__} failed in its own code: {type(error).__name__}: {line}"
            raise PipelineFailure("model.source", None, reason) from error
