"""The kit runs a callback on every family: here two that differ most and the one without text, the others with `-m slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

OFTEN = ("sd", "flux", "ddpm")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    here = [item for item in items if item.path.parent == Path(__file__).parent and hasattr(item, "callspec")]
    for item in here:
        if item.callspec.params.get("family", OFTEN[0]) not in OFTEN:
            item.add_marker(pytest.mark.slow)
