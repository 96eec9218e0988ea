"""Every promise names tests that there are; `python tests/promises.py` runs them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from promises import PROMISES


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.row)
def test_its_tests_are_there(promise):
    for test in promise.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((Path(__file__).parent / file).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_all_rows_are_there():
    rows = {"A": 16, "B": 9, "C": 8, "E": 8}
    assert [promise.row for promise in PROMISES] == [
        f"{letter}{n}" for letter, most in rows.items() for n in range(1, most + 1)
    ]
