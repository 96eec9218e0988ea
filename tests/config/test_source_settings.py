"""`model.source=` alone names a checkpoint of one's own: nothing of the embedded one, or of any other option, goes into
its runs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import composer
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError

TASKS = ["text2img", "img2img", "inpaint", "outpaint", "depth2img", "upscale", "variations", "unconditional"]


@pytest.mark.parametrize(
    ("task", "source", "model"),
    [
        *((task, "nobody/does-not-exist", ()) for task in TASKS),
        *(("inpaint", "./nowhere", (model,)) for model in ("model=tiny", "model=local", "model=sd15")),
        ("upscale", "nowhere.safetensors", ()),
    ],
)
def test_a_source_that_is_not_there_is_refused(compose, tmp_path, task, source, model):
    done = compose(f"task={task}", f"model.source={source}", "steps=3", *model)
    assert done.code == 2 and done.err.startswith(f"compose: model.source={source}: ") and done.err.count("\n") == 1, (
        done.err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["check", "show", "plan -m", "check -m", "-m"])
def test_every_command_refuses_it(compose, command):
    done = compose(*command.split(), "task=inpaint", "model.source=nobody/does-not-exist")
    assert done.code == 2 and "model.source=nobody/does-not-exist: " in done.err, done.err


def test_python_refuses_it():
    with pytest.raises(ComposerError, match=r"model\.source=nobody/does-not-exist: "):
        composer.compose("task=unconditional", "model.source=nobody/does-not-exist")


@pytest.mark.parametrize("words", [(), ("model=tiny",)], ids=["alone", "beside_model"])
@pytest.mark.parametrize("task", TASKS)
def test_no_part_of_another_model_stays(words, task):
    spec = read(compose_config([*words, "model.source=a/b", f"task={task}"]))
    assert (
        spec.model.source == spec.model.name == "a/b" and not spec.model.components and spec.options["model"] == "local"
    )


def test_steps_and_scale_are_those_of_a_checkpoint_of_ones_own():
    alone, local = (read(compose_config([*words, "model.source=a/b"])) for words in ((), ("model=local",)))
    assert alone == local and alone.values["steps"] is None, "what the checkpoint's own pipeline takes"
    typed = read(compose_config(["model=flux_schnell", "model.source=a/b"]))
    assert typed.values["steps"] == 4, "whoever types model= wants that model's steps"


def test_what_was_typed_stays():
    spec = read(
        compose_config(["model.source=a/b", "model.name=mine", "model.recommended.steps=7", "model.variant=fp16"])
    )
    assert (spec.model.name, spec.values["steps"], spec.model.variant) == ("mine", 7, "fp16")


def test_a_source_in_an_option_file_counts_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf" / "experiment" / "a.yaml"
    file.parent.mkdir(parents=True)
    (tmp_path / "conf" / ".composer").touch()
    file.write_text("# @package _global_\nmodel: {source: a/b}\n")
    spec = read(compose_config(["+experiment=a", "task=inpaint"]))
    assert spec.model.name == "a/b" and not spec.model.components and spec.values["steps"] is None


def test_sweeps_and_lists_of_jobs_take_it_alike(compose, checkpoints, tmp_path):
    folder = checkpoints["sd"]
    small = ("steps=1", "height=64", "width=64", "callbacks=[]")
    (tmp_path / "jobs.csv").write_text(f"model.source\n{folder}\n")
    for name, words in {"sweep": (f"model.source={folder},{folder}/",), "jobs": ("sweep.jobs=jobs.csv",)}.items():
        done = compose("-m", *small, "model.name=mine", *words, f"output.folder={name}")
        assert done.code == 0, done.err
        record = json.loads(next(Path(name).glob("*/run.json")).read_text())
        assert record["options"]["model"] == "local" and record["config"]["model"]["variants"] == {}


def test_show_and_record_name_no_embedded_part(compose, checkpoints):
    words = ("task=upscale", f"model.source={checkpoints['sd']}", "steps=5", "callbacks=[]")
    shown = compose("show", *words)
    assert (
        shown.code == 0 and "embedded" not in shown.out and "tiny" not in shown.out.replace(str(checkpoints["sd"]), "")
    ), shown.out
    assert compose(*words, "output.folder=a").code == 0
    assert "embedded:" not in Path("a/run.json").read_text()
    done = compose("rerun", "a", "--trust", "output.folder=b")
    assert done.code == 0 and "bit for bit" in done.out, done.err


def test_a_rerun_with_another_source_takes_nothing_of_the_first(compose, checkpoints):
    assert compose("task=upscale", "steps=5", "callbacks=[]", "output.folder=a").code == 0
    done = compose("rerun", "a", f"model.source={checkpoints['sd']}", "output.folder=b")
    assert done.code in (0, 1) and "embedded:" not in Path("b/run.json").read_text(), done.err


def test_a_task_that_does_not_fit_names_the_source(compose, checkpoints):
    done = compose(f"model.source={checkpoints['ddpm']}", "prompt=a cat")
    assert done.code == 2 and f"the model {checkpoints['ddpm']} " in done.err, done.err
