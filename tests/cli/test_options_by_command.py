"""Each option generates by the console command, which defers imports, what it generates from Python."""

from __future__ import annotations

import pytest
from option_runs import images_of_command, more_sources, options, suited

from composer import compose
from composer.errors import ComposerError

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]  # a process each


@pytest.fixture(scope="module")
def sources(checkpoints, tmp_path_factory):
    return {**checkpoints, **more_sources(tmp_path_factory.mktemp("more"))}


@pytest.mark.parametrize("option", [name for name in options() if not name.startswith(("output/", "device/"))])
def test_the_command_generates_what_python_does(sources, option, tmp_path):
    result = suited(option, "native", sources)
    if isinstance(result, ComposerError):
        pytest.skip(str(result))
    words = result[1]
    here = [image.tobytes() for image in compose(*words).images]
    assert here and images_of_command(words, tmp_path / "images") == here
