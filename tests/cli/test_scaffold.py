"""`compose plugins new NAME --kind KIND` writes a complete package of each kind; wrong names and kinds are refused."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

import composer
from composer.cli.plugins.scaffold import KINDS, create
from composer.config.search_path import describe
from composer.errors import ComposerError

pytestmark = pytest.mark.quick
#: Kind → the file of its option, and the module that its class is in.
OPTIONS = {
    "callback": ("callbacks", "composer_night_sky"),
    "task": ("task", "composer_night_sky"),
    "guidance": ("guidance", "composer_night_sky"),
    "option": ("accel", "composer_night_sky"),
    "metric": ("metric", "composer_night_sky"),
    "tool": ("tool", "composer_night_sky"),
    "family": ("model", "composer_night_sky.model"),
}


def test_every_kind_is_covered():
    assert set(OPTIONS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_a_complete_package(kind, tmp_path):
    """Files with the name filled in, code that compiles, an option file, tests, a licence, and its entry points."""
    folder = create("night_sky", tmp_path, kind)
    assert folder == tmp_path / "composer-night-sky"
    texts = {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }
    group, module = OPTIONS[kind]
    option = f"composer_night_sky/conf/{group}/night_sky.yaml"
    assert {"pyproject.toml", "README.md", "LICENSE", option, "tests/test_night_sky.py"} <= set(texts)
    assert not [name for name, text in texts.items() if "NAME" in name or re.search("<<|>>", text) or not text]
    assert describe(folder / option) and yaml.safe_load(texts[option])

    project = texts["pyproject.toml"]
    assert 'name = "composer-night-sky"' in project and KINDS[kind].what in project
    points = dict(re.findall(r'^\[project.entry-points."(.*)"\]\nnight_sky = "(.*)"$', project, re.MULTILINE))
    families = {"composer.families": "composer_night_sky.info:INFO"} if kind == "family" else {}
    assert points == {"composer.plugins": "composer_night_sky"} | families

    modules = {name: ast.parse(text) for name, text in texts.items() if name.endswith(".py")}
    home = module.replace(".", "/") + (".py" if "." in module else "/__init__.py")
    assert "NightSky" in {node.name for node in modules[home].body if isinstance(node, ast.ClassDef)}
    for name, tree in modules.items():
        assert ast.get_docstring(tree) or name.startswith("tests/"), f"{name} has no docstring"
    assert max(len(line) for text in texts.values() for line in text.splitlines()) <= 140


@pytest.mark.parametrize("kind", KINDS)
def test_it_imports_public_names_only(kind, tmp_path):
    folder = create("night_sky", tmp_path, kind)
    for file in folder.rglob("*.py"):
        imports = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        for node in imports:
            if node.module == "composer":
                assert {name.name for name in node.names} <= set(composer.__all__), file
            elif str(node.module).startswith("composer."):
                assert str(node.module).startswith("composer.testing") and "tests" in file.parts, file


@pytest.mark.parametrize(
    ("name", "kind", "key", "reason"),
    [
        ("night_sky", "calback", "--kind", "Did you mean callback?"),
        ("Night", "task", "plugins new", "must be lower-case letters"),
        ("preview", "callback", "plugins new", "callbacks=preview is there already"),
        ("img2img", "task", "plugins new", "task=img2img is there already"),
        ("cfg", "guidance", "plugins new", "guidance=cfg is there already"),
        ("deepcache", "option", "plugins new", "accel=deepcache is there already"),
        ("distance", "metric", "plugins new", "metric=distance is there already"),
        ("resize", "tool", "plugins new", "tool=resize is there already"),
        ("hires", "tool", "plugins new", "recipe=hires is there already"),
        ("tiny", "family", "plugins new", "model=tiny is there already"),
        ("sdxl", "family", "plugins new", "is there already"),
        ("ddpm", "family", "plugins new", "is there already"),
    ],
)
def test_wrong_names_and_kinds_are_refused(name, kind, key, reason, tmp_path):
    with pytest.raises(ComposerError) as error:
        create(name, tmp_path, kind)
    assert error.value.key == key and reason in error.value.reason
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_touched(tmp_path):
    folder = create("night_sky", tmp_path, "task")
    before = (folder / "README.md").read_text("utf-8")
    with pytest.raises(ComposerError, match="is there already"):
        create("night_sky", tmp_path, "guidance")
    assert (folder / "README.md").read_text("utf-8") == before


def test_the_command_takes_the_kind_as_a_flag(compose):
    done = compose("plugins", "new", "night_sky", "--kind", "guidance")
    assert done.code == 0 and "`compose guidance=night_sky`" in done.out
    assert Path("composer-night-sky/composer_night_sky/conf/guidance/night_sky.yaml").is_file()
    wrong = compose("plugins", "new", "night_sky", "--kind=gidance")
    assert wrong.code == 2 and wrong.err.count("\n") == 1 and "Did you mean guidance?" in wrong.err
    for words in (("new",), ("new", "a", "b"), ("new", "a", "kind=task", "kind=option"), ("old", "a")):
        refused = compose("plugins", *words)
        assert refused.code == 2 and "--kind callback|task|guidance|option|metric|tool|family" in refused.err, words
