"""`--json`: each command prints one object in one line, as docs/json.md says, or refuses; errors are objects too."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from training_data import write_images

from composer.config.commands import COMMANDS
from composer.system import console

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(compose [^`]+)` \| (.*) \|$", PAGE, re.MULTILINE)
#: Keys before a parenthesis are those of the object itself.
KEYS = {command: re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)|:.*", "", text)) for command, text in ROWS}
SLOW = ("compose doctor", "compose -m", "compose schema", "compose train")  # these compile, import all classes, train
FREE = (
    "compose config steps=2",
    "compose doctor",
    "compose plugins",
    "compose resume DIR",
    "compose schema",
)  # keys of theirs are settings, names of packages, words
REFUSED = ("completion bash", "mcp", "--cfg job", "-c job")


def outcome(compose, *words: str) -> dict:
    done = compose(*words, "--json")
    assert done.out.count("\n") == 1, done.out
    return {"code": done.code, **json.loads(done.out)}


def names(node: object) -> set[str]:
    """Keys of an object and of all in it."""
    if isinstance(node, list):
        return set().union(*map(names, node))
    return set(node).union(*map(names, node.values())) if isinstance(node, dict) else set()


def test_the_page_has_a_row_for_every_command():
    documented = {word for command, _ in ROWS for word in shlex.split(command)}
    assert set(COMMANDS) - documented <= {"completion", "mcp"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if command.startswith(SLOW) else ())
        for command in KEYS
        if command != "compose serve"  # runs until it is stopped: see tests/server
    ],
)
def test_a_command_prints_what_the_page_says(compose, command, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path_factory.mktemp("cache")))
    if "out/000.png" in command:
        assert compose("steps=1", "output.folder=out").code == 0
    elif "DIR" in command:
        assert compose("-m", "steps=1", "sweep.name=s").code == 0
    elif "data=images" in command:
        write_images(Path("images"))
    words = shlex.split(command.replace("DIR", "outputs/sweeps/s"))[1:]
    result = outcome(compose, *words)
    assert result.pop("code") == 0 and set(KEYS[command]) <= set(result)
    if command not in FREE:
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in result), "a key is a name and no sentence"


@pytest.mark.parametrize("words", REFUSED)
def test_a_command_without_json_refuses_it(compose, words):
    result = outcome(compose, *words.split())
    assert result["code"] == result["exit_code"] == 2 and "--json" in (result["key"], *result["reason"].split())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["steps=0"], {"key": "steps", "value": 0, "allowed": [], "exit_code": 2}),
        (["scheduler=eulr"], {"key": "scheduler", "value": "eulr", "exit_code": 2}),
        (["precision=float16"], {"key": "precision", "value": "float16", "exit_code": 2}),
        (["--steps", "20"], {"key": "--steps", "value": None, "exit_code": 2}),
        (["a cat"], {"key": "a cat", "value": None, "exit_code": 2}),
        (["list", "nothing"], {"key": "list", "value": "nothing", "exit_code": 2}),
        (["show", "task=nothing"], {"key": "task", "value": "nothing", "exit_code": 2}),
        (["check", "scheduler=flow_euler"], {"key": "scheduler", "value": "flow_euler", "exit_code": 2}),
        (["config", "stepz=3"], {"key": "stepz", "value": "3", "exit_code": 2}),
        (["info", "gone.png"], {"exit_code": 2}),
        (["rerun", "gone.png"], {"exit_code": 2}),
        (["resume", "nowhere"], {"exit_code": 2}),
        (["cache", "nothing"], {"key": "cache", "value": "nothing", "exit_code": 2}),
        (["plugins", "old"], {"key": "plugins", "value": "old", "exit_code": 2}),
        (["-m", "steps=0,0"], {"key": "steps", "value": 0, "exit_code": 2}),
        (["--config-dir", "nowhere"], {"key": "--config-dir", "value": "nowhere", "exit_code": 2}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_object(compose, words, error):
    result = outcome(compose, *words)
    assert result.pop("code") == result["exit_code"]
    assert set(result) == {"key", "value", "reason", "allowed", "exit_code"} and result["reason"]
    assert {key: result[key] for key in error} == error


#: Command → words that it refuses; every command has some.
MISTAKES = {
    "list": "nothing", "show": "steps=0", "plugins": "old", "plan": "-m sweep.limit=0", "resume": "nowhere",
    "status": "nowhere", "models": "rm", "outputs": "rm",
    "clean": "older=soon", "cache": "nothing", "warm": "nothing", "check": "steps=x", "config": "stepz=3",
    "schema": "steps=3", "doctor": "steps=3", "serve": "nothing=1", "completion": "csh", "rerun": "gone.png",
    "info": "gone.png", "mcp": "nothing=1", "train": "lora data=nowhere",
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reports_its_error_as_one_object(compose, command):
    result = outcome(compose, command, *MISTAKES[command].split())
    assert result["code"] == result["exit_code"] == 2
    assert set(result) == {"code", "key", "value", "reason", "allowed", "exit_code"} and result["reason"]


def test_an_error_of_another_kind_is_one_object_too(capsys):
    console.set_output_mode(False, True)
    try:
        assert console.report_error("OSError: gone", 1) == 1
    finally:
        console.set_output_mode(False, False)
    text = capsys.readouterr()
    assert json.loads(text.out) == {
        "key": None,
        "value": None,
        "reason": "OSError: gone",
        "allowed": [],
        "exit_code": 1,
    }
    assert text.err == "compose: OSError: gone\n"
