"""Each family of flow transformers passes the conformance tests of families."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from zoo import ZOO

from composer.testing.conformance import FamilyTests

sys.path.append(str(Path(__file__).parents[1] / "parity"))
from flow_cases import FLOW_FAMILIES, SIDE

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


def kit(name: str) -> type[FamilyTests]:
    """The conformance tests of a family, on its tiny pipeline."""
    members = {
        "info": f"composer.families.{FLOW_FAMILIES[name].family or name}.info:INFO",
        "side": SIDE,
        "make": lambda self: ZOO[FLOW_FAMILIES[name].zoo].make(),
    }
    return type(f"Test{name.title().replace('_', '')}", (FamilyTests,), members)


for _name in (name for name, case in FLOW_FAMILIES.items() if case.text2img):
    globals()[kit(_name).__name__] = kit(_name)
