"""An image generates itself again: from its file alone, in another process and another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from composer.config.search_path import options, packaged_conf
from composer.testing.image_files import pixels

#: Schedulers for the kinds of models that the embedded checkpoint is not.
OTHERS = ("flow_", "edm_")
SCHEDULERS = [name for name in options("scheduler", [packaged_conf()]) if not name.startswith(OTHERS)]
FROM_IMAGES = {
    "img2img": ["strength=0.6"], "inpaint": [], "outpaint": ["margins=[8,0,8,0]"], "variations": [], "upscale": [],
    "depth2img": [],
}  # fmt: skip
MEMORY = ("vae_slicing", "vae_tiling", "attention_slicing")
#: What makes an image, and the number of the one that is generated again.
SOME = {
    "batch": (["images=3", "seed=5"], 1),
    "shares": (["images=5", "batch=2"], 3),
    "prompts": (["prompt=['a red cone','a blue cube']", "negative_prompt=['','a sky']", "images=2"], 2),
    "drawn_seed": (["seed=null"], 0),
    "text": (["prompt=a cat, ${oc.env:HOME} (\"x\") 'y' \\${z} 猫 🎈"], 0),
    "inpaint": (["task=inpaint", "images=2"], 1),
    "unconditional": (["task=unconditional", "images=2"], 1),
    "ancestral": (["scheduler=euler_a", "images=2"], 1),
    "settings": (["scheduler=ddim", "scheduler.eta=0.7", "scheduler.timestep_spacing=trailing", "guidance=3.5"], 0),
    "callbacks": (["callbacks=[preview,trace,cfg_cutoff,dynamic_threshold]", "callbacks.cfg_cutoff.after=0.5"], 0),
    "switch": (
        ["callbacks=[prompt_switch]", "callbacks.prompt_switch.prompt=a blue cube", "callbacks.prompt_switch.step=2"],
        0,
    ),
    "half": (["precision=bf16", "accel=[deepcache]", "accel.deepcache.interval=2"], 0),
    "auto": (["memory=auto", "memory.auto.limit=0.12", "height=512", "width=512"], 0),
    "jpeg": (["output=jpeg"], 0),
    "job_of_a_batch": (["-m", "seed=range(3)", "sweep.batch=3"], 0),
}
ALL = {
    **{f"scheduler_{name}": ([f"scheduler={name}", f"images={1 + i % 3}"], i % 3) for i, name in enumerate(SCHEDULERS)},
    **{f"task_{name}": ([f"task={name}", "images=2", *words], 1) for name, words in FROM_IMAGES.items()},
    **{f"preset_{name}": ([f"preset={name}"], 0) for name in ("half", "fast", "small")},
    **{f"guidance_{name}": ([f"guidance={name}", "images=2"], 1) for name in ("interval", "none", "apg", "pag",
            "cfg_zero")},
    **{f"accel_{name}": ([f"accel=[{name}]"], 0) for name in ("channels_last", "fused_qkv", "tome")},
    **{f"memory_{name}": ([f"memory=[{name}]", "height=192", "images=2"], 1) for name in MEMORY},
    **{f"callback_{name}": ([f"callbacks=[{name}]"], 0) for name in ("early_stop", "guidance_schedule", "latents_save",
            "nan_guard")},
    "webp": (["output=webp", "images=2"], 1),
}  # fmt: skip
#: Runs the command line once for each line of words on stdin, in one process.
RUNS = "import sys, json\nfrom composer.cli.main import main\n"
RUNS += "for line in sys.stdin: print('\\nEXIT', main(json.loads(line)), flush=True)"


def process(folder: Path, lines: list[list[str]]) -> list[tuple[int, str]]:
    """Exit code and output of each command."""
    folder.mkdir()
    text = "".join(json.dumps(words) + "\n" for words in lines)
    done = subprocess.run(
        [sys.executable, "-c", RUNS], cwd=folder, input=text, capture_output=True, text=True, env=dict(os.environ)
    )
    parts = done.stdout.split("\nEXIT ")
    assert len(parts) == len(lines) + 1, done.stderr[-2000:]
    return [(int(after.split("\n")[0]), before + done.stderr) for before, after in pairwise(parts)]


def proven(tmp_path: Path, cases: dict[str, tuple[list[str], int]]) -> None:
    """Each case's image, moved away from all else that its run left, and generated again."""
    results = process(
        tmp_path / "made", [["steps=4", "output.folder=" + name, *words] for name, (words, _) in cases.items()]
    )
    for name, (code, output) in zip(cases, results):
        assert code == 0, f"{name}: {output}"
    alone = tmp_path / "alone"
    alone.mkdir()
    folders = {
        name: "0001/" if "-m" in words else "" for name, (words, _) in cases.items()
    }  # a job that is not the first of its batch
    files = {
        name: next((tmp_path / "made" / name).glob(f"{folders[name]}{number:03}.*"))
        for name, (_, number) in cases.items()
    }
    for name, file in files.items():
        file.rename(alone / (name + file.suffix))
    again = process(
        tmp_path / "again",
        [["rerun", str(alone / (name + file.suffix)), f"output.folder={name}"] for name, file in files.items()],
    )
    for name, (code, output) in zip(files, again):
        assert code == 0 and "bit for bit" in output, f"{name}: {output}"
        before, after = alone / (name + files[name].suffix), tmp_path / "again" / name / files[name].name
        assert pixels(before) == pixels(after), name


#: Some for each merge.
FEW = ("batch", "text", "inpaint", "settings", "callbacks", "jpeg", "job_of_a_batch")


@pytest.mark.parametrize("names", [FEW, pytest.param([*SOME], marks=pytest.mark.slow)], ids=["few", "all"])
def test_the_image_alone_is_enough(tmp_path, names):
    proven(tmp_path, {name: SOME[name] for name in names})


@pytest.mark.slow
def test_so_are_those_of_all_tasks_and_schedulers(tmp_path):
    proven(tmp_path, ALL)
    assert len({**SOME, **ALL}) >= 60


def test_what_options_set_today_beyond_a_record_is_not_applied(compose, tmp_path):
    """`match_tones`, and the scale that `model=tiny` recommends for the task, came after the first records."""
    words = ["task=outpaint", "steps=2", "match_tones=false", "~model.variants.outpaint.guidance"]
    assert compose(*words, "hydra.run.dir=old").code == 0
    record = json.loads(Path("old/run.json").read_text("utf-8"))
    del record["config"]["match_tones"]
    Path("old/run.json").write_text(json.dumps(record), "utf-8")
    done = compose("rerun", "old/run.json", "output.folder=again")
    again = json.loads(Path("again/run.json").read_text("utf-8"))
    assert done.code == 0 and again["pixels"] == record["pixels"], done.err
    assert record["guidance"]["scale"] == again["guidance"]["scale"] == 5.0
    done = compose("rerun", "old/run.json", "output.folder=matched", "match_tones=true")
    assert done.code == 0 and json.loads(Path("matched/run.json").read_text("utf-8"))["pixels"] != record["pixels"]
