"""The example packages, installed for real: found, used, recorded, and gone again; and what a bad package can't
break.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from environment import ROOT, Environment
from PIL import Image

import composer
from composer.testing.image_files import pixels

OURS = {
    "attention-maps": "attention_maps",
    "regional-prompt": "regional_prompt",
    "metrics-logger": "metrics_logger",
    "pixart": "pixart",
    "match-colours": "match_colours",
}

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(f"composer_{name}") for name in OURS.values()),
    reason="a plugin is installed beside composer",
)


def package(folder: Path, name: str, files: dict[str, str], version: str = "1.0") -> Path:
    """Write a plugin package from its files by relative path."""
    (folder / f"composer_{name}").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "composer-{name}"\nversion = "{version}"\n'
        f'[project.entry-points."composer.plugins"]\n{name} = "composer_{name}"\n'
        f'[tool.hatch.build.targets.wheel]\npackages = ["composer_{name}"]\n'
    )
    for location, text in files.items():
        (folder / f"composer_{name}" / location).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"composer_{name}" / location).write_text(text)
    return folder


PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
CALLBACK = """\
from composer import StepCallback


class Mine(StepCallback):
    def after_step(self, step, latents):
        return latents{}
"""
SCHEDULER = """\
# Euler of its own. https://example.org
_target_: diffusers.EulerDiscreteScheduler
_kind_: diffusion
"""


def option(name: str, key: str) -> str:
    return f"# Mine of {name}.\n{key}:\n  _target_: composer_{name}.Mine\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Environment:
    """The example packages, and four bad ones."""
    root = tmp_path_factory.mktemp("plugins")
    environment = Environment(root / "venv")
    bad = {
        "breaks": {"__init__.py": "raise RuntimeError('broken on purpose')",
            "conf/callbacks/breaks.yaml": option("breaks", "breaks")},
        "exits": {"__init__.py": "import sys; sys.exit(3)", "conf/callbacks/exits.yaml": option("exits", "exits")},
        "one": {
            "__init__.py": CALLBACK.format(""), "conf/callbacks/twice.yaml": option("one", "twice"),
            "conf/callbacks/preview.yaml": option("one", "preview"), "conf/compose.yaml": "nonsense: true",
            "conf/scheduler/mine.yaml": SCHEDULER,
        },
        "two": {"__init__.py": CALLBACK.format(" * float('nan')"), "conf/callbacks/twice.yaml": option("two", "twice"),
                "conf/callbacks/spoils.yaml": option("two", "spoils")},
    }  # fmt: skip
    environment.install(
        *(ROOT / "plugins" / name for name in OURS), *(package(root / name, name, files) for name, files in bad.items())
    )
    return environment


def test_it_generates_with_all_of_them(installed, tmp_path):
    words = (
        "callbacks=[progress,preview,attention_maps,regional_prompt,metrics_logger]",
        "callbacks.regional_prompt.prompt=a blue cube, right",
    )
    done = installed.compose(
        *words, "callbacks.regional_prompt.box=[0.5,0,1,1]", "steps=4", "output.folder=out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    paths = {path.name for path in (tmp_path / "out").iterdir()}
    assert paths == {"000.png", "attention-000.png", "preview-000.webp", "tensorboard", "config.yaml", "run.json"}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    regional = record["callbacks"]["regional_prompt"]
    assert (regional["distribution"], regional["version"]) == ("composer-regional-prompt", "0.1.0")
    assert regional["config"]["box"] == [0.5, 0, 1, 1] and regional["config"]["prompt"] == "a blue cube, right"
    assert (
        record["versions"]["composer-attention-maps"] == "0.1.0"
        and "distribution" not in record["callbacks"]["preview"]
    )


def test_they_are_listed_with_what_they_bring(installed, tmp_path):
    done = installed.compose("plugins", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    blocks = {block.split()[0]: block for block in re.split(r"\n(?=\S)", done.stdout)}
    assert set(blocks) == {*OURS.values(), "breaks", "exits", "one", "two"}
    maps = blocks["attention_maps"]
    assert (
        "(composer-attention-maps 0.1.0)  loads" in maps
        and "callbacks=attention_maps  Where each word" in maps
        and "around, after_decode" in maps
    )
    assert (
        "does not load: RuntimeError: broken on purpose" in blocks["breaks"]
        and "does not load: SystemExit: 3" in blocks["exits"]
    )
    assert (
        "hidden by composer's own option of this name" in blocks["one"]
        and "scheduler=mine  Euler of its own." in blocks["one"]
    )
    assert "model.family=pixart  PixArtAlphaPipeline" in blocks["pixart"] and "task=seed_walk" in blocks["pixart"]
    assert "also offered by composer-two 1.0: neither can be chosen" in blocks["one"]
    assert "attention_maps" in installed.compose("list", "callbacks", cwd=tmp_path).stdout


def test_listing_options_imports_no_plugin(installed, tmp_path):
    code = (
        "import sys; from composer.cli.main import main; main(['list', 'callbacks']); main(['--cfg', 'job'])\n"
        "print([name for name in sys.modules if name.startswith('composer_')])"
    )
    done = installed.run("-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout[-300:]


@pytest.mark.slow  # a process and two runs; what is hidden by an option of composer is listed above
def test_installing_changes_no_run(installed, tmp_path, compose):
    """Composer's own options come first, so a package that brings a `preview` or a compose.yaml replaces nothing."""
    words = ("callbacks=[progress,preview]", "steps=3")
    assert installed.compose(*words, "output.folder=theirs", cwd=tmp_path).returncode == 0
    assert compose(*words, "output.folder=ours").code == 0
    for name in ("000.png", "preview-000.webp"):
        assert pixels(tmp_path / "theirs" / name) == pixels(tmp_path / "ours" / name)


WRONG = [
    (["callbacks=[breaks]"], {}, 2, "can't be imported from composer-breaks 1.0: RuntimeError: broken on purpose"),
    (["callbacks=[exits]"], {}, 2, "can't be imported from composer-exits 1.0: SystemExit: 3"),
    (
        ["callbacks=[twice]"],
        {},
        2,
        "callbacks=twice: composer-one 1.0 and composer-two 1.0 both offer it: uninstall one",
    ),
    (
        ["callbacks=[spoils]"],
        {},
        1,
        "callbacks.spoils: (composer-two 1.0) failed in after_step, step 1/3: returned numbers",
    ),
    (["callbacks=[twice]"], {"COMPOSER_PLUGINS": "one"}, 0, ""),
    ([], {"COMPOSER_PLUGINS": ""}, 0, ""),
    (["callbacks=[attention_maps]"], {"COMPOSER_PLUGINS": ""}, 2, "callbacks=attention_maps: there is no such option."),
    (
        [],
        {"COMPOSER_PLUGINS": "atention_maps"},
        2,
        "COMPOSER_PLUGINS=atention_maps: no such plugin is installed. Did you mean attent",
    ),
    (
        ["task=unconditional", "callbacks=[attention_maps]"],
        {},
        2,
        "callbacks.attention_maps: is for other models than ddpm",
    ),
    (
        ["callbacks=[attention_maps]", "callbacks.attention_maps.words=[dog]"],
        {},
        2,
        "attention_maps.words=dog: is no word of the",
    ),
    (["callbacks=[attention_maps]", "callbacks.attention_maps.word=dog"], {}, 2, "there is no such"),
    (
        ["callbacks=[metrics_logger]", "callbacks.metrics_logger.folder=3"],
        {},
        2,
        "callbacks.metrics_logger.folder=3: must be text or null",
    ),
    (["scheduler=mine", "output.folder=out"], {}, 0, ""),
]


def test_faults_of_a_package_are_reported_in_a_line(installed, tmp_path):
    """And breaks no other run, not even of the same process."""
    ended = installed.compose_each([([*words, "steps=3"], variables) for words, variables, *_ in WRONG], tmp_path)
    for (words, variables, code, message), (item, err) in zip(WRONG, ended):
        assert item == code and message in err, (words, variables, err)
        assert err.count("\n") == (1 if code else 0), (words, err)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["scheduler"]["class"] == "EulerDiscreteScheduler"


@pytest.mark.slow  # environments and test runs of their own
def test_the_packages_own_tests_pass(installed, tmp_path):
    done = installed.run(*PYTEST, *(str(ROOT / "plugins" / name / "tests") for name in OURS), cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]


def test_they_import_only_public_names():
    """Of composer: what `composer` itself offers, and the kit for tests."""
    for file in (ROOT / "plugins").rglob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) (composer[.\w]*)", file.read_text("utf-8"), re.MULTILINE):
            assert module == "composer" or module.startswith(("composer_", "composer.testing")), (
                f"{file.name}: {module}"
            )
            assert not module.startswith("composer.testing") or "tests" in file.parts, file
        for line in re.findall(r"^from composer import (.*)", file.read_text("utf-8"), re.MULTILINE):
            assert {name.strip() for name in line.strip("()").split(",") if name.strip()} <= {*composer.__all__}, file


def test_composer_imports_none_of_them():
    for file in (ROOT / "composer").rglob("*.py"):
        assert not re.search(r"^\s*(?:from|import) composer_", file.read_text("utf-8"), re.MULTILINE), file


@pytest.mark.slow  # environments and test runs of their own
def test_a_package_written_by_composer_as_the_tutorial_goes_on_and_can_be_taken_out_again(tmp_path):
    """new → install → its tests → plugins/README.md's callback in its place → use → its tests → uninstall: composer is
    as it was.
    """
    environment = Environment(tmp_path / "venv")
    before = environment.compose("list", "callbacks", cwd=tmp_path).stdout
    assert environment.compose("plugins", "new", "film_grain", cwd=tmp_path).returncode == 0
    folder = tmp_path / "composer-film-grain"
    environment.install(folder)
    tests = environment.run(*PYTEST, cwd=folder)
    assert tests.returncode == 0 and " passed" in tests.stdout, tests.stdout[-2000:]
    assert (
        environment.compose("plugins", "new", "film_grain", cwd=tmp_path / "venv").returncode == 2
    )  # the option is taken now
    page = (ROOT / "plugins" / "README.md").read_text("utf-8")
    (code,), (option,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for kind in ("python", "yaml")
    )
    (folder / "composer_film_grain" / "__init__.py").write_text(code)
    (folder / "composer_film_grain" / "conf" / "callbacks" / "film_grain.yaml").write_text(option)
    environment.install(folder)
    assert "The grain of a photographic film" in environment.compose("list", "callbacks", cwd=tmp_path).stdout
    amounts = {"plain": "0", "grained": "0.1"}
    lines = [
        (
            [
                "callbacks=[progress,film_grain]",
                f"callbacks.film_grain.amount={amount}",
                "steps=3",
                f"output.folder={name}",
            ],
            {},
        )
        for name, amount in amounts.items()
    ]
    assert environment.compose_each(lines, tmp_path) == [(0, ""), (0, "")]
    plain, grained = (np.asarray(Image.open(tmp_path / name / "000.png"), float) for name in amounts)
    assert 10 < (grained - plain).std() < 30
    tests = environment.run(*PYTEST, cwd=folder)
    assert tests.returncode == 0, tests.stdout[-2000:]
    environment.pip("uninstall", "--quiet", "--yes", "composer-film-grain")
    assert environment.compose("list", "callbacks", cwd=tmp_path).stdout == before
    gone = environment.compose("callbacks=[film_grain]", cwd=tmp_path)
    assert gone.returncode == 2 and "callbacks=film_grain: there is no such option" in gone.stderr
