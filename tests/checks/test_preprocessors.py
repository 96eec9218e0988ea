"""Preprocessors by name, and those that a plugin brings by an entry point."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from PIL import Image

from composer.checks import preprocessors
from composer.config import plugins
from composer.errors import ComposerError

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("name", [name for name in preprocessors.OWN if name != "depth"])
def test_each_of_composers_own_loads_and_runs_with_its_defaults(name):
    preprocessors.check_preprocessor("control", name, {})
    image = Image.new("RGB", (32, 16), "red")
    assert preprocessors.load_preprocessor(name)(image).size == (32, 16)


class Point:
    """What `importlib.metadata` returns of a plugin's pyproject.toml."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value


def test_a_plugin_brings_one(monkeypatch):
    module = ModuleType("composer_edges")
    module.halve = lambda image, factor=2: image.point(lambda value: value // factor)
    monkeypatch.setitem(sys.modules, "composer_edges", module)
    plugin = plugins.Plugin("edges", "composer-edges", "1.0", "composer_edges", None)
    points = [
        Point("halve", "composer_edges:halve"),
        Point("canny", "composer_edges:halve"),
        Point("far", "elsewhere:x"),
    ]
    monkeypatch.setattr(preprocessors, "entry_points", lambda group: points if group == preprocessors.GROUP else [])
    monkeypatch.setattr(plugins, "everything", lambda: (plugin,))
    known = preprocessors.preprocessors()
    assert known["halve"] == "composer_edges:halve" and known["canny"].startswith("composer.") and "far" not in known
    preprocessors.check_preprocessor("control", "halve", {"factor": 4})
    assert preprocessors.load_preprocessor("halve")(Image.new("RGB", (2, 2), "white")).getpixel((0, 0))[0] == 127
    with pytest.raises(ComposerError, match="halve has no such setting"):
        preprocessors.check_preprocessor("control", "halve", {"faktor": 4})
    monkeypatch.setenv(plugins.VARIABLE, "")
    assert "halve" not in preprocessors.preprocessors()
