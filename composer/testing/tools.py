"""Conformance tests of tools: inherit `ToolTests` and create the tool.

from composer.testing.conformance import ToolTests

class TestMirror(ToolTests):
    def make(self):
        return Mirror()
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import yaml
from PIL import Image

from composer.config.keys import PROMPTS
from composer.config.search_path import describe
from composer.images.reading import read_image
from composer.recipes.run import MODES
from composer.system.signatures import keywords_of
from composer.tools.base import Tool

#: Width and height of the images that a tool is given.
SIZES = ((64, 48), (17, 33))
#: The text that a tool is given.
PROMPT = "a red cone"


class ToolTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        option: Its option file, if it is to be checked.
    """

    option: ClassVar[Path | None] = None

    def make(self) -> Tool:
        """Create the tool.

        Returns:
            A new tool.
        """
        raise NotImplementedError(f"{type(self).__name__} does not create its tool")

    def test_it_makes_what_it_declares(self) -> None:
        """The result is of the declared kind, mode and size."""
        for size in SIZES:
            result = self._run(self.make(), size)
            if self.make().makes == "text":
                assert isinstance(result, str) and result
                continue
            assert isinstance(result, Image.Image) and result.mode in MODES
            assert self.make().size(*size) in (None, result.size), f"size{size} is not that of the result"

    def test_it_checks_itself_without_a_run(self) -> None:
        """The check passes where the run does, and changes neither the result nor the fingerprint."""
        tool = self.make()
        tool.check()
        assert tool.fingerprint() == self.make().fingerprint()
        assert _content(self._run(tool, SIZES[0])) == _content(self._run(self.make(), SIZES[0]))

    def test_it_repeats(self) -> None:
        """The same images give the same result, from the same tool again and from a new one: results are reused."""
        tool = self.make()
        first, again, new = (self._run(one, SIZES[0]) for one in (tool, tool, self.make()))
        assert _content(first) == _content(again) == _content(new)
        assert tool.fingerprint() == self.make().fingerprint()

    def test_it_leaves_its_inputs_as_they_were(self) -> None:
        inputs = _inputs(self.make(), SIZES[0])
        before = {key: _content(value) for key, value in inputs.items()}
        self.make().run(inputs, "cpu")
        assert {key: _content(value) for key, value in inputs.items()} == before

    def test_its_option_file_fits(self) -> None:
        """The file describes the tool, names its class, its inputs, and keywords of its constructor."""
        if self.option is None:
            return
        cls = type(self.make())
        node = yaml.safe_load(self.option.read_text("utf-8"))
        assert describe(self.option), "its first line does not describe it"
        assert node["_target_"] == f"{cls.__module__}.{cls.__qualname__}", "it names another class"
        missing = [key for key in cls.inputs if key not in node]
        assert not missing, f"it has no input {missing}"
        unknown = {key for key in node if not key.startswith("_")} - {*cls.inputs, *keywords_of(cls)}
        assert not unknown, f"the constructor does not take {sorted(unknown)}"
        assert not {*cls.inputs} & {*keywords_of(cls)}, "an input has the name of a setting"

    def _run(self, tool: Tool, size: tuple[int, int]) -> Image.Image | str:
        return tool.run(_inputs(tool, size), "cpu")


def _inputs(tool: Tool, size: tuple[int, int]) -> dict[str, Image.Image | str]:
    image = read_image("image", "sample:scene").resize(size)
    return {key: PROMPT if key in PROMPTS else image.copy() for key in tool.inputs}


def _content(result: Image.Image | str) -> bytes:
    return result.encode() if isinstance(result, str) else result.mode.encode() + result.tobytes()
