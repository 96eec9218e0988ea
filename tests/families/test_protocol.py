"""The class `Family` has all that the rest of composer uses of a family."""

from __future__ import annotations

import ast
from pathlib import Path

import composer
from composer.families.base import Family

ROOT = Path(composer.__file__).parent
OUTSIDE = [file for file in ROOT.rglob("*.py") if not {"families", "testing", "tiny"} & {*file.relative_to(ROOT).parts}]


def used_attributes() -> set[str]:
    """Attributes of what is called `family` in other modules, layouts and texts aside."""
    result = set()
    for file in OUTSIDE:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in (
                "family",
                "self.family",
                "pipeline.family",
            ):
                result.add(node.attr)
    return result


def test_all_that_callers_use_of_a_family_is_in_the_class():
    assert len(used_attributes()) > 10 and not used_attributes() - {*dir(Family), *Family.__annotations__}
