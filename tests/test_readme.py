"""Every command of the README is run as it stands; commands that need a hub are composed and not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks_of, check_overrides, commands_of, words_of
from tiers import slow_but

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks_of("README.md")
COMMANDS = [
    command
    for block in BLOCKS
    if block.language == "bash"
    for command in commands_of(block.text)
    if command.startswith("compose")
]
PYTHON = [block.text for block in BLOCKS if block.language == "python"]
HUB = ("model=sd", "model=flux", "model=local", "device=cuda")
#: Commands that generate many images, or that others stand for.
SLOW = ("-m scheduler", "-m steps", "preset=fast", "images=4", "callbacks=")
FOLDER = "output.folder=outputs/mine"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One directory for all commands, in the order of the page, as a reader types them."""
    return tmp_path_factory.mktemp("readme")


def test_the_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_the_readme_shows_an_image_before_any_text_of_length():
    image = README.index("![")
    assert image < 400 and all((ROOT / name).is_file() for name in _images())


def test_there_are_ten_commands_and_two_examples_of_python():
    assert len(COMMANDS) >= 10 and len(PYTHON) == 2 and any(FOLDER in command for command in COMMANDS)


@pytest.mark.parametrize("command", slow_but(lambda line: not any(words in line for words in SLOW), COMMANDS))
def test_a_command_of_the_readme(compose, folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    words = words_of(command)
    if any(word.startswith(HUB) for word in words):
        check_overrides(words)
        return
    if "outputs/mine/" in command and not Path("outputs/mine").exists():  # another process may have run that one
        assert compose(FOLDER).code == 0
    done = compose(*words)
    assert done.code == 0, done.err
    assert done.out and all(line.startswith("compose: ") for line in done.err.splitlines())


@pytest.mark.parametrize("code", PYTHON, ids=["six_lines", "callback"])
def test_python_of_the_readme(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].image.size == (128, 128)
    assert (tmp_path / "outputs" / "from-python" / "000.png").is_file() == ("result.save" in code)


def test_the_first_two_commands_set_everything_up():
    first, second = BLOCKS[0].text.strip(), BLOCKS[1].text.strip()
    assert "pip install -q -c constraints.txt -e ." in first and "compose prompt=" in first and "\n" not in first
    assert "pip install -q -c constraints.txt -e '.[test]'" in second and "pytest" in second and "\n" not in second
    assert second in (ROOT / ".ci/run").read_text("utf-8")


def _images() -> list[str]:
    return [line.partition("](")[2].rstrip(")") for line in README.splitlines() if line.startswith("![")]
