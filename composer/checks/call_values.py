"""Values that a pipeline class computes at the start of its call, such as its default size, found without weights.

Assignments and conditions in diffusers' source text are followed with a skeleton of the pipeline in place of `self`.
Whatever needs a function call, or an input that only a run has, is unknown.
"""

from __future__ import annotations

import ast
import inspect
import operator
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Final

#: Operators of Python's syntax → functions.
_OPERATIONS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.Is: operator.is_,
    ast.IsNot: operator.is_not, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Gt: operator.gt, ast.Lt: operator.lt,
    ast.GtE: operator.ge, ast.LtE: operator.le,
}  # fmt: skip


class _Unknown:
    """A value that only a run can compute."""


UNKNOWN: Final = _Unknown()


@lru_cache(maxsize=256)
def function_tree(function: Callable[..., Any]) -> ast.FunctionDef | None:
    """Parse the source text of a function.

    Args:
        function: A function or method; decorators are removed.

    Returns:
        Its definition; None where the source is not available.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return None
    return next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)


def local_values(
    function: Callable[..., Any], known: Mapping[str, Any], requested: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Follow a function's assignments as far as they can be computed.

    Args:
        function: A function or method.
        known: Values of names, such as `self`; arguments that are not among them have their defaults.
        requested: Names of which the first value that is not None is returned.

    Returns:
        Name → first value of the requested ones, `UNKNOWN` where it depends on the run; and all names at the end.
    """
    tree = function_tree(function)
    if tree is None:
        return {}, dict(known)
    parameters = inspect.signature(function).parameters.values()
    defaults = {entry.name: UNKNOWN if entry.default is entry.empty else entry.default for entry in parameters}
    names = {**defaults, **known}
    first = {name: names[name] for name in requested if names.get(name) is not None}
    for statement in tree.body:  # a value is complete at the end of the statement in which it begins, such as an `if`
        _follow([statement], names)
        for name in requested:
            if names.get(name) is not None:
                first.setdefault(name, names[name])
    return first, names


def divisors(function: Callable[..., Any], known: Mapping[str, Any], names: Collection[str]) -> list[int]:
    """Find what a function divides some of its arguments by, with `%` or `//`.

    Args:
        function: A function or method.
        known: Values of names, such as `self`.
        names: The arguments.

    Returns:
        The divisors that can be computed, each at least 1.
    """
    tree = function_tree(function)
    _, values = local_values(function, known)
    values_found = []
    for node in ast.walk(tree) if tree else ():
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.FloorDiv))):
            continue
        if _is_argument(node.left, names):
            values_found.append(evaluate(node.right, values))
    return [value for value in values_found if isinstance(value, int) and value > 0]


def evaluate(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    """Compute an expression of diffusers' source text, as far as it only reads and calculates.

    Args:
        node: The expression; None for one that is unknown.
        names: Values of names.

    Returns:
        Its value; `UNKNOWN` for a function call, an unknown name or a missing attribute.
    """
    try:
        return _compute(node, names)
    except Exception:  # an attribute that only a model with weights has, or an operation on an unknown type
        return UNKNOWN


def _compute(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id, UNKNOWN)
    if isinstance(node, ast.BoolOp):
        return _evaluate_in_turn(node, names)
    if isinstance(node, ast.IfExp):
        test = evaluate(node.test, names)
        return UNKNOWN if test is UNKNOWN else evaluate(node.body if test else node.orelse, names)
    operation, operands = _operation(node)
    values = [evaluate(operand, names) for operand in operands]
    return UNKNOWN if operation is None or any(value is UNKNOWN for value in values) else operation(*values)


def _operation(node: ast.expr | None) -> tuple[Callable[..., Any] | None, list[ast.expr]]:
    """The function of an expression, and its operands; None for a function that is not among those below."""
    if isinstance(node, ast.Attribute):
        return partial(_attribute, name=node.attr), [node.value]
    if isinstance(node, ast.Subscript):
        return operator.getitem, [node.value, node.slice]
    if isinstance(node, ast.BinOp):
        return _OPERATIONS.get(type(node.op)), [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return operator.not_, [node.operand]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _OPERATIONS.get(type(node.ops[0])), [node.left, *node.comparators]
    return None, []


def _attribute(value: Any, name: str) -> Any:
    config = getattr(value, "config", None)
    if isinstance(config, Mapping) and name in config and name not in vars(value) and not hasattr(type(value), name):
        return config[name]  # diffusers warns of settings that are read as attributes of a model
    return getattr(value, name)


def _evaluate_in_turn(node: ast.BoolOp, names: Mapping[str, Any]) -> Any:
    """Compute `and` or `or`: a part that is certain to decide does so, whatever the unknown ones are."""
    is_and, value, unknown = isinstance(node.op, ast.And), None, False
    for part in node.values:
        value = evaluate(part, names)
        if value is UNKNOWN:
            unknown = True
        elif bool(value) is not is_and:
            return UNKNOWN if unknown and not is_and else value
    return UNKNOWN if unknown else value


def _follow(body: list[ast.stmt], names: dict[str, Any]) -> None:
    """Keep the values that statements assign in `names`."""
    for statement in body:
        if isinstance(statement, ast.Assign):
            names.update({target: evaluate(node, names) for target, node in _pairs(statement)})
        elif isinstance(statement, ast.If):
            test = evaluate(statement.test, names)
            if test is UNKNOWN:
                _forget(statement, names)
            else:
                _follow(statement.body if test else statement.orelse, names)
        elif isinstance(statement, (ast.AugAssign, ast.For, ast.While, ast.With, ast.Try)):
            _forget(statement, names)


def _forget(statement: ast.stmt, names: dict[str, Any]) -> None:
    """Make all names unknown that a statement may assign."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = UNKNOWN


def _pairs(statement: ast.Assign) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield names with the expressions that they get; None where one is an element of something."""
    for target in statement.targets:
        if isinstance(target, ast.Name):
            yield target.id, statement.value
        elif isinstance(target, ast.Tuple):
            values = statement.value.elts if isinstance(statement.value, ast.Tuple) else [None] * len(target.elts)
            pairs = zip(target.elts, values)
            yield from ((element.id, value) for element, value in pairs if isinstance(element, ast.Name))


def _is_argument(node: ast.expr, names: Collection[str]) -> bool:
    """Whether an expression is a name, or `int(name)`."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and ast.unparse(node.func) == "int":
        node = node.args[0]
    return isinstance(node, ast.Name) and node.id in names
