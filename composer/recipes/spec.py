"""The settings of a recipe: its steps, and which of their inputs are results of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from PIL import Image

from composer.config.control import image_key, with_images
from composer.config.keys import PROMPTS
from composer.config.read import build_spec, for_record, mapping, plain, read, read_options
from composer.config.recipes import CONFIG, METRIC, RECIPE, REUSE, SETS, STEPS, TOOL, errors_of_step
from composer.config.secrets import iter_leaves
from composer.config.spec import Choice, OutputSpec, RunSpec
from composer.config.targets import resolve
from composer.errors import ComposerError, suggest
from composer.system import devices
from composer.tools.base import Tool

#: Prefix of a value that is the result of an earlier step.
STEP_PREFIX = "step:"
Kind = Literal["image", "clip", "sound", "text"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """The results of a step, as inputs of later ones.

    Attributes:
        kind: What they are; a mask is an image.
        images: The images, in their order; empty for texts.
        texts: The texts.
    """

    kind: Kind
    images: tuple[Image.Image, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """The settings of a tool.

    Attributes:
        choice: The option and the settings of its class.
        images: Key of an input → a file, `sample:NAME`, `step:NAME`, an image, or a list of them.
        output: Files.
        device: Name of the device, or `auto`.
        metrics: What is measured of its images, by name.
        config: The resolved config as plain data, for the record.
    """

    choice: Choice
    images: Mapping[str, Any]
    output: OutputSpec
    device: str
    metrics: Mapping[str, Choice]
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """A step of a recipe.

    Attributes:
        name: Its name.
        spec: A run or a tool.
        sets: Keys that it sets itself; others can be set for all steps.
    """

    name: str
    spec: RunSpec | ToolSpec
    sets: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, Any]:
        """Values that can be results of earlier steps, by config key."""
        if isinstance(self.spec, ToolSpec):
            return dict(self.spec.images)
        controls = {image_key(name): control.image for name, control in self.spec.controls.items()}
        return {**self.spec.values, **controls}

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """Key of an input → the earlier steps that it is taken from."""
        named = {key: tuple(_names(value)) for key, value in self.inputs.items()}
        return {key: names for key, names in named.items() if names}

    def with_outputs(self, outputs: Mapping[str, Output]) -> RunSpec | ToolSpec:
        """Replace references to earlier steps by their results.

        Args:
            outputs: Results by step.

        Returns:
            The settings with images and texts.

        Raises:
            ComposerError: A step has results of another kind than the input.
        """
        given = {key: _filled(key, self.inputs[key], outputs) for key in self.sources}
        if isinstance(self.spec, ToolSpec):
            return replace(self.spec, images={**self.spec.images, **given})
        values = {key: value for key, value in given.items() if key in self.spec.values}
        controls = with_images(self.spec.controls, given)
        return replace(self.spec, values={**self.spec.values, **values}, controls=controls)

    def with_images(self, images: Mapping[str, Any], placeholders: Mapping[str, str]) -> StepSpec:
        """Replace the placeholders of images that a caller from Python passed as objects.

        Args:
            images: Images by config key, below the step's name or for all steps.
            placeholders: Key → the text that the config holds in its place.

        Returns:
            The step with these images.
        """
        fits = {key: image for key, image in images.items() if key.split(".")[0] == self.name or "." not in key}
        given = {key.removeprefix(f"{self.name}."): (image, placeholders[key]) for key, image in fits.items()}
        given_here = {key: image for key, (image, text) in given.items() if self.inputs.get(key) == text}
        if isinstance(self.spec, ToolSpec):
            return replace(self, spec=replace(self.spec, images={**self.spec.images, **given_here}))
        values = {key: image for key, image in given_here.items() if key in self.spec.values}
        controls = with_images(self.spec.controls, given_here)
        return replace(self, spec=replace(self.spec, values={**self.spec.values, **values}, controls=controls))


@dataclass(frozen=True, kw_only=True)
class RecipeSpec:
    """The settings of a recipe.

    Attributes:
        name: Its name.
        steps: Its steps, in their order.
        reuse: Whether results that were made before are used again.
    """

    name: str
    steps: tuple[StepSpec, ...]
    reuse: bool = True


def read_recipe(tree: Mapping[str, Any]) -> RecipeSpec:
    """Convert the composed tree of a recipe into its settings.

    Args:
        tree: As `composer.config.recipes.compose_request` returns it.

    Returns:
        The settings.

    Raises:
        ComposerError: A step is invalid, or takes the result of a step that there is not before it.
    """
    steps: list[StepSpec] = []
    for name, node in tree[STEPS].items():
        with errors_of_step(name, (), ()):
            config, sets = plain(node[CONFIG]), tuple(node[SETS])
            spec = read(config) if node[TOOL] is None else _read_tool(str(node[TOOL]), config)
            step = StepSpec(name=name, spec=spec, sets=sets)
            _require_earlier(step, [earlier.name for earlier in steps])
        steps.append(step)
    if not any(isinstance(step.spec, RunSpec) for step in steps):
        raise ComposerError(RECIPE, tree[RECIPE], "generates nothing: at least one of its steps must have a task")
    return RecipeSpec(name=tree[RECIPE], steps=tuple(steps), reuse=tree[REUSE])


def is_reference(value: object) -> bool:
    """Whether a value is the result of an earlier step.

    Args:
        value: Any value.
    """
    return isinstance(value, str) and value.startswith(STEP_PREFIX)


def _read_tool(name: str, config: Mapping[str, Any]) -> ToolSpec:
    node = dict(config[TOOL] or {})
    path = str(node.pop("_target_", None) or "")
    if not path:
        raise ComposerError(TOOL, name, "names no class: `compose list tool` shows the tools")
    cls: type[Tool] = resolve(TOOL, Choice(path=path, group=TOOL, name=name), Tool)
    images = {key: node.pop(key, None) for key in cls.inputs}
    metrics = mapping(METRIC, config.get(METRIC))
    measures = {METRIC: for_record(metrics)} if metrics else {}
    choice = Choice(path=path, keywords=MappingProxyType(node), group=TOOL, name=name)
    return ToolSpec(
        choice=choice,
        images=images,
        output=build_spec("output", OutputSpec, config["output"]),
        device=devices.parse_device("device.type", config["device"].get("type")),
        metrics=read_options(METRIC, metrics),
        config=MappingProxyType({TOOL: {**images, **node}, "output": config["output"]} | measures),
    )


def _require_earlier(step: StepSpec, earlier: Sequence[str]) -> None:
    """Refuse references to steps that there are not, or not before, and references where nothing can be replaced."""
    for key, names in step.sources.items():
        for name in names:
            if name not in earlier:
                reason = f"there is no step {name} before this one.{suggest(name, earlier)}"
                raise ComposerError(key, f"{STEP_PREFIX}{name}", reason, earlier)
    if isinstance(step.spec, RunSpec):
        for key, value in iter_leaves(step.spec.config):
            if is_reference(value) and key not in step.sources:
                raise ComposerError(key, value, "cannot be the result of a step: root keys and control.image can")


def _names(value: Any) -> Iterator[str]:
    """The steps that a value refers to."""
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if is_reference(one):
            yield one.removeprefix(STEP_PREFIX)


def _filled(key: str, value: Any, outputs: Mapping[str, Output]) -> list[Any]:
    """A value with the results of all steps that it refers to."""
    result: list[Any] = []
    for one in value if isinstance(value, (list, tuple)) else [value]:
        result += _results(key, one, outputs[one.removeprefix(STEP_PREFIX)]) if is_reference(one) else [one]
    return result


def _results(key: str, value: str, output: Output) -> tuple[Any, ...]:
    expected = "text" if key.rpartition(".")[2] in PROMPTS else "image"
    if output.kind != expected:
        raise ComposerError(key, value, f"that step makes {output.kind}s, and this takes {expected}s")
    return output.texts if expected == "text" else output.images


def without_progress(spec: RunSpec | RecipeSpec) -> RunSpec | RecipeSpec:
    """Remove the progress bar of a run, or of all runs of a recipe.

    Args:
        spec: The settings.

    Returns:
        The settings without the callback `progress`.
    """
    if isinstance(spec, RecipeSpec):
        return replace(spec, steps=tuple(replace(step, spec=_quiet(step.spec)) for step in spec.steps))
    return _quiet_run(spec)


def _quiet(spec: RunSpec | ToolSpec) -> RunSpec | ToolSpec:
    return _quiet_run(spec) if isinstance(spec, RunSpec) else spec


def _quiet_run(spec: RunSpec) -> RunSpec:
    return replace(spec, callbacks={name: callback for name, callback in spec.callbacks.items() if name != "progress"})
