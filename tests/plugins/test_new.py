"""A package of each kind that composer wrote is installed, passes its own tests, and is uninstalled without a trace."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from environment import Environment
from test_installed import PYTEST

from composer.cli.plugins.scaffold import KINDS

pytestmark = pytest.mark.slow  # environments and test runs of their own


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("new") / "venv")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_installed_tested_used_and_uninstalled(kind, environment, tmp_path):
    group = KINDS[kind].group
    listed = [["list", group], ["plugins"]]
    before = [environment.compose(*words, cwd=tmp_path).stdout for words in listed]
    assert environment.compose("plugins", "new", "night_sky", "--kind", kind, cwd=tmp_path).returncode == 0
    folder = tmp_path / "composer-night-sky"
    editable = ["-e"] if find_spec("editables") else []  # hatchling needs it, and isolation would fetch it
    environment.pip("install", "--quiet", "--no-deps", "--no-build-isolation", *editable, str(folder))

    tests = environment.run(*PYTEST, cwd=folder)
    assert tests.returncode == 0 and " passed" in tests.stdout, tests.stdout[-2000:]
    during = [environment.compose(*words, cwd=tmp_path).stdout for words in listed]
    assert "night_sky" in during[0] and "composer-night-sky 0.1.0)  loads" in during[1]
    used = {
        "callback": ["callbacks=[progress,night_sky]"],
        "task": ["task=night_sky", "noise=1.05"],
        "guidance": ["guidance=night_sky", "guidance.last=2"],
        "option": ["accel=[night_sky]"],
        "tool": ["recipe=night_sky"],
    }
    if kind in used:
        plain, changed = (
            environment.compose(*words, "steps=3", f"output.folder={name}", cwd=tmp_path)
            for name, words in (("plain", []), ("changed", used[kind]))
        )
        assert plain.returncode == changed.returncode == 0, changed.stderr
        assert (tmp_path / "plain" / "000.png").read_bytes() != (tmp_path / "changed" / "000.png").read_bytes()

    environment.pip("uninstall", "--quiet", "--yes", "composer-night-sky")
    assert [environment.compose(*words, cwd=tmp_path).stdout for words in listed] == before
    if kind in used:
        gone = environment.compose(*used[kind], cwd=tmp_path)
        assert gone.returncode == 2 and "there is no such option" in gone.stderr
    assert not [
        path for path in Path(environment.python).parents[1].rglob("*night_sky*") if "__pycache__" not in path.parts
    ]
