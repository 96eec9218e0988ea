"""Every command in the README is run as it stands. What needs a hub is composed and checked, not downloaded."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tiers import slow_but

from composer.config.compose import compose_config
from composer.config.read import read

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("compose")]
#: What makes a folder ready for the lines after it.
SETUP = [line for block in BLOCKS for line in block.splitlines() if line.startswith(("mkdir ", "printf "))]
COMMANDS = [line for line in LINES if "--warm" not in line]
RESIDENT = [line for line in LINES if "--warm" in line]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
HUB = ("model=sd15", "model=sdxl", "model=flux", "model=local", "device=cuda")
#: Lines that generate dozens of images.
SLOW = (
    "scheduler=euler,ddim,heun steps=10,20",
    "images=12 batch=4",
    "preset=baseline,half,fast",
    "steps=5,10,20",
    "images=8 memory=auto",
)
#: Lines that write what a later line reads, by the folder that both name.
WRITERS = {place: line for line in COMMANDS for place in re.findall(r"output\.folder=(\S+)", line)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all lines, in the order of the page, as a reader types them."""
    place = tmp_path_factory.mktemp("readme")
    for line in SETUP:
        subprocess.run(["sh", "-c", line], cwd=place, check=True)
    return place


def test_there_are_commands():
    assert len(COMMANDS) >= 8 and len(PYTHON) >= 2 and RESIDENT and SETUP and WRITERS


@pytest.mark.parametrize("command", slow_but(lambda line: not any(words in line for words in SLOW), COMMANDS))
def test_a_command_of_the_readme(compose, folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    words = shlex.split(command)[1:]
    if any(word.startswith(HUB) for word in words):
        assert read(compose_config([word for word in words if "=" in word]))
        return
    for (
        place,
        writer,
    ) in WRITERS.items():  # where lines are shared out among processes, the line before may have run elsewhere
        if f"{place}/" in command and not Path(place).exists():
            assert compose(*shlex.split(writer)[1:]).code == 0
    done = compose(*words)
    assert done.code == 0, done.err
    assert done.out and all(line.startswith("compose: ") for line in done.err.splitlines())


@pytest.mark.slow  # processes; tests/warm does the same
@pytest.mark.skipif(os.name == "nt", reason="no Unix sockets")
@pytest.mark.parametrize("command", RESIDENT)
def test_a_command_for_the_resident_process(tmp_path, command):
    with tempfile.TemporaryDirectory() as short:
        place = {"cwd": tmp_path, "env": {**os.environ, "XDG_RUNTIME_DIR": short}, "capture_output": True, "text": True}
        done = subprocess.run([sys.executable, "-m", "composer", *shlex.split(command)[1:]], **place)
        subprocess.run([sys.executable, "-m", "composer", "warm", "stop"], **place)
    assert done.returncode == 0 and "000.png" in done.stdout and not done.stderr, done


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_python_of_the_readme(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    made = [value for name, value in names.items() if name in ("result", "CfgCutoff")]
    assert made, "the example makes nothing"
    assert "result" not in names or (tmp_path / "outputs" / "from-python" / "000.png").is_file()


def test_python_of_its_page(tmp_path, monkeypatch, capsys):
    """All blocks of docs/python.md, in their order and in one folder."""
    page = (Path(__file__).parent.parent / "docs/python.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    exec(
        compile(
            "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)), "docs/python.md", "exec"
        ),
        names,
    )
    assert "bit for bit" in names["again"].notes[-1] and len(names["swept"].jobs) == 4 and not names["swept"].failed


def test_the_table_is_what_the_parity_tests_prove():
    sys.path.insert(0, str(Path(__file__).parent / "parity"))
    import matrix

    assert matrix.table(matrix.DIFFUSION) in README and matrix.table(matrix.FLOW) in README


def test_the_first_two_commands_set_everything_up():
    first, second = BLOCKS[0].strip(), BLOCKS[1].strip()
    assert "pip install -q -c constraints.txt -e ." in first and "compose prompt=" in first and "\n" not in first
    assert "pip install -q -c constraints.txt -e '.[test]'" in second and "pytest" in second and "\n" not in second
