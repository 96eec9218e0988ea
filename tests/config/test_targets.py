from __future__ import annotations

import copy
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version
from PIL import Image, PngImagePlugin

import composer
from composer import StepCallback
from composer.config.overrides import prepare
from composer.config.spec import Choice
from composer.config.targets import build, resolve
from composer.errors import ComposerError
from composer.records import metadata

HOSTILE = (
    "os.system", "os.popen", "os.execv", "builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__",
    "builtins.compile", "pathlib.Path.write_text", "pathlib.Path", "subprocess.run", "subprocess.Popen",
    "runpy.run_path", "pickle.loads", "torch.load", "torch.hub.load", "numpy.load", "numpy.save", "shutil.rmtree",
    "functools.partial", "operator.methodcaller", "importlib.import_module", "logging.config.dictConfig",
    "logging.os.system", "composer.records.record.os.system", "composer.cli.main.main", "composer.cli.main.Path",
    "composer.loading.loader.torch.load", "diffusers.utils.os.system", "diffusers.DiffusionPipeline.from_pretrained",
    "canary.Canary", "canary", "composer.nowhere.X", "x", "",
)  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_only_classes_of_our_packages_are_resolved(path):
    with pytest.raises(ComposerError, match="_target_="):
        resolve("callbacks.x", Choice(path=path), StepCallback)


def test_the_kind_counts():
    with pytest.raises(ComposerError, match="is not a StepCallback"):
        resolve("callbacks.x", Choice(path="diffusers.DDIMScheduler"), StepCallback)


def test_a_misspelt_keyword_gets_a_suggestion():
    from composer.sampling.guidance import Guidance

    with pytest.raises(ComposerError, match=r"guidance\.scael=3: there is no such setting\. Did you mean scale"):
        build("guidance", Choice(path="composer.sampling.guidance.ClassifierFree", keywords={"scael": 3}), Guidance)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module in the current folder that leaves a mark when it is imported, and its import path."""
    (tmp_path / "canary.py").write_text("open('canary-was-here', 'w')\nclass Canary: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "canary-was-here"
    assert not list(tmp_path.rglob("canary-was-here")) and "canary" not in sys.modules


def refused(done, path) -> None:
    assert done.code == 2 and done.err.count("\n") == 1 and "Traceback" not in done.err, f"{path}: {done.err}"


@pytest.mark.parametrize(
    ("group", "paths"),
    [
        pytest.param("callbacks", HOSTILE, marks=pytest.mark.slow, id="callbacks-all"),
        *(
            pytest.param(group, HOSTILE[::7], id=group)
            for group in ("callbacks", "scheduler", "task", "guidance", "memory")
        ),
    ],
)
def test_option_files_choose_no_other_classes(compose, canary, tmp_path, group, paths):
    (tmp_path / "mine" / group).mkdir(parents=True)
    several = group in ("callbacks", "memory")
    for i, path in enumerate(paths):
        node = {"_target_": path, "command": "touch canary-was-here", "args": ["touch canary-was-here"]}
        header = "# @package _global_\n" if group == "task" else ""
        tree = {f"evil{i}": node} if several else {group: node} if group == "task" else node
        (tmp_path / f"mine/{group}/evil{i}.yaml").write_text(header + json.dumps(tree))
    for i, path in enumerate(paths):
        option = f"{group}=[evil{i}]" if several else f"{group}=evil{i}"
        refused(compose("--config-dir", str(tmp_path / "mine"), option, "steps=1"), path)


def test_the_command_line_chooses_no_classes(compose, canary):
    for path in HOSTILE:
        for word in (
            f"callbacks.progress._target_={path}",
            f"+scheduler._target_={path}",
            f"+evil={{_target_: {path or 'x'}}}",
        ):
            with pytest.raises(ComposerError, match="classes are chosen by the names of options"):
                prepare([word])
    refused(compose("callbacks.progress._target_=os.system", "steps=1"), "os.system")
    refused(compose("-m", "callbacks.progress._target_=os.system,os.popen", "steps=1"), "os.system")


@pytest.mark.parametrize(
    ("carrier", "paths"),
    [
        pytest.param("png", HOSTILE, marks=pytest.mark.slow, id="png-all"),
        *(pytest.param(carrier, HOSTILE[::7], id=carrier) for carrier in ("png", "json")),
    ],
)
def test_records_choose_no_classes(compose, canary, tmp_path, carrier, paths):
    assert compose("steps=1", "output.folder=honest").code == 0
    honest = metadata.read(tmp_path / "honest/000.png")
    for i, path in enumerate(paths):
        record = copy.deepcopy(honest)
        record["config"]["callbacks"]["evil"] = {"_target_": path, "command": "touch canary-was-here"}
        file = tmp_path / f"{i}.{carrier}"
        if carrier == "json":
            file.write_text(json.dumps(record))
        else:
            chunks = PngImagePlugin.PngInfo()
            chunks.add_text(metadata.KEY, json.dumps(record))
            Image.new("RGB", (8, 8)).save(file, pnginfo=chunks)
        done = compose("rerun", str(file))
        refused(done, path)
        assert "another class" in done.err


def test_nothing_trusts_remote_code():
    """No module of ours allows it, and both libraries are new enough not to run code of a checkpoint by default."""
    for file in Path(composer.__file__).parent.rglob("*.py"):
        text = file.read_text("utf-8").replace("trust_remote_code=False", "")  # with None transformers would prompt
        assert "trust_remote_code" not in text, file
    assert Version(version("diffusers")) >= Version("0.38") and Version(version("transformers")) >= Version("5.3")


def test_a_checkpoints_own_code_is_not_run(compose, checkpoints, tmp_path):
    source = shutil.copytree(checkpoints["sd"], tmp_path / "evil")
    code = (
        "open('canary-was-here', 'w')\nfrom diffusers import StableDiffusionPipeline as P, UNet2DConditionModel as M\n"
    )
    (source / "pipeline.py").write_text(code + "class Evil(P): pass\n")
    (source / "unet/mine.py").write_text(code + "class Mine(M): pass\n")
    index = json.loads((source / "model_index.json").read_text())
    for change in ({"_class_name": ["pipeline", "Evil"]}, {"unet": ["mine", "Mine"]}):
        (source / "model_index.json").write_text(json.dumps({**index, **change}))
        refused(compose("model=local", f"model.source={source}", "steps=1"), change)
    assert not list(tmp_path.rglob("canary-was-here"))
