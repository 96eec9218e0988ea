"""show, check, list, sweep and rerun from Python, with the command line's answers."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

import composer
from composer.errors import ComposerError


def test_names_are_there_and_nothing_heavy_is_imported():
    heavy = "('LatentFamily', 'Result', 'show')"
    code = f"import sys, composer\nfor name in composer.__all__:\n    if name not in {heavy}: getattr(composer, name)\n"
    code += "import json; heavy = ('torch', 'diffusers', 'transformers', 'hydra'); "
    code += "print(json.dumps([name for name in heavy if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout) == [], done.stderr


def test_what_scripts_and_plugins_need_is_public():
    needed = "compose load check show list sweep rerun Task Guidance Family Conditioning Embedding StepCallback Result"
    assert set(needed.split()) <= set(composer.__all__)


@pytest.mark.parametrize("name", ["check", "show", "sweep", "rerun"])
def test_a_command_is_no_module_that_hides_it(name):
    assert find_spec(f"composer.{name}") is None and inspect.isfunction(getattr(composer, name))


def test_show_and_list_say_what_the_command_does(compose):
    words = ["scheduler=euler", "steps=2"]
    assert str(composer.show(*words)) == repr(composer.show(*words)) == compose("show", *words).out.rstrip("\n")
    listed = compose("list", "guidance").out.splitlines()
    assert [line.split()[0] for line in listed] == [f"guidance={name}" for name in composer.list("guidance")]
    assert {"task", "model", "scheduler"} <= set(composer.list())
    assert "euler" in composer.list("scheduler", model="sd15") and "flow_euler" not in composer.list(
        "scheduler", "model=sd15"
    )


def test_check_gives_notes_and_refuses(compose):
    assert composer.check(steps=2) == ()
    with pytest.raises(ComposerError, match="Did you mean steps"):
        composer.check(stepz=2)
    with pytest.raises(ComposerError, match="Did you mean guidance"):
        composer.list("guidnace")


@pytest.mark.parametrize("call", [composer.compose, composer.check, composer.show, composer.load, composer.sweep])
def test_a_folder_of_option_files_can_be_given(compose, tmp_path, call):
    with pytest.raises(ComposerError, match="config_dir=nowhere: there is no such folder"):
        call(config_dir="nowhere")
    (tmp_path / "mine/scheduler").mkdir(parents=True)
    (tmp_path / "mine/scheduler/quick.yaml").write_text(
        "# mine\n_target_: diffusers.DDIMScheduler\n_kind_: diffusion\n", "utf-8"
    )
    assert "quick" in composer.list("scheduler", config_dir="mine") and "quick" not in composer.list("scheduler")
    assert composer.check("scheduler=quick", steps=1, config_dir=tmp_path / "mine") == ()


def test_rerun_says_whether_the_image_is_the_same(compose, tmp_path):
    first = composer.compose("callbacks=[]", steps=1, images=2)
    first.save(tmp_path / "made")
    again = composer.rerun(tmp_path / "made/001.png")
    assert again.image.tobytes() == first.images[1].tobytes() and "bit for bit" in again.notes[-1]
    assert composer.rerun("made/000.png", seed=5).seeds == (5,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]  # nothing is written
    with pytest.raises(ComposerError, match="there is no such file"):
        composer.rerun("made/nothing.png")


def test_a_sweep_gives_its_jobs_and_goes_on(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    swept = composer.sweep("callbacks=[]", prompt=["a, b", "c"], seed=range(2), steps=1, folder="out")
    assert [job.values["seed"] for job in swept.jobs] == ["0", "1", "0", "1"] and not swept.failed
    assert all(job.images[0].is_file() for job in swept.jobs) and swept._repr_png_()[:4] == b"\x89PNG"
    before = [job.images[0].stat().st_mtime_ns for job in swept.jobs]
    again = composer.sweep("callbacks=[]", prompt=["a, b", "c"], seed=range(2), steps=1, folder="out")
    assert [job.images[0].stat().st_mtime_ns for job in again.jobs] == before
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    with pytest.raises(ComposerError, match="stpes"):
        composer.sweep(seed=range(2), stpes=3)
