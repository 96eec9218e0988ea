"""``sweep.where``: a condition on a job's values, such as ``steps < 20 or scheduler == euler``.

The text is parsed to an AST and interpreted; no part of it is ever executed as Python.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from composer.errors import ComposerError
from composer.system.constraints import fits

KEY = "sweep.where"
#: Longer conditions are rejected unread.
MAX_CHARACTERS = 2000
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda item, items: item in items, ast.NotIn: lambda item, items: item not in items,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}  # fmt: skip


class Condition:
    """A parsed condition: comparisons of keys, numbers, texts and lists, joined by ``and``, ``or``, ``not``.

    Numbers may be combined by ``+ - * / %``. A word that is no key is a text, so ``scheduler == euler`` needs no
    quotes.

    Args:
        text: The condition as typed.

    Raises:
        ComposerError: The text is too long, or has no valid syntax.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = ast.parse(text.strip(), mode="eval").body if len(text) <= MAX_CHARACTERS else None
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            tree = None
        if tree is None:
            raise ComposerError(KEY, text, "is no condition: write it like `steps < 20 or scheduler == euler`")
        self.tree: ast.expr = tree

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Evaluate the condition for one job.

        Args:
            values: Values of the job by dotted key.

        Returns:
            Whether the job meets the condition.

        Raises:
            ComposerError: The condition compares values of different types, or contains what no condition may.
        """
        try:
            return bool(self._value(self.tree, values))
        except (TypeError, ZeroDivisionError, RecursionError) as error:
            raise ComposerError(KEY, self.text, f"can't be evaluated for some jobs: {error}") from None

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.BoolOp(op=ast.And()):
                return all(self._value(operand, values) for operand in node.values)
            case ast.BoolOp():
                return any(self._value(operand, values) for operand in node.values)
            case ast.UnaryOp(op=ast.Not()):
                return not self._value(node.operand, values)
            case ast.UnaryOp(op=ast.USub()):
                return -self._number(node.operand, values)
            case ast.Compare():
                return self._compare(node, values)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return _ARITHMETIC[type(node.op)](self._number(node.left, values), self._number(node.right, values))
            case ast.List() | ast.Tuple():
                return [self._value(element, values) for element in node.elts]
            case ast.Constant() if isinstance(node.value, (bool, int, float, str, type(None))):
                return node.value
            case ast.Name() | ast.Attribute():
                word = ast.unparse(node)
                return values.get(word, {"true": True, "false": False, "null": None}.get(word, word))
        raise ComposerError(
            KEY, self.text, f"`{ast.unparse(node)}` is not allowed in a condition: use keys, values, and comparisons"
        )

    def _compare(self, node: ast.Compare, values: Mapping[str, Any]) -> bool:
        sides = [self._value(side, values) for side in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:])
        if any(type(op) not in _COMPARE for op in node.ops):
            raise ComposerError(KEY, self.text, "compares by ==, !=, <, <=, >, >=, in and not in")
        return all(_COMPARE[type(op)](left, right) for op, left, right in pairs)

    def _number(self, node: ast.AST, values: Mapping[str, Any]) -> float:
        value = self._value(node, values)
        if not fits(value, float):
            raise ComposerError(KEY, self.text, f"`{ast.unparse(node)}` is no number here, but {value!r}")
        return value
