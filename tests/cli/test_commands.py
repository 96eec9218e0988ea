"""`compose check|config|doctor|completion`, and how the command speaks to scripts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_check_runs_nothing(compose):
    done = compose("check", "steps=3", "scheduler=euler")
    assert (done.code, done.out) == (0, "all is well: this can run\n") and not list(Path().iterdir())
    refused = compose("check", "scheduler=flow_euler")
    assert refused.code == 2 and "is for flow matching models" in refused.err and refused.err.count("\n") == 1
    many = compose("check", "-m", "steps=3,4", "scheduler=euler,ddim")
    assert (many.code, many.out) == (0, "all is well: 4 jobs can run\n") and not list(Path().iterdir())
    some = compose("check", "-m", "scheduler=euler,flow_euler")
    assert some.code == 2 and "1 of 2 jobs are invalid" in some.err and not list(Path().iterdir())


def test_config_shows_where_each_value_comes_from(compose, tmp_path):
    directory = tmp_path / "mine/scheduler"
    directory.mkdir(parents=True)
    (directory / "mine.yaml").write_text(
        "_target_: diffusers.EulerDiscreteScheduler\n_kind_: diffusion\nuse_karras_sigmas: true\n"
    )
    words = [
        "config",
        "--config-dir",
        str(tmp_path / "mine"),
        "scheduler=mine",
        "steps=7",
        "guidance=3",
        "callbacks=[preview]",
    ]
    done = compose(*words, "callbacks.preview.every=2", "preset=half", "scheduler.timestep_spacing=trailing")
    rows = dict(line.split("  # ") for line in done.out.splitlines())
    sources = {key.strip(): source for key, source in rows.items()}
    assert sources["steps = 7"] == sources["guidance.scale = 3"] == sources["callbacks.preview.every = 2"] == "typed"
    assert sources["scheduler.timestep_spacing = trailing"] == "typed"
    assert sources["precision.dtype = fp16"] == "precision/fp16.yaml" and sources["seed = 0"] == "task/_base.yaml"
    assert sources["scheduler.use_karras_sigmas = true"] == str(directory / "mine.yaml")
    assert (
        sources["callbacks.preview.decode = latents"] == "callbacks/preview.yaml"
        and sources["model.components = {}"] == "model/_base.yaml"
    )
    as_json = json.loads(compose(*words, "--json").out)
    assert as_json["steps"] == {"value": 7, "from": "typed"}


def test_config_shows_no_secret(compose, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canarycanary")
    for word in ("prompt='${oc.env:HF_TOKEN}'", "model.revision=hf_canarycanary", "output.folder=${oc.env:HF_TOKEN}"):
        done = compose("config", word)
        assert "canary" not in done.out + done.err


@pytest.mark.slow  # compiles
def test_doctor_measures_and_compiles(compose):
    report = json.loads(compose("doctor", "--json").out)
    assert "GFLOP/s on" in report["dtypes"]["fp32"] and report["compile"]["works"].startswith(("yes", "no: "))


def test_doctor(compose, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canarycanary")
    monkeypatch.setattr("composer.cli.commands.doctor._compiles", lambda: "yes")  # half a minute
    monkeypatch.setattr("composer.cli.commands.doctor.SIDE", 64)
    report = json.loads(compose("doctor", "--json").out)
    assert (
        report["versions"]["torch"]
        and "GFLOP/s on" in report["dtypes"]["fp32"]
        and report["cache"]["hub's token"] == "set"
    )
    assert all(
        "as fast as fp32" in report["dtypes"][name] or "does not work" in report["dtypes"][name]
        for name in ("fp16", "bf16")
    )
    assert report["compile"]["works"].startswith(("yes", "no: ")) and report["attention"]["math"] == "works"
    text = compose("doctor").out
    assert "canary" not in text + json.dumps(report) and "precision=auto" in text


COMPLETED = {
    "compose sched": ["scheduler="],
    "compose scheduler=dpmpp_3": ["dpmpp_3m"],
    "compose -m scheduler=ddim,dpmpp_3": ["ddim,dpmpp_3m"],
    "compose callbacks=": [],  # many
    "compose callbacks=[progress,prev": ["[progress,preview"],
    "compose callbacks.preview.de": ["callbacks.preview.decode="],
    "compose neg": ["negative_prompt="],
    "compose list sched": ["scheduler"],
    "compose doc": ["doctor"],
    "compose steps=3 doc": [],
    "compose rerun outp": [],
}


@pytest.mark.parametrize("line", COMPLETED)
def test_completion(compose, line):
    done = compose("completion", "words", "bash", line)
    assert done.code == 0
    if COMPLETED[line]:
        assert done.out.split() == COMPLETED[line]
    candidates = compose("completion", "words", "zsh", line).out.split()
    assert all(word.startswith(line.split()[-1]) for word in candidates)


def test_completion_in_a_real_shell(tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "compose").write_text(f'#!/bin/sh\nexec {sys.executable} -m composer "$@"\n')
    (bin_folder / "compose").chmod(0o755)
    script = (
        f'PATH="{bin_folder}:$PATH"\neval "$(compose completion bash)"\n'
        'COMP_LINE="compose scheduler=dpmpp_3"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(compose scheduler = dpmpp_3); '
        "COMP_CWORD=3\n"
        '_compose 2>/dev/null; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "dpmpp_3m\n", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_well_formed(compose, shell):
    done = compose("completion", shell)
    assert done.code == 0 and "compose completion words" in done.out
    if shutil.which(shell):
        subprocess.run([shell, "-n", "-c", done.out], check=True)
    assert "allowed: bash, zsh, fish" in compose("completion", "tcsh").err


def test_quiet_says_the_files_alone(compose):
    done = compose("--quiet", "steps=1", "images=2", "height=130", "task=img2img", "output.folder=out")
    assert done.code == 2 or done.err == ""
    done = compose("-q", "steps=1", "images=2", "output.folder=out", "prompt=" + "long " * 100)
    assert (done.code, done.out, done.err) == (0, "out/000.png\nout/001.png\n", ""), done.err
    failed = compose("-q", "steps=0")
    assert failed.code == 2 and failed.err.startswith("compose: steps=0")
    sweep = compose("-q", "-m", "steps=1,2", "sweep.name=s")
    assert (sweep.code, sweep.out, sweep.err) == (0, "outputs/sweeps/s/index.html\n", "")


def test_json_is_one_line_of_facts(compose):
    done = compose("--json", "steps=1", "images=2", "seed=4", "output.folder=out")
    output = json.loads(done.out)
    assert output["files"] == ["out/000.png", "out/001.png"] and [image["seed"] for image in output["images"]] == [4, 5]
    assert output["record"] == "out/run.json" and output["seconds"] > 0
    sweep = json.loads(compose("--json", "-m", "steps=1,2", "sweep.name=s").out)
    assert sweep["asked"] == sweep["generated"] == len(sweep["jobs"]) == 2
    assert sweep["failed"] == 0 and sweep["files"] == ["outputs/sweeps/s/index.html"]
    resumed = json.loads(compose("--json", "resume", "outputs/sweeps/s").out)
    assert resumed["files"] == sweep["files"] and resumed["jobs"] == sweep["jobs"]  # paths as they were typed
    assert json.loads(compose("info", "out/001.png", "--json").out)["number"] == 1
    assert json.loads(compose("check", "--json").out)["files"] == []


@pytest.mark.slow  # a process of its own; test_secret reads such lines too
def test_verbose_lines_name_the_run(tmp_path):
    words = [sys.executable, "-m", "composer", "-v", "steps=1", "output.folder=out"]
    plain = {
        name: value for name, value in os.environ.items() if "VERBOSITY" not in name
    }  # as other tests in this process left it
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=plain)
    assert "out INFO diffusers" in done.stderr, done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "check -m steps=1,2", "show"])
def test_a_look_beforehand_says_nothing_on_stderr(tmp_path, command):
    plain = {name: value for name, value in os.environ.items() if "VERBOSITY" not in name}
    words = [sys.executable, "-m", "composer", *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
