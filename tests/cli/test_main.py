from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from composer.cli.help import TEXT
from composer.system.devices import built_for_cuda
from composer.testing.image_files import pixels

NO_CUDA = pytest.mark.skipif(built_for_cuda() or sys.platform == "darwin", reason="torch may find a GPU here")
ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "diffusers", "transformers")


def isolated(code: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )


#: What ends without torch. Each is a process: all but some are slow.
LIGHT = (
    "--version",
    "list scheduler",
    "scheduler=eulr",
    "--cfg job",
    "check scheduler=euler scheduler.foo=1",
    "device=cuda:1",
)


def light(words: list[str], code: int, marks: Collection[pytest.MarkDecorator] = ()) -> Any:
    return pytest.param(words, code, marks=[*marks, *(() if " ".join(words) in LIGHT else [pytest.mark.slow])])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        light(["--help"], 0),
        light(["--version"], 0),
        light(["list"], 0),
        light(["list", "scheduler"], 0),
        light(["scheduler=eulr"], 2),
        light(["stepz=3"], 2),
        light(["prompt=caf\udce9"], 2),
        light(["--cfg", "job"], 0),
        light(["steps=0"], 2),
        light(["task=unconditional", "prompt=x"], 2),
        light(["model=local", "model.source=nowhere"], 2),
        light(["scheduler.foo=1"], 2),
        light(["check", "scheduler=euler", "scheduler.foo=1"], 2),
        light(["num_inference_steps=3"], 2),
        light(["list", "scheduler", "model=sd15"], 0),
        light(["device=cuda:1"], 2, [NO_CUDA]),
        light(["check", "memory=[xformers]"], 2, [NO_CUDA]),
        light(["memory=[model_offload]"], 2, [NO_CUDA]),
    ],
)
def test_answers_without_torch(words, code, tmp_path):
    done = isolated(
        f"import sys; from composer.cli.main import main; code = main({words!r})\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules], 'heavy imports'; raise SystemExit(code)",
        tmp_path,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "a refusal or a listing writes nothing"


def test_importing_composer_is_light(tmp_path):
    done = isolated(
        "import sys, composer; assert not {'torch', 'diffusers', 'hydra', 'PIL'} & set(sys.modules)", tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_help_is_ours(compose):
    done = compose("--help")
    assert done.code == 0 and done.out.strip() == TEXT.strip() and "hydra.help" not in done.out


def test_list_describes_each_option_in_a_line(compose):
    done = compose("list", "scheduler")
    lines = done.out.splitlines()
    assert done.code == 0 and len(lines) >= 38
    assert any(line.startswith("scheduler=euler ") and "Euler: fast" in line for line in lines)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines), "an option without a description"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scheduler=eulr"], "scheduler=eulr: there is no such option. Did you mean euler"),
        (["stepz=3"], "stepz=3: there is no such key. Did you mean steps or sweep?"),
        (["+stepz=3"], "stepz=3: this task does not take it. Did you mean steps?"),
        (["precision=fp61"], "precision=fp61: there is no such option. Did you mean fp16?"),
        (["precision=float"], "(allowed: auto, bf16, "),
        (["task=unconditional", "prompt=x"], "prompt=x: task=unconditional does not take it; task=text2img does"),
        (["task=unconditional", "guidance=7"], "guidance.scale=7: guidance=none does not take it; guidance=auto does"),
        (["steps=0"], "steps=0: must be an integer from 1 to 999"),
        (["steps=1e3"], "steps=1000: must be an integer from 1 to 999"),
        (["steps=few"], "steps=few: must be an integer"),
        (["images=0"], "images=0: must be an integer from 1 to 100000"),
        (["seed=-3"], "seed=-3: must be an integer"),
        (["seed=18446744073709551616"], "seed=18446744073709551616: must be an integer"),
        (["height=70"], "height=70: must be a multiple of 8 pixels for this model: 64 or 72"),
        (["height=0"], "height=0: must be an integer from 1 to 16384"),
        (["guidance=nan"], "guidance"),
        (["guidance=-1"], "guidance.scale=-1: must be a number, 0 or more"),
        (["scheduler=flow_euler"], "is for flow matching models, and tiny is a diffusion model"),
        (
            ["scheduler=euler", "scheduler.use_karas_sigmas=true"],
            "scheduler.use_karas_sigmas=True: there is no such setting. Did you mean use_karras_sigmas",
        ),
        (["model=local"], "model.source: a value is needed: model.source=…"),
        (["model=local", "model.source=nowhere"], "model.source=nowhere: there is no such folder or file"),
        (["model=local", "model.source=x.ckpt"], "pickled weights can run code"),
        (["model=sd15"], "is not a folder here nor in the hub's cache, and the hub can't be reached"),
        (["-v", "lst"], "Did you mean list?"),
        (["steps=2", "paint"], "paint"),
        (["paint"], "paint: is no command and no key=value."),
        (["lst"], "Did you mean list?"),
        (["list", "schedular"], "Did you mean scheduler?"),
        (["~steps"], "steps: there is nothing to take away: steps=VALUE sets it"),
        (["~images"], "images: must be an integer"),
        (["~precision.dtype"], "precision.dtype: is not known"),
        (["~device.type"], "device.type: is not known"),
        (["~task"], "task"),
        (["--config-dir"], "there is no such folder"),
        (["scheduler=euler,ddim"], "scheduler=euler,ddim: several values make several runs: add -m"),
        (["guidance.rescale=0.5"], "guidance=auto does not take it; guidance=cfg does"),
        (["guidance=distilled"], "this model takes no scale as an input"),
        (["callbacks=[progres]"], "Did you mean progress?"),
        (["hydra.rundir=x"], "hydra.rundir=x: has no effect on a run: output.folder=DIR"),
        (["--mulirun"], "Did you mean --multirun?"),
        (["--config-dir", "nowhere"], "there is no such folder"),
        (["output.folderr=x"], "output.folderr=x: there is no such key. Did you mean folder?"),
        (["output.quality=101", "output=jpeg"], "output.quality=101: must be an integer from 1 to 100"),
        (["task._target_=os.system"], "task._target_=os.system: classes are chosen by the names of options"),
        (["callbacks.progress._target_=composer.cli.main.main"], "classes are chosen by the names of options"),
        (["scheduler=lcm", "steps=60"], "steps=60: LCMScheduler can't lay them out: The combination"),
        (["negative_prompt=['a','b']"], "give one for all prompts or one for each: 2 for 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line(compose, tmp_path, words, message):
    done = compose(*words)
    assert done.code == 2
    assert done.err.count("\n") == 1 and done.err.startswith("compose: ")
    assert message in done.err
    assert not done.out and not list(tmp_path.iterdir()), "a refusal writes nothing"


def test_a_run_makes_images_a_grid_and_a_record(compose, tmp_path):
    done = compose("images=2", "steps=2", "hydra.run.dir=out", "prompt=a red cone, on ${sand}")
    assert done.code == 0 and done.err == "", done.err
    assert done.out.startswith("2 images in out") and done.out.endswith("\nbeside them: grid.png\n")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "000.png",
        "001.png",
        "config.yaml",
        "grid.png",
        "run.json",
    ]
    record = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert [image["seed"] for image in record["images"]] == [0, 1]
    assert record["images"][1]["prompt"] == "a red cone, on ${sand}"
    assert record["config"]["scheduler"] == {} and record["config"]["images"] == 2
    assert record["versions"]["torch"] and record["scheduler"]["class"] == "DDIMScheduler"
    assert Image.open(tmp_path / "out" / "000.png").size == (record["width"], record["height"])


def test_the_folder_is_named_by_date_and_time(compose, tmp_path):
    assert compose("steps=1").code == 0
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert (folder / "000.png").is_file() and len(folder.name) == len("12-34-56-123456")


@pytest.mark.parametrize(
    ("option", "suffix", "format"), [("png", "png", "PNG"), ("webp", "webp", "WEBP"), ("jpeg", "jpg", "JPEG")]
)
def test_output_formats(compose, option, suffix, format):
    assert compose("steps=1", f"output={option}", "hydra.run.dir=out").code == 0
    assert Image.open(f"out/000.{suffix}").format == format


def test_the_folder_can_be_chosen(compose, tmp_path):
    assert compose("steps=1", "output.folder=mine/first").code == 0
    assert (tmp_path / "mine" / "first" / "000.png").is_file()


@pytest.mark.parametrize("word", ["seed=null", "seed=-1"])
def test_a_random_seed_is_recorded_and_makes_the_same_image(compose, word):
    assert word in TEXT and word in (ROOT / "README.md").read_text("utf-8")
    assert compose("steps=2", word, "hydra.run.dir=a").code == 0
    seed = json.loads(Path("a/run.json").read_text())["images"][0]["seed"]
    assert compose("steps=2", f"seed={seed}", "hydra.run.dir=b").code == 0
    assert pixels("a/000.png") == pixels("b/000.png")


def test_several_prompts_with_one_seed(compose):
    assert (
        compose("steps=1", "prompt=['a red cone','a blue cube']", "seed_step=0", "seed=1", "hydra.run.dir=out").code
        == 0
    )
    record = json.loads(Path("out/run.json").read_text())
    assert [(image["prompt"], image["seed"]) for image in record["images"]] == [("a red cone", 1), ("a blue cube", 1)]


@pytest.mark.parametrize("family", ["sd", "flux", "ddpm"])
def test_a_folder_of_every_family_runs(compose, checkpoints, family):
    task = ["task=unconditional"] if family == "ddpm" else []
    done = compose("model=local", f"model.source={checkpoints[family]}", "steps=2", "hydra.run.dir=out", *task)
    assert done.code == 0, done.err


def test_a_text_model_refuses_the_unconditional_task(compose, checkpoints):
    done = compose("model=local", f"model.source={checkpoints['sd']}", "task=unconditional")
    assert done.code == 2 and "wants a prompt" not in done.out and "use task=text2img" in done.err


def test_a_textless_model_refuses_a_prompt(compose, checkpoints):
    done = compose("model=local", f"model.source={checkpoints['ddpm']}")
    assert done.code == 2 and "takes no prompt: use task=unconditional" in done.err


def test_show_names_components_scheduler_and_steps(compose):
    done = compose("show", "scheduler=euler", "steps=4")
    assert done.code == 0, done.err
    for word in (
        "UNet2DConditionModel",
        "parameters",
        "MiB",
        "F16",
        "EulerDiscreteScheduler",
        "beta_start",
        "4 iterations at timesteps",
    ):
        assert word in done.out


def test_show_counts_the_steps_that_an_image_leaves(compose):
    done = compose("show", "task=img2img", "steps=10", "strength=0.4", "scheduler=heun")
    assert done.code == 0 and "4 of 10, 7 iterations at timesteps" in done.out and "predicts epsilon" in done.out
    assert "use" not in done.err and "task=unconditional" in compose("show", "task=unconditional").out


def test_show_knows_flow_matching_and_heun(compose, checkpoints):
    done = compose("show", "model=local", f"model.source={checkpoints['flux']}")
    assert done.code == 0 and "FluxTransformer2DModel" in done.out and "FlowMatchEulerDiscreteScheduler" in done.out
    assert "28 iterations at timesteps 1000 " in done.out
    assert "19 iterations" in compose("show", "scheduler=heun", "steps=10").out


def test_a_multirun_makes_every_combination(compose):
    done = compose("-m", "scheduler=euler,ddim", "steps=1,2", "prompt=a cat, sitting", "hydra.sweep.dir=out")
    assert done.code == 0 and done.out.count("000.png") == 4, done.err


def test_a_multirun_lists_what_can_not_work(compose):
    words = ("-m", "scheduler=euler,flow_euler,ddim", "steps=1", "hydra.sweep.dir=out")
    refused = compose(*words)
    assert refused.code == 2 and "job 1    scheduler=flow_euler  scheduler=flow_euler: is for flow" in refused.err
    done = compose(*words, "sweep.on_invalid=skip")
    assert done.code == 0 and done.out.count("000.png") == 2 and "skipped 1 of 3 jobs, which are invalid" in done.err


def test_option_files_of_ones_own_come_first(compose, tmp_path):
    directory = tmp_path / "own" / "scheduler"
    directory.mkdir(parents=True)
    (directory / "quick.yaml").write_text("# mine\n_target_: diffusers.DDIMScheduler\n_kind_: diffusion\n")
    done = compose("--config-dir", "own", "scheduler=quick", "steps=1", "hydra.run.dir=out")
    assert done.code == 0, done.err
    assert "scheduler=quick " in compose("list", "scheduler", "--config-dir", "own").out


def test_a_foreign_conf_folder_is_left_alone(compose, tmp_path):
    (tmp_path / "conf" / "scheduler").mkdir(parents=True)
    (tmp_path / "conf" / "scheduler" / "foreign.yaml").write_text("x: 1\n")
    assert "foreign" not in compose("list", "scheduler").out
    (tmp_path / "conf" / ".composer").touch()
    assert "foreign" in compose("list", "scheduler").out


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: cut_short(folder / "unet" / "diffusion_pytorch_model.safetensors"),
            "is damaged, download it again: it is cut short",
        ),
        (lambda folder: cut_short(folder / "text_encoder" / "model.safetensors"), "is damaged, download it again"),
        (lambda folder: shutil.rmtree(folder / "vae"), "the folder vae named in model_index.json is missing or empty"),
        (
            lambda folder: [file.unlink() for file in (folder / "tokenizer").iterdir()],
            "the folder tokenizer named in model_index.json is missing",
        ),
        (lambda folder: next((folder / "vae").glob("*.safetensors")).unlink(), "there is no .safetensors file in vae"),
        (lambda folder: (folder / "model_index.json").write_text("{bad"), "can't be read"),
        (lambda folder: (folder / "model_index.json").unlink(), "there is no model_index.json in this folder"),
    ],
)
def test_half_a_download_is_refused_by_name(compose, checkpoints, tmp_path, damage, message):
    broken = tmp_path / "broken"
    shutil.copytree(checkpoints["sd"], broken)
    damage(broken)
    done = compose("model=local", f"model.source={broken}", "hydra.run.dir=out")
    assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
    assert not (tmp_path / "out").exists()


def test_a_refused_run_leaves_the_current_folder_however_empty_it_is(compose, tmp_path):
    assert compose("steps=0", "output.folder=out").code == 2
    assert tmp_path.is_dir() and not list(tmp_path.iterdir())
    assert compose("steps=1", "output.folder=out").code == 0


def test_two_runs_in_one_folder_do_not_interleave(compose, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    handle = os.open(tmp_path / "out", os.O_RDONLY)  # as another process would hold it
    fcntl.flock(handle, fcntl.LOCK_EX)
    done = compose("steps=1", "output.folder=out")
    assert (
        done.code == 3
        and "another process is generating into it" in done.err
        and not list((tmp_path / "out").iterdir())
    )
    os.close(handle)
    assert compose("steps=1", "output.folder=out").code == 0 and len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize("key", ["output.folder", "hydra.run.dir"])
def test_a_value_in_a_folders_name_leads_nowhere_else(compose, tmp_path, key):
    os.chdir(tmp_path)
    Path("here").mkdir()
    os.chdir("here")
    for prompt in ("../../evil", f"{tmp_path}/evil"):
        done = compose("steps=1", f"prompt={prompt}", f"{key}=out/${{prompt}}")
        assert done.code in (0, 2) and not (tmp_path / "evil").exists()
        assert done.code == 0 or (done.err.count("\n") == 1 and "which is not inside out" in done.err)
    assert done.code == 0  # an absolute path after `out/` is inside it
    assert compose("steps=1", "prompt=../../evil", f"{key}=out/${{prompt}}").code == 2
    assert (
        compose("steps=1", "prompt=good", f"{key}=out/${{prompt}}-${{seed}}").code == 0
        and Path("out/good-0/000.png").is_file()
    )
    assert (
        compose("steps=1", f"{key}=../requested").code == 0 and (tmp_path / "requested").is_dir()
    )  # whoever types it means it


def test_a_link_instead_of_an_image_is_not_followed(compose, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out").mkdir()
    for name in ("000.png", "run.json", "config.yaml"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
    assert compose("steps=1", "output.folder=out").code == 0
    assert (tmp_path / "precious").read_text() == "mine" and not (tmp_path / "out" / "000.png").is_symlink()


@pytest.mark.parametrize("folder", ["FILE", "FILE/b", "x" * 300, "out/${nothing}", "out/${hydra:nothing}"])
def test_check_refuses_a_folder_as_the_run_does(compose, tmp_path, folder):
    (tmp_path / "FILE").touch()
    words = ("steps=1", f"output.folder={folder}")
    done, checked = compose(*words), compose("check", *words)
    assert (
        done.code == checked.code == 2 and done.err == checked.err and done.err.startswith("compose: output.folder=")
    ), done.err
    assert compose("check", "output.folder=a/${hydra:runtime.choices.scheduler}").code == 0


@pytest.mark.parametrize("command", [(), ("rerun", "a"), ("-m", "seed=1,2")], ids=["run", "rerun", "sweep"])
@pytest.mark.parametrize(
    "folder",
    ["FILE", "FILE/b", "/proc/foo", "x" * 300, "new/" + "x" * 300],
    ids=["file", "below", "proc", "long", "long below"],
)
def test_a_folder_that_can_not_be_made_is_refused(compose, tmp_path, command, folder):
    (tmp_path / "FILE").touch()
    if "a" in command:
        assert compose("steps=1", "callbacks=[]", "output.folder=a").code == 0
    before = sorted(tmp_path.rglob("*"))
    done = compose(*command, *([] if "a" in command else ["steps=1"]), f"output.folder={folder}")
    assert done.code == 2 and "no files can be put there" in done.err, done.err
    assert done.err.splitlines()[-1].startswith("compose: output.folder=") and sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_is_full_leaves_nothing(compose, tmp_path, monkeypatch):
    """The system's own answer when the third file is written."""
    real, count = os.fsync, []

    def flush(handle: int) -> None:
        count.append(handle)
        if len(count) == 3:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", flush)
    done = compose("steps=1", "callbacks=[]", "output.folder=new/out")
    assert (
        done.code == 2 and "output.folder=" in done.err and "can't be written to: No space left on device" in done.err
    )
    assert len(count) == 3 and not list(tmp_path.iterdir())


def test_a_folder_that_was_there_stays(compose, tmp_path):
    (tmp_path / "mine").mkdir()
    assert compose("steps=0", "output.folder=mine/out").code == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@pytest.mark.parametrize("words", [("steps=1",), ("check",), ("list",), ("-m", "seed=1,2")], ids=" ".join)
def test_a_current_folder_that_is_gone_is_reported(compose, tmp_path, words):
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    done = compose(*words)
    os.chdir(tmp_path)
    assert done.code == 2 and "the current folder was deleted" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("prompt=caf\udce9",), ("negative_prompt=\udce9",), ("output.folder=\udce9",), ("model.source=\udce9",),
        ("prompt=['a','\udce9']",),
        ("task=img2img", "image=\udce9.png"), ("scheduler.beta_schedule=\udce9",), ("-m", "prompt='a','\udce9'"),
        ("\udce9=3",),
        ("check", "prompt=\udce9"), ("sweep.name=\udce9", "-m"),
    ],
    ids=repr,
)  # fmt: skip
def test_text_that_is_not_utf_8_is_refused_before_the_run(compose, tmp_path, words):
    done = compose(*words)
    assert (
        done.code == 2
        and "is not UTF-8 text" in done.err
        and done.err.count("\n") == 1
        and not list(tmp_path.iterdir())
    ), done.err


def test_half_a_character_in_a_file_is_refused_before_the_run(compose, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"prompt": "a \\ud83d"}\n')
    done = compose("-m", "sweep.jobs=jobs.jsonl", "steps=1", "output.folder=out")
    assert done.code == 2 and "is not UTF-8 text" in done.err and not (tmp_path / "out").exists(), done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["~callbacks"], "callbacks: can't be taken away: callbacks=[] is none of them"),
        (["~memory"], "memory: can't be taken away: memory=[] is none of them"),
        (["scheduler=null"], "scheduler=null: an option is chosen by its name: `compose list scheduler` shows all"),
        (["callbacks=null"], "callbacks=null: an option is chosen by its name: callbacks=[] is none of them"),
        (["preset=null"], "preset=null: an option is chosen by its name: leave it out"),
        (["+scheduler=euler"], "scheduler=euler: is chosen without a +: type scheduler=euler"),
        (["+task=text2img"], "task=text2img: is chosen without a +: type task=text2img"),
        (["+model=sd15"], "model=sd15: is chosen without a +: type model=sd15"),
        (["++scheduler=euler"], "scheduler=euler: is chosen without a +: type scheduler=euler"),
        (["scheduler="], "scheduler=: an option is chosen by its name: `compose list scheduler` shows all"),
        (["scheduler=[]"], "scheduler=[]: an option is chosen by its name: `compose list scheduler` shows all"),
        (
            ["scheduler=[euler,ddim]"],
            "scheduler=[euler,ddim]: one option is chosen: type scheduler=NAME, or -m scheduler=euler,ddim",
        ),
        (["task=[img2img,inpaint]"], "task=[img2img,inpaint]: one option is chosen"),
        (["+prompt=x"], "prompt=x: is there already: type prompt=VALUE, without a +"),
        (["~nothing"], "nothing: there is nothing to take away"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_marks_of_hydra_are_explained_in_our_words(compose, words, message):
    done = compose(*words)
    assert done.code == 2 and done.err.startswith(f"compose: {message}") and done.err.count("\n") == 1, done.err


def test_a_class_in_a_list_of_jobs_is_refused_by_its_key(compose, tmp_path):
    (tmp_path / "jobs.yaml").write_text("- {task: {_target_: os.system}}\n")
    done = compose("-m", "sweep.jobs=jobs.yaml")
    assert (
        done.code == 2 and "task._target_" in done.err and "classes are chosen by the names of options" in done.err
    ), done.err
