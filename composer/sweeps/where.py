"""`sweep.where`: a condition on a job's values, such as `steps < 20 or scheduler == euler`. Nothing in it is ever
executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from composer.errors import ComposerError

KEY = "sweep.where"
MOST = 2000
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many, ast.NotIn: lambda one, many: one not in many,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Mod: operator.mod,
}  # fmt: skip


class Condition:
    """Comparisons joined by and, or, not; keys, numbers, texts, lists, and + − * / % between numbers.

    A word that is no key is a text, so that `scheduler == euler` needs no quotes.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.tree = ast.parse(text.strip(), mode="eval").body if len(text) <= MOST else None
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            self.tree = None
        if self.tree is None:
            raise ComposerError(KEY, text, "is no condition: write it like `steps < 20 or scheduler == euler`")

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Whether a job with these values, by dotted key, is wanted."""
        try:
            return bool(self._value(self.tree, values))
        except (TypeError, ZeroDivisionError, RecursionError) as error:
            raise ComposerError(KEY, self.text, f"can't be told for some jobs: {error}") from None

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.BoolOp(op=ast.And()):
                return all(self._value(each, values) for each in node.values)
            case ast.BoolOp():
                return any(self._value(each, values) for each in node.values)
            case ast.UnaryOp(op=ast.Not()):
                return not self._value(node.operand, values)
            case ast.UnaryOp(op=ast.USub()):
                return -self._number(node.operand, values)
            case ast.Compare():
                return self._compared(node, values)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return _ARITHMETIC[type(node.op)](self._number(node.left, values), self._number(node.right, values))
            case ast.List() | ast.Tuple():
                return [self._value(each, values) for each in node.elts]
            case ast.Constant() if isinstance(node.value, (bool, int, float, str, type(None))):
                return node.value
            case ast.Name() | ast.Attribute():
                word = ast.unparse(node)
                return values.get(word, {"true": True, "false": False, "null": None}.get(word, word))
        raise ComposerError(
            KEY, self.text, f"`{ast.unparse(node)}` has no place in a condition: use keys, values, and comparisons"
        )

    def _compared(self, node: ast.Compare, values: Mapping[str, Any]) -> bool:
        sides = [self._value(each, values) for each in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:])
        if any(type(op) not in _COMPARE for op in node.ops):
            raise ComposerError(KEY, self.text, "compares by ==, !=, <, <=, >, >=, in and not in")
        return all(_COMPARE[type(op)](one, other) for op, one, other in pairs)

    def _number(self, node: ast.AST, values: Mapping[str, Any]) -> float:
        value = self._value(node, values)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ComposerError(KEY, self.text, f"`{ast.unparse(node)}` is no number here, but {value!r}")
        return value
