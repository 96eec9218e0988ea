"""Every command in the README is run as it stands. What needs a hub is composed and checked, not downloaded."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from composer.api import compose_config
from composer.config import read

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("compose")]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
HUB = ("model=sd15", "model=sdxl", "model=flux", "model=local", "device=cuda")


def test_there_are_commands():
    assert len(COMMANDS) >= 8 and len(PYTHON) >= 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme(compose, command):
    words = shlex.split(command)[1:]
    if any(word.startswith(HUB) for word in words):
        assert read(compose_config([word for word in words if "=" in word]))
        return
    done = compose(*words)
    assert done.code == 0, done.err
    assert done.out and all(line.startswith("compose: note: ") for line in done.err.splitlines())


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_python_of_the_readme(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    made = [value for name, value in names.items() if name in ("result", "CfgCutoff")]
    assert made, "the example makes nothing"
    assert "result" not in names or (tmp_path / "outputs" / "from-python" / "000.png").is_file()


def test_the_table_is_what_the_parity_tests_prove():
    sys.path.insert(0, str(Path(__file__).parent / "parity"))
    import matrix

    assert matrix.table(matrix.DIFFUSION) in README and matrix.table(matrix.FLOW) in README


def test_the_first_two_commands_set_everything_up():
    first, second = BLOCKS[0].strip(), BLOCKS[1].strip()
    assert "pip install -q -c constraints.txt -e ." in first and "compose prompt=" in first and "\n" not in first
    assert "pip install -q -c constraints.txt -e '.[test]'" in second and "pytest" in second and "\n" not in second
