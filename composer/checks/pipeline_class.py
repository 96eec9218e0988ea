"""Facts about a pipeline class from its source text: what it returns, and how it sets timesteps."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from composer.system.signatures import keywords_of

#: Fields of diffusers' outputs that hold images.
IMAGES = ("images", "image")
#: Kind of media → fields of diffusers' outputs that hold it; a clip may have a sound besides.
MEDIA = {"clip": ("frames", "videos", "video"), "sound": ("audios", "audio"), "image": IMAGES}
#: Functions that set the timesteps.
SETS_TIMESTEPS = ("retrieve_timesteps", "set_timesteps")
#: Class → what its images are, of which there are several for a prompt.
SEVERAL = {
    "QwenImageLayeredPipeline": "layers",
    "TextToVideoZeroPipeline": "frames of one clip",
    "TextToVideoZeroSDXLPipeline": "frames of one clip",
}
#: Classes that fail without a negative prompt where they guide.
NEED_NEGATIVE = ("EasyAnimate",)
#: Arguments of pipelines that are images.
IMAGE_ARGUMENTS = ("image", "mask_image", "control_image", "images", "input_images", "video", "conditioning_frames")


@dataclass(frozen=True)
class CallFacts:
    """Facts about a pipeline class from the source text of its ``__call__``.

    Attributes:
        outputs: Fields of its output, such as ``images`` or ``frames``; empty if the source does not show them.
        timestep_arguments: Arguments that it always passes to ``set_timesteps`` itself, of ``sigmas`` and ``mu``.
        references: Inputs that it iterates over, as several references for one image.
        used: Names that it reads; None if the source is not available.
        required: Images that it requires although its signature makes them optional.
        omits_flow_sigmas: Whether it passes no sigmas to a scheduler with ``use_flow_sigmas``.
        takes_one: Whether it refuses several prompts in one call.
        takes_text: Whether its prompt must be a text, and no list with one.
        lists_sigmas: Whether its sigmas are a list, which not every scheduler can compute with, and no array.
        needs_negative: Whether it guides only if a negative prompt is given, be it empty, as FLUX.1 and Qwen-Image do.
    """

    outputs: frozenset[str] = frozenset()
    timestep_arguments: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    used: frozenset[str] | None = None
    required: frozenset[str] = frozenset()
    omits_flow_sigmas: bool = False
    takes_one: bool = False
    takes_text: bool = False
    lists_sigmas: bool = False
    needs_negative: bool = False

    @property
    def returns_images(self) -> bool:
        """Whether the output holds images, or its fields are unknown."""
        return not self.outputs or bool(self.outputs & set(IMAGES))


@lru_cache(maxsize=64)
def read_call(pipeline: Any) -> CallFacts:
    """Read the source text of a pipeline class's ``__call__``.

    Args:
        pipeline: diffusers pipeline class.

    Returns:
        The facts; without a source text, those that refuse nothing.
    """
    facts: CallFacts | None = getattr(pipeline, "call_facts", None)
    if facts is not None:  # of a workflow of blocks
        return facts
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(pipeline.__call__))))
    except (OSError, TypeError, SyntaxError):
        return CallFacts()
    used = frozenset(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )
    takes_text = "Passing a list of prompts is not yet supported" in ast.unparse(tree)
    required = frozenset(name for name in _undocumented_defaults(tree) if name in used and _is_required(tree, name))
    name = pipeline.__name__
    return CallFacts(
        outputs=frozenset([SEVERAL[name]] if name in SEVERAL else _outputs(tree)),
        timestep_arguments=timestep_arguments(tree),
        references=frozenset(_iterated_inputs(tree)) - required, used=used, required=required,
        takes_one=_takes_one(tree) or takes_text, takes_text=takes_text, lists_sigmas=_lists_sigmas(tree),
        omits_flow_sigmas="use_flow_sigmas" in ast.unparse(tree),
        needs_negative="has_neg_prompt" in used or name.startswith(NEED_NEGATIVE),
    )  # fmt: skip


def _outputs(tree: ast.AST) -> Iterator[str]:
    """Yield the keywords of returned outputs; ``ImagePipelineOutput(x)`` holds images."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            yield from (keyword.arg for keyword in node.value.keywords if keyword.arg)
            if node.value.args and "ImagePipelineOutput" in ast.unparse(node.value.func):
                yield "images"
            if node.value.args and "AudioPipelineOutput" in ast.unparse(node.value.func):
                yield "audios"


def timestep_arguments(tree: ast.AST) -> frozenset[str]:
    """Return those of sigmas and mu that each call passes, with sigmas computed in the function itself.

    Args:
        tree: Source of a function that sets timesteps.
    """
    assigned = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and not _is_none(node.value)
        for name in _targets(node)
    }
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    calls = [call for call in nodes if ast.unparse(call.func).endswith(SETS_TIMESTEPS)]
    passed = [frozenset(_keywords(tree, call, assigned)) for call in calls]
    return frozenset.intersection(*passed) if passed else frozenset()


def _lists_sigmas(tree: ast.AST) -> bool:
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and "sigmas" in _targets(node)]
    return bool(values) and not any("np." in ast.unparse(value) or "torch." in ast.unparse(value) for value in values)


def _takes_one(tree: ast.AST) -> bool:
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise))
    return any(ast.unparse(node.test) == "batch_size > 1" for node in tests)


def _keywords(tree: ast.AST, call: ast.Call, assigned: set[str]) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is None:
            yield from _dict_keys(tree, keyword.value)
        elif keyword.arg == "mu" or (keyword.arg == "sigmas" and set(_names(keyword.value)) & assigned):
            yield keyword.arg


def _dict_keys(tree: ast.AST, value: ast.AST) -> Iterator[str]:
    """Yield sigmas and mu if they are keys of a dictionary that is passed as ``**name``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(value) in {ast.unparse(target) for target in node.targets}:
            keys = node.value.keys if isinstance(node.value, ast.Dict) else ()
            values = (key.value for key in keys if isinstance(key, ast.Constant))
            yield from (name for name in values if name in ("mu", "sigmas") and isinstance(name, str))


def _iterated_inputs(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Name) and node.iter.id in ("image", "images"):
            yield node.iter.id


def _undocumented_defaults(tree: ast.AST) -> Iterator[str]:
    """Yield images that default to None without being optional by annotation and description."""
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    text = ast.get_docstring(function) or ""
    given = function.args.args[len(function.args.args) - len(function.args.defaults) :]
    for argument, default in zip(given, function.args.defaults):
        annotated = ast.unparse(argument.annotation) if argument.annotation else ""
        described = next((line for line in text.splitlines() if re.match(rf"\s*{argument.arg}\b", line)), "optional")
        optional = "None" in annotated and "optional" in described.lower()
        if (
            argument.arg in IMAGE_ARGUMENTS
            and _is_none(default)
            and (not optional or _size_is_read(tree, argument.arg))
        ):
            yield argument.arg


def _is_required(tree: ast.AST, name: str) -> bool:
    """Whether None is not handled: it is never compared with, or is refused, or its size is always read."""
    compared = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == name and _is_none(node.comparators[0])
    ]
    refused = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == f"{name} is None"
    ]
    return not compared or _size_is_read(tree, name) or any(isinstance(node.body[0], ast.Raise) for node in refused)


def _size_is_read(tree: ast.AST, name: str) -> bool:
    """Whether the size of an image is read unconditionally."""
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    assignments = [statement for statement in function.body if isinstance(statement, ast.Assign)]
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == f"{name}.size"
        for assignment in assignments
        for node in ast.walk(assignment)
    )


def _targets(node: ast.Assign) -> Iterator[str]:
    return (name for target in node.targets for name in _names(target))


def output_kind(pipeline: Any) -> str | None:
    """Return what a pipeline class generates.

    Args:
        pipeline: diffusers pipeline class.

    Returns:
        ``clip``, ``sound`` or ``image``, also where its source does not show it; None for anything else.
    """
    outputs = read_call(pipeline).outputs
    return next((kind for kind, names in MEDIA.items() if outputs & set(names)), None if outputs else "image")


def required_arguments(pipeline: Any) -> frozenset[str]:
    """Return the arguments that a pipeline class can't be called without.

    Args:
        pipeline: diffusers pipeline class.

    Returns:
        Names: those without a default, and images whose default None is not handled.
    """
    parameters = inspect.signature(pipeline.__call__).parameters.values()
    positional = (entry for entry in parameters if entry.kind is entry.POSITIONAL_OR_KEYWORD and entry.name != "self")
    return frozenset(entry.name for entry in positional if entry.default is entry.empty) | read_call(pipeline).required


def takes(pipeline: Any, name: str) -> bool:
    """Whether a pipeline class has an argument and reads it.

    Args:
        pipeline: diffusers pipeline class.
        name: Name of the argument.
    """
    used = read_call(pipeline).used
    return name in keywords_of(pipeline.__call__) and (used is None or name in used)


def _names(node: ast.AST) -> list[str]:
    return [name.id for name in ast.walk(node) if isinstance(name, ast.Name)]


def _is_none(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
