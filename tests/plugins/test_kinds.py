"""A plugin brings a model family and options of every kind, installed for real; uninstalled, it leaves no trace."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from environment import ROOT, Environment
from test_installed import package

from composer.testing.image_files import pixels

pytestmark = pytest.mark.skipif(importlib.util.find_spec("composer_pixart") is not None, reason="a plugin is installed")

CODE = '''
from contextlib import contextmanager
from dataclasses import replace
from composer import Guidance, ModelOption, Start, StepCallback, Task


class Opposite(Guidance):
    def __call__(self, step, branches):
        return -branches.positive


class Louder(ModelOption):
    """Multiplies the first layer's output, as long as it is on."""

    group, name = "memory", "louder"

    def __init__(self, factor: float = 1.5) -> None:
        self.factor = factor

    def check(self, context):
        super().check(context)
        if self.factor == 1:
            self.idle("a factor of 1 changes nothing, so it would do nothing")

    @contextmanager
    def {active}(self, pipe):
        handle = pipe.unet.conv_in.register_forward_hook(lambda module, args, output: output * self.factor)
        try:
            yield
        finally:
            handle.remove()


class Faster(Louder):
    group, name = "accel", "faster"


class Halved(Task):
    """Starts from noise of half the deviation."""

    keys = ("prompt", "negative_prompt", "height", "width")

    def start(self, family, sampler, request):
        return Start(latents=family.start_noise(request, sampler.generators) * sampler.initial_sigma / 2)


class Moments(StepCallback):
    """Notes all that it is called for, in a file."""

    def __init__(self):
        self.calls = []

    @contextmanager
    def around(self, run):
        self.calls = ["around"]
        yield
        (run.folder / "moments.txt").write_text(" ".join(self.calls))

    def before_step(self, step):
        self.calls.append("before_step")

    def after_predict(self, step, prediction):
        self.calls.append("after_predict")

    def after_step(self, step, latents):
        self.calls.append("after_step")

    def after_decode(self, run, images):
        self.calls.append("after_decode")
'''
NESTED = "# Mine.\n{0}:\n  _target_: composer_kinds.{1}\n"
TASK = """\
# @package _global_
# Starts from half the noise.
task:
  _target_: composer_kinds.Halved
prompt: a red cone
negative_prompt: null
steps: null
seed: 0
seed_step: 1
images: 1
height: null
width: null
"""
FILES = {
    "conf/guidance/opposite.yaml": "# Away from the prompt.\n_target_: composer_kinds.Opposite\n",
    "conf/memory/louder.yaml": NESTED.format("louder", "Louder") + "  factor: 1.5\n",
    "conf/accel/faster.yaml": NESTED.format("faster", "Faster"),
    "conf/scheduler/mine.yaml": "# Euler of its own.\n_target_: diffusers.EulerDiscreteScheduler\n_kind_: diffusion\n",
    "conf/callbacks/moments.yaml": NESTED.format("moments", "Moments"),
    "conf/task/halved.yaml": TASK,
    "conf/model/small.yaml": "# The embedded model.\ndefaults: [tiny, _self_]\nname: small\n",
}
#: One option of each kind.
KINDS = (
    "guidance=opposite", "memory=[louder]", "accel=[faster]", "scheduler=mine", "task=halved", "callbacks=[moments]",
    "model=small",
)  # fmt: skip
#: Options that change the image.
CHANGING = KINDS[:5]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    """With the package pixart, and one that brings an option of every kind."""
    root = tmp_path_factory.mktemp("kinds")
    environment = Environment(root / "venv")
    environment.install(
        ROOT / "plugins" / "pixart",
        package(root / "kinds", "kinds", {"__init__.py": CODE.replace("{active}", "on"), **FILES}),
    )
    return environment


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny random PixArt-α, by the script of the plugin."""
    spec = importlib.util.spec_from_file_location("tiny_checkpoint", ROOT / "plugins/pixart/tests/tiny_checkpoint.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = tmp_path_factory.mktemp("pixart")
    script.pixart().save_pretrained(folder)
    return folder


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_a_plugins_family_runs_natively_until_it_is_uninstalled(environment, checkpoint, tmp_path):
    """Every moment of callbacks is called; without the package, diffusers' own pipeline generates the same image."""
    model = ["model=local", f"model.source={checkpoint}", "prompt=a cat", "steps=3"]
    lines = [
        ([*model, "callbacks=[moments]", "output.folder=native"], {}),
        ([*model, "task=seed_walk", "to_seed=5", "images=3", "batch=1", "output.folder=walk"], {}),
        ([*model, "task=img2img", "image=sample:scene", "strength=0.7", "output.folder=from_image"], {}),
        ([*model, "model.family=hosted", "output.folder=hosted"], {}),
        ([*model, "output.folder=without"], {"COMPOSER_PLUGINS": "kinds"}),
        ([*model, "accel=[deepcache]"], {}),
    ]
    ended = environment.compose_each(lines, tmp_path)
    assert [code for code, _ in ended] == [0, 0, 0, 0, 0, 2], ended
    assert "accel=deepcache: can't reach into a PixArtTransformer2DModel" in ended[-1][1]
    moments = ["around", *["before_step", "after_predict", "after_step"] * 3, "after_decode"]
    assert (tmp_path / "native" / "moments.txt").read_text().split() == moments
    families = {name: record(tmp_path / name)["model"]["family"] for name in ("native", "walk", "hosted", "without")}
    assert families == {"native": "pixart", "walk": "pixart", "hosted": "hosted", "without": "hosted"}
    assert pixels(tmp_path / "native" / "000.png") == pixels(tmp_path / "hosted" / "000.png")
    assert pixels(tmp_path / "native" / "000.png") == pixels(tmp_path / "walk" / "000.png")


@pytest.mark.slow  # eight runs
def test_options_of_every_kind_are_found_and_used(environment, tmp_path):
    lines = [(["steps=3", "output.folder=plain"], {})]
    lines += [(["steps=3", kind, f"output.folder={i}"], {}) for i, kind in enumerate(KINDS)]
    lines += [(["steps=3", "output.folder=again"], {}), (["memory=[louder]", "memory.louder.factor=1"], {})]
    ended = environment.compose_each(lines, tmp_path)
    assert [code for code, _ in ended] == [0] * (len(lines) - 1) + [2], ended
    assert "memory=louder: a factor of 1 changes nothing" in ended[-1][1]
    plain = pixels(tmp_path / "plain" / "000.png")
    for i, kind in enumerate(KINDS):
        changed = pixels(tmp_path / str(i) / "000.png") != plain
        assert changed == (kind in CHANGING), kind
    assert pixels(tmp_path / "again" / "000.png") == plain, "an option left something behind"


@pytest.mark.slow  # an environment of its own
def test_uninstalling_leaves_no_trace(environment, checkpoint, tmp_path):
    other = Environment(tmp_path / "venv")
    words = [["list", "task"], ["list", "model"], ["plugins"]]
    before = [other.compose(*line, cwd=tmp_path).stdout for line in words]
    other.install(ROOT / "plugins" / "pixart")
    assert [other.compose(*line, cwd=tmp_path).stdout for line in words] != before
    other.pip("uninstall", "--quiet", "--yes", "composer-pixart")
    assert [other.compose(*line, cwd=tmp_path).stdout for line in words] == before
    model = ["model=local", f"model.source={checkpoint}", "prompt=a cat", "steps=2"]
    assert other.compose_each([([*model, "output.folder=out"], {})], tmp_path)[0][0] == 0
    assert record(tmp_path / "out")["model"]["family"] == "hosted"
    gone = other.compose(*model, "model.family=pixart", cwd=tmp_path)
    assert gone.returncode == 2 and "model.family=pixart: is not known" in gone.stderr


@pytest.mark.slow  # environments of their own
def test_families_that_clash_or_break_are_refused_in_a_line(checkpoint, tmp_path):
    """Two that claim one checkpoint, and one that can't be imported: a line names the packages."""
    info = (ROOT / "plugins/pixart/composer_pixart/info.py").read_text("utf-8")
    other = Environment(tmp_path / "venv")
    entry = '[project.entry-points."composer.families"]\n'
    folders = []
    for name, code in {
        "rival": info.replace('name="pixart"', 'name="rival"'),
        "broken": "raise OSError('on purpose')",
    }.items():
        folder = package(tmp_path / name, name, {"__init__.py": "", "info.py": code})
        text = (folder / "pyproject.toml").read_text()
        point = f'{entry}{name} = "composer_{name}.info:INFO"\n'
        (folder / "pyproject.toml").write_text(text.replace("[tool.hatch", f"{point}[tool.hatch"))
        folders.append(folder)
    other.install(ROOT / "plugins" / "pixart", *folders)
    model = ["check", "model=local", f"model.source={checkpoint}", "prompt=a cat", "steps=2"]
    lines = [
        (model, {}),
        ([*model, "model.family=rival"], {}),
        (model, {"COMPOSER_PLUGINS": "pixart"}),
        ([*model, "model.family=broken"], {}),
        (model, {"COMPOSER_PLUGINS": "broken"}),
    ]
    (clash, named, alone, broken, fallback) = other.compose_each(lines, tmp_path)
    assert clash[0] == 2 and "pixart of composer-pixart 0.1.0 and rival of composer-rival 1.0 both claim it" in clash[1]
    assert named[0] == 0 and alone[0] == 0
    assert broken[0] == 2 and "can't be loaded from composer-broken 1.0: OSError: on purpose" in broken[1]
    assert fallback[0] == 0 and "family broken can't be loaded from composer-broken 1.0" in fallback[1]
