"""Check of a recipe before any step runs: each step with images of the size that the earlier ones will make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from composer.callbacks.base import StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.find import find_checkpoint
from composer.checks.compatibility import Checked, check
from composer.checks.metrics import check_metrics
from composer.checks.prompts import plain_prompts
from composer.config.recipes import TOOL, errors_of_step
from composer.config.spec import ModelSpec, RunSpec
from composer.config.targets import build
from composer.errors import ComposerError
from composer.metrics.base import Metric
from composer.recipes.inputs import read_inputs
from composer.recipes.spec import Output, RecipeSpec, StepSpec, ToolSpec
from composer.system.devices import refuse_unavailable
from composer.tools.base import Tool

#: Stands in for a text that is not there yet: it has no words, so that no note is about them.
TEXT = "…"
#: Finds a checkpoint by its settings.
Find = Callable[[ModelSpec], Checkpoint]


@dataclass(frozen=True, kw_only=True)
class CheckedTool:
    """A tool with its inputs.

    Attributes:
        spec: Its settings.
        tool: The tool.
        inputs: Key of an input → an image or a text for each result.
        metrics: What is measured of its images, by name.
        prompts: For each result, the prompt of the last run before it, with which metrics compare it.
    """

    spec: ToolSpec
    tool: Tool
    inputs: Mapping[str, tuple[Image.Image | str, ...]]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of results."""
        return len(next(iter(self.inputs.values()), ()))

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of the first image of each result, in pixels; empty for a tool that takes none."""
        several = next((one for one in self.inputs.values() if isinstance(one[0], Image.Image)), ())
        return [image.size for image in several if isinstance(image, Image.Image)]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the first result in pixels; None where only the image itself determines them."""
        return self.tool.size(*self.sizes[0]) if self.sizes else None


@dataclass(frozen=True, kw_only=True)
class CheckedStep:
    """A step that can run.

    Attributes:
        step: The step; where its seed was to be chosen, it is.
        checked: Its settings with images of the size that earlier steps will make.
    """

    step: StepSpec
    checked: Checked | CheckedTool


@dataclass(frozen=True, kw_only=True)
class CheckedRecipe:
    """A recipe whose steps can run.

    Attributes:
        spec: Its settings.
        steps: Its steps.
        find: Finds checkpoints.
        lenient: As `Checked.lenient`.
    """

    spec: RecipeSpec
    steps: tuple[CheckedStep, ...]
    find: Find = find_checkpoint
    lenient: bool = False

    @property
    def runs(self) -> tuple[Checked, ...]:
        """The steps that are runs."""
        return tuple(step.checked for step in self.steps if isinstance(step.checked, Checked))


def check_recipe(spec: RecipeSpec, find: Find = find_checkpoint, lenient: bool = False) -> CheckedRecipe:
    """Check all steps of a recipe, from configs and JSON files alone.

    Args:
        spec: Its settings.
        find: Finds a checkpoint by its settings.
        lenient: As `Checked.lenient`.

    Returns:
        The checked recipe.

    Raises:
        ComposerError: A step cannot run; the key begins with its name.
    """
    outputs: dict[str, Output] = {}
    steps: list[CheckedStep] = []
    prompts: tuple[str, ...] = ()
    for number, step in enumerate(spec.steps, 1):
        with errors_of_step(step.name, (), ()), references_in_errors(step):
            checked = check_step(step.with_outputs(outputs), find, lenient, prompts)
            prompts = prompts_after(checked)
            outputs[step.name] = _expected(checked)
            if outputs[step.name].kind in ("clip", "sound", "text") and number == len(spec.steps):
                _require_last(outputs[step.name].kind, step)
        steps.append(CheckedStep(step=_with_seed(step, checked), checked=checked))
    return CheckedRecipe(spec=spec, steps=tuple(steps), find=find, lenient=lenient)


def check_step(
    spec: RunSpec | ToolSpec, find: Find = find_checkpoint, lenient: bool = False, prompts: Sequence[str] = ()
) -> Checked | CheckedTool:
    """Check one step with its inputs.

    Args:
        spec: Its settings, with images and texts in place of references.
        find: Finds a checkpoint by its settings.
        lenient: As `Checked.lenient`.
        prompts: Prompts of the step before.

    Returns:
        The checked run or tool.

    Raises:
        ComposerError: It cannot run.
    """
    return replace(check(spec, find), lenient=lenient) if isinstance(spec, RunSpec) else check_tool(spec, prompts)


def prompts_after(checked: Checked | CheckedTool) -> tuple[str, ...]:
    """Return the prompts that the images of a step are of.

    Args:
        checked: The step.
    """
    return plain_prompts(checked.spec, checked.request) if isinstance(checked, Checked) else checked.prompts


@contextmanager
def references_in_errors(step: StepSpec) -> Iterator[None]:
    """In errors that are raised inside the context, show what a step's config says in place of an image.

    Args:
        step: The step.

    Yields:
        Nothing.
    """
    try:
        yield
    except ComposerError as error:
        if error.key in step.sources:
            error.value = step.inputs[error.key]
        raise


def check_tool(spec: ToolSpec, prompts: Sequence[str] = ()) -> CheckedTool:
    """Build a tool and read its inputs.

    Args:
        spec: Its settings.
        prompts: Prompts of the step before.

    Returns:
        The tool with its inputs.

    Raises:
        ComposerError: The tool cannot run, a setting or an image is invalid, or the numbers of images differ.
    """
    refuse_unavailable(spec.device)
    tool: Tool = build(TOOL, spec.choice, Tool)
    try:
        tool.check()
        tool.fingerprint()
    except OSError as error:
        raise ComposerError(TOOL, spec.choice.name, f"cannot read a file: {error}") from None
    checked = CheckedTool(spec=spec, tool=tool, inputs=read_inputs(spec.images))
    size = checked.size
    if not checked.sizes and tool.makes != "text":
        raise ComposerError(TOOL, spec.choice.name, "makes images and takes none: it must have an image among `inputs`")
    of_each = tuple(prompts[index % len(prompts)] if prompts else "" for index in range(checked.count))
    metrics = check_metrics(spec.metrics, tool.makes, size, of_each)
    return replace(checked, metrics=metrics, prompts=of_each)


def tried_recipe(checked: CheckedRecipe, more: Sequence[StepCallback] = ()) -> tuple[str, ...]:
    """Try all runs of a recipe without weights.

    Args:
        checked: The checked recipe.
        more: Callbacks from Python.

    Returns:
        Notes, each after the name of its step.

    Raises:
        ComposerError: Building or loading would be refused.
    """
    from composer.pipelines.trial import tried

    notes: list[str] = []
    for step in checked.steps:
        if isinstance(step.checked, Checked):
            with errors_of_step(step.step.name, (), ()):
                notes += [f"{step.step.name}: {note}" for note in tried(step.checked, more)]
    return tuple(notes)


def placeholder(width: int, height: int) -> Image.Image:
    """Make an image that stands in for one that is not there yet: its left half is white, as a mask has to have both.

    Args:
        width: Width in pixels.
        height: Height in pixels.

    Returns:
        An RGB image.
    """
    image = Image.new("RGB", (width, height))
    image.paste("white", (0, 0, max(width // 2, 1), height))
    return image


def _expected(checked: Checked | CheckedTool) -> Output:
    """What a step will make, as far as is known without it."""
    if isinstance(checked, Checked):
        request, kind = checked.request, checked.task.makes
        image = placeholder(request.width, request.height)
        return Output(kind=kind, images=(image,) * request.batch if kind == "image" else ())
    if checked.tool.makes == "text":
        return Output(kind="text", texts=(TEXT,) * checked.count)
    sizes = [checked.tool.size(*size) or size for size in checked.sizes]
    return Output(kind="image", images=tuple(placeholder(*size) for size in sizes))


def _require_last(kind: str, step: StepSpec) -> None:
    """Refuse a last step that makes texts, which is no result of a run."""
    if kind == "text":
        raise ComposerError(TOOL, step.spec.choice.name if isinstance(step.spec, ToolSpec) else None,
                            "makes texts, and the last step must make images, clips or sounds")  # fmt: skip


def _with_seed(step: StepSpec, checked: Checked | CheckedTool) -> StepSpec:
    """The step with the seed that was chosen for it."""
    if not isinstance(checked, Checked) or not isinstance(step.spec, RunSpec) or "seed" not in step.spec.values:
        return step
    values: dict[str, Any] = {**step.spec.values, "seed": checked.request.seeds[0]}
    return replace(step, spec=replace(step.spec, values=values))
