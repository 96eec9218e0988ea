"""What the source of a pipeline class tells beyond its signature: what it makes, and how it lays out its steps."""

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
#: Functions that lay out steps.
LAYING = ("retrieve_timesteps", "set_timesteps")
#: Arguments that are images.
INPUTS = ("image", "mask_image", "control_image")


@dataclass(frozen=True)
class Told:
    """makes: names of what a pipeline returns, such as images or frames; empty where its source does not say.
    passes: keywords that it hands to `set_timesteps` of its own accord, such as sigmas and mu.
    reads: inputs that it goes through one by one, as several references for each image. uses: names that it does
    something with.
    needs: images without which it can do nothing, although its signature lets them be left out.
    spares_flow: whether it passes no sigmas to a scheduler with `use_flow_sigmas`. lists: whether its sigmas are a list
    and
    no array, with which not every scheduler can reckon.
    """

    makes: frozenset[str] = frozenset()
    passes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    uses: frozenset[str] | None = None
    needs: frozenset[str] = frozenset()
    spares_flow: bool = False
    lists: bool = False

    @property
    def images(self) -> bool:
        return not self.makes or bool(self.makes & set(IMAGES))


@lru_cache(maxsize=64)
def told(pipeline: type) -> Told:
    """Read the source of a class's `__call__`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(pipeline.__call__))))
    except (OSError, TypeError, SyntaxError):
        return Told()
    uses = frozenset(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )
    needs = frozenset(name for name in _left_out(tree) if name in uses and _needed(tree, name))
    reads = frozenset(_gone_through(tree)) - needs
    return Told(
        makes=frozenset(_made(tree)), passes=_passed(tree), reads=reads, uses=uses, needs=needs,
        spares_flow="use_flow_sigmas" in ast.unparse(tree), lists=_lists(tree),
    )  # fmt: skip


def _made(tree: ast.AST) -> Iterator[str]:
    """Keywords of the outputs that it returns; `ImagePipelineOutput(x)` holds images."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            yield from (keyword.arg for keyword in node.value.keywords if keyword.arg)
            if node.value.args and "ImagePipelineOutput" in ast.unparse(node.value.func):
                yield "images"


def _passed(tree: ast.AST) -> frozenset[str]:
    """Of sigmas and mu those that are passed wherever it lays out steps, and made in the function itself."""
    made = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and not _is_none(node.value)
        for name in _targets(node)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(LAYING)]
    passed = [frozenset(_keywords(tree, call, made)) for call in calls]
    return frozenset.intersection(*passed) if passed else frozenset()


def _lists(tree: ast.AST) -> bool:
    made = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and "sigmas" in _targets(node)]
    return bool(made) and not any("np." in ast.unparse(value) or "torch." in ast.unparse(value) for value in made)


def _keywords(tree: ast.AST, call: ast.Call, made: set[str]) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is None:
            yield from _entries(tree, keyword.value)
        elif keyword.arg == "mu" or (keyword.arg == "sigmas" and set(_names(keyword.value)) & made):
            yield keyword.arg


def _entries(tree: ast.AST, value: ast.AST) -> Iterator[str]:
    """Keys of a dictionary that is passed as `**name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(value) in {ast.unparse(target) for target in node.targets}:
            found = node.value.keys if isinstance(node.value, ast.Dict) else ()
            yield from (key.value for key in found if isinstance(key, ast.Constant) and key.value in ("mu", "sigmas"))


def _gone_through(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Name) and node.iter.id in ("image", "images"):
            yield node.iter.id


def _left_out(tree: ast.AST) -> Iterator[str]:
    """Images that default to None, of which neither annotation nor description says that they are optional."""
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    text = ast.get_docstring(function) or ""
    given = function.args.args[len(function.args.args) - len(function.args.defaults) :]
    for argument, default in zip(given, function.args.defaults):
        annotated = ast.unparse(argument.annotation) if argument.annotation else ""
        described = next((line for line in text.splitlines() if re.match(rf"\s*{argument.arg}\b", line)), "optional")
        optional = "None" in annotated and "optional" in described.lower()
        if argument.arg in INPUTS and _is_none(default) and not optional:
            yield argument.arg


def _needed(tree: ast.AST, name: str) -> bool:
    """Whether None would not do: it is never asked about, or is refused at once."""
    asked = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == name and _is_none(node.comparators[0])
    ]
    refused = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == f"{name} is None"
    ]
    return not asked or _measured(tree, name) or any(isinstance(node.body[0], ast.Raise) for node in refused)


def _measured(tree: ast.AST, name: str) -> bool:
    """Whether its size is looked at whatever comes."""
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    plain = [statement for statement in function.body if isinstance(statement, ast.Assign)]
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == f"{name}.size"
        for each in plain
        for node in ast.walk(each)
    )


def _targets(node: ast.Assign) -> Iterator[str]:
    return (name for target in node.targets for name in _names(target))


def takes(pipeline: type, name: str) -> bool:
    """Whether an argument is in a class's signature, and is not ignored there."""
    uses = told(pipeline).uses
    return name in keywords_of(pipeline.__call__) and (uses is None or name in uses)


def _names(node: ast.AST) -> list[str]:
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def _is_none(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
