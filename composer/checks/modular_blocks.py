"""Workflows of Modular Diffusers, each with the interface of a pipeline class as far as checks read one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

from composer.checkpoints.checkpoint import Checkpoint
from composer.checks.pipeline_class import CallFacts, timestep_arguments
from composer.errors import ComposerError

#: Inputs of blocks for the media that a pipeline makes → what makes them.
OUTPUTS = ("images", "videos", "audio", "audios")
#: Inputs that select workflows and are given by a task, or always by composer.
GIVEN_INPUTS = {"prompt", "image", "mask_image", "control_image", "references", "num_frames"}
#: Components that blocks use where they are there, and do without.
OPTIONAL = ("image_encoder", "prompt_upsampler", "prompt_upsampler_processor", "prompt_enhancer_head")
#: Arguments that stand for settings of the component `guider`, in the order of a signature.
GUIDER_ARGUMENTS = ("guidance_scale", "guidance_rescale")


class ModularWorkflow:
    """A workflow of a checkpoint that exists only as blocks; its class is named like the pipeline's.

    Attributes:
        pipeline: Class of the modular pipeline.
        workflow: Name of the workflow; empty for blocks with one alone.
        blocks: Its blocks, one after the other. They are shared: use `make_blocks`.
        call_facts: What its blocks show of its inputs and outputs.
        guides: Whether a component `guider` combines the branches.
    """

    pipeline: ClassVar[Any]
    workflow: ClassVar[str]
    blocks: ClassVar[Any]
    call_facts: ClassVar[CallFacts]
    guides: ClassVar[bool]

    @classmethod
    def make_blocks(cls) -> Any:
        """Copy the blocks for one run: instances of blocks are shared between all that diffusers creates of a class."""
        return deepcopy(cls.blocks)

    @classmethod
    def components(cls) -> frozenset[str]:
        """Return the names of the components that are loaded for it."""
        specs = cls.blocks.expected_components
        return frozenset(spec.name for spec in specs if spec.default_creation_method == "from_pretrained")


@lru_cache(maxsize=16)
def workflow_classes(pipeline: str, blocks: str, embeds_scale: bool | None) -> tuple[type[ModularWorkflow], ...]:
    """Create a class for each workflow of a modular pipeline.

    Args:
        pipeline: Class of the pipeline.
        blocks: Class of the blocks that a checkpoint names.
        embeds_scale: Whether the denoiser takes the guidance scale as an input; None if its settings don't say.

    Returns:
        The classes, in the order in which diffusers lists the workflows; none where it does not have the pipeline.
    """
    import diffusers
    from diffusers.modular_pipelines.modular_pipeline import ModularPipeline

    from composer.compat.modular import trigger_inputs, workflows

    cls = getattr(diffusers, pipeline, None)
    if not (isinstance(cls, type) and issubclass(cls, ModularPipeline)):
        return ()
    named: Any = getattr(diffusers, blocks, None)
    if not getattr(named, "block_classes", ()):  # those of a class without blocks of its own were put together by hand
        named = getattr(diffusers, str(cls.default_blocks_name))
    complete = named()
    given = dict.fromkeys(
        {"num_frames"} & trigger_inputs(complete), True
    )  # else blocks would choose a number themselves
    return tuple(
        _create(cls, name, complete.get_execution_blocks(**{**given, **inputs}), frozenset(inputs), embeds_scale)
        for name, inputs in workflows(complete).items()
        if set(inputs) <= GIVEN_INPUTS and not {"image", "control_image"} <= set(inputs)  # which no task gives together
    )


def workflows_of(checkpoint: Checkpoint) -> Iterator[type[ModularWorkflow]]:
    """Yield the workflows for which the components of a checkpoint suffice.

    Args:
        checkpoint: A checkpoint that exists only as blocks.
    """
    embeds = checkpoint.denoiser.get("guidance_embeds")
    for pipeline in workflow_classes(checkpoint.pipeline, checkpoint.blocks, None if embeds is None else bool(embeds)):
        if not pipeline.components() - {*checkpoint.classes, *OPTIONAL}:
            yield pipeline


def chosen_workflow(checkpoint: Checkpoint) -> type[ModularWorkflow]:
    """Return the workflow that was chosen for a task.

    Args:
        checkpoint: A checkpoint that exists only as blocks.

    Returns:
        The workflow.

    Raises:
        ComposerError: The installed diffusers has no such pipeline, or the checkpoint has not the components for it.
    """
    chosen = next((cls for cls in workflows_of(checkpoint) if cls.workflow == checkpoint.workflow), None)
    if chosen is None:
        raise no_workflow(checkpoint)
    return chosen


def no_workflow(checkpoint: Checkpoint) -> ComposerError:
    """Describe why none of the workflows of a checkpoint can run.

    Args:
        checkpoint: A checkpoint that exists only as blocks.
    """
    import diffusers

    classes = workflow_classes(checkpoint.pipeline, checkpoint.blocks, None)
    if not classes:
        reason = f"diffusers {diffusers.__version__} has no modular pipeline {checkpoint.pipeline}"
        return ComposerError("model.source", checkpoint.source, reason)
    missing = min((cls.components() - {*checkpoint.classes} for cls in classes), key=len)
    advice = f"name each as model.components.{min(missing, default='NAME')}=FOLDER"
    reason = f"{checkpoint.path.name} has no {', '.join(sorted(missing))}, and {checkpoint.pipeline} needs it: {advice}"
    return ComposerError("model.source", checkpoint.source, reason)


def with_scheduler(checkpoint: Checkpoint, pipeline: type[ModularWorkflow]) -> Checkpoint:
    """Describe the scheduler that blocks create themselves, where a checkpoint has none.

    Args:
        checkpoint: The checkpoint.
        pipeline: The workflow.
    """
    specs = {spec.name: spec for spec in pipeline.blocks.expected_components}
    spec = specs.get("scheduler")
    if spec is None or "scheduler" in checkpoint.classes or spec.default_creation_method != "from_config":
        return checkpoint
    scheduler = spec.create()
    classes = {**checkpoint.classes, "scheduler": type(scheduler).__name__}
    return replace(checkpoint, classes=classes, configs={**checkpoint.configs, "scheduler": dict(scheduler.config)})


def is_workflow(pipeline: Any) -> bool:
    """Whether a pipeline class stands for a workflow.

    Args:
        pipeline: diffusers pipeline class, or a `ModularWorkflow`.
    """
    return isinstance(pipeline, type) and issubclass(pipeline, ModularWorkflow)


def _create(
    cls: Any, workflow: str, blocks: Any, triggers: frozenset[str], embeds_scale: bool | None
) -> type[ModularWorkflow]:
    inputs = {entry.name: entry for entry in blocks.inputs if entry.name and entry.name != "self"}
    guides = "guider" in {spec.name for spec in blocks.expected_components}
    if not guides and embeds_scale is False:
        inputs.pop("guidance_scale", None)  # it is not passed to a model without such an input
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name, entry in inputs.items():
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=entry.default))
    if guides:
        names = (name for name in GUIDER_ARGUMENTS if name not in inputs)
        parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in names]

    def call(self: Any, **keywords: Any) -> None:
        raise NotImplementedError(f"{cls.__name__} is called with its components")

    vars(call)["__signature__"] = inspect.Signature(parameters)
    required = {name for name, entry in inputs.items() if entry.required and entry.default is None}
    facts = _facts(blocks, frozenset(required | triggers) - {"prompt", "num_frames"})
    space = {
        "__call__": call,
        "pipeline": cls,
        "workflow": workflow,
        "blocks": blocks,
        "call_facts": facts,
        "guides": guides,
    }
    return type(cls.__name__, (ModularWorkflow,), space)


def _facts(blocks: Any, required: frozenset[str]) -> CallFacts:
    outputs = {entry.name for entry in blocks.outputs} & set(OUTPUTS)
    passed = frozenset().union(*(timestep_arguments(tree) for tree in _trees(blocks)))
    text = _takes_text(blocks)
    return CallFacts(
        outputs=frozenset(outputs), timestep_arguments=passed, required=required, takes_one=text, takes_text=text
    )  # fmt: skip


def _takes_text(blocks: Any) -> bool:
    """Whether the prompt must be a text and no list of them."""
    checks = (getattr(block, "check_inputs", None) for block in blocks.sub_blocks.values())
    return any("if not isinstance(block_state.prompt, str):" in inspect.getsource(check) for check in checks if check)


def _trees(blocks: Any) -> Iterator[ast.AST]:
    """Yield the source of each block that sets timesteps, and of the functions of its module that it calls."""
    for block in blocks.sub_blocks.values():
        if not any(entry.name == "timesteps" for entry in block.intermediate_outputs):
            continue
        call = inspect.unwrap(type(block).__call__)
        functions = [call, *(vars(inspect.getmodule(call)).get(name) for name in call.__code__.co_names)]
        for function in functions:
            if inspect.isfunction(function) and function.__module__ == call.__module__:
                yield ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
