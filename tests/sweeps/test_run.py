"""Sweeps on the command line, on the embedded checkpoint: the same images as single runs, each thing once, nothing
hidden.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import SlicedAttnProcessor
from PIL import Image
from safetensors.torch import load_file, save_file
from tiers import sampled

from composer import StepCallback
from composer.callbacks.nan_guard import NanGuard
from composer.loading import component_loader
from composer.options import lifecycle
from composer.sampling.embedding_cache import EmbeddingCache, cached, content_hash, use_embedding_cache
from composer.sweeps import worker
from composer.sweeps.journal import Journal, finished_job_id
from composer.sweeps.lock import locked
from composer.sweeps.worker import JobFailure, Worker

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("height=64", "width=64", "steps=2")


def records(folder: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*/run.json"))}


def pixels(file: Path) -> bytes:
    return Image.open(file).tobytes()


def furthest(one: bytes, other: bytes) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_each_image_equals_that_of_a_single_run(compose, tmp_path):
    """With sweep.batch=1, whatever the order of jobs."""
    words = ("scheduler=dpmpp_2m_sde,heun", "seed=3,4", "prompt='a red cone','a blue cube, on sand'", *SMALL)
    assert compose("-m", *words, "sweep.batch=1", "sweep.shuffle=1", "hydra.sweep.dir=out").code == 0
    all_records = records(tmp_path / "out")
    assert len(all_records) == 8
    for subfolder, record in all_records.items():
        values = record["sweep"]["values"]
        single = [f"{key}={value}" for key, value in values.items()]
        assert compose(*single, *SMALL, f"hydra.run.dir=single/{subfolder}").code == 0
        assert pixels(tmp_path / "out" / subfolder / "000.png") == pixels(
            tmp_path / "single" / subfolder / "000.png"
        ), values


def test_batches_are_within_one_level_and_their_make_up_is_recorded(compose, tmp_path):
    words = ("scheduler=euler,ddim", "seed=range(5)", *SMALL)
    assert compose("-m", *words, "sweep.batch=4", "hydra.sweep.dir=batched").code == 0
    assert compose("-m", *words, "sweep.batch=1", "hydra.sweep.dir=alone").code == 0
    batched, alone = records(tmp_path / "batched"), records(tmp_path / "alone")
    for subfolder in alone:
        assert (
            furthest(
                pixels(tmp_path / "batched" / subfolder / "000.png"), pixels(tmp_path / "alone" / subfolder / "000.png")
            )
            <= 1
        )
        assert (
            alone[subfolder]["job"] == batched[subfolder]["job"]
            and alone[subfolder]["images"] == batched[subfolder]["images"]
        )
    assert [len(record["sweep"]["batch"]["jobs"]) for record in batched.values()] == [4, 4, 4, 4, 1] * 2
    assert batched["0002"]["sweep"]["batch"]["jobs"][2] == batched["0002"]["job"]


@pytest.mark.parametrize("word", ["callbacks=[preview]", "guidance=autoguidance"])
def test_what_is_not_safe_in_a_batch_runs_alone(compose, tmp_path, word):
    assert compose("-m", word, "seed=1,2", *SMALL, "sweep.batch=2", "hydra.sweep.dir=out").code == 0
    assert all(len(record["sweep"]["batch"]["jobs"]) == 1 for record in records(tmp_path / "out").values())


def test_files_of_callbacks_are_written_beside_their_job(compose, tmp_path):
    assert compose("-m", "callbacks=[preview,trace]", "seed=1,2", *SMALL, "hydra.sweep.dir=out").code == 0
    for subfolder in ("0000", "0001"):
        names = {file.name for file in (tmp_path / "out" / subfolder).iterdir()}
        assert names == {"000.png", "preview-000.webp", "trace.jsonl", "trace.png", "config.yaml", "run.json"}


def test_the_same_command_again_touches_nothing_and_needs_no_torch(compose, tmp_path):
    words = ("-m", "scheduler=euler,ddim", "seed=range(3)", *SMALL)
    first = compose(*words)
    assert first.code == 0 and first.out.count("000.png") == 6 and "6 jobs: 6 generated" in first.out
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert folder.name.startswith("scheduler-seed-")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.parent != folder}
    code = f"import sys; from composer.cli.main import main; print(main({list(words)!r}), 'torch' in sys.modules)"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "6 jobs: 0 generated, 6 were there already" in again.stdout and again.stdout.splitlines()[-1] == "0 False", (
        again.stderr
    )
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.parent != folder} == before


def test_missing_or_damaged_images_are_generated_again(compose, tmp_path):
    words = ("-m", "seed=range(4)", *SMALL, "sweep.name=mine", "sweep.batch=2")
    assert compose(*words).code == 0
    folder = tmp_path / "outputs" / "sweeps" / "mine"
    plain = {subfolder: pixels(folder / subfolder / "000.png") for subfolder in ("0000", "0001", "0002", "0003")}
    (folder / "0001" / "run.json").unlink()
    (folder / "0002" / "000.png").write_bytes(b"spoilt")
    (folder / "journal.jsonl").write_bytes((folder / "journal.jsonl").read_bytes() + b'{"batch": ["torn')
    done = compose(*words)
    assert done.code == 0 and "4 jobs: 2 generated, 2 were there already" in done.out
    assert {subfolder: pixels(folder / subfolder / "000.png") for subfolder in plain} == plain
    assert compose(*words, "sweep.fresh=true").out.count("000.png") == 4


def test_more_jobs_under_a_name_keep_what_is_there(compose, tmp_path):
    assert compose("-m", "seed=5,6", *SMALL, "sweep.name=grows").code == 0
    done = compose("-m", "seed=4,5,6,7", *SMALL, "sweep.name=grows")
    assert done.code == 0 and "4 jobs: 2 generated, 2 were there already" in done.out
    seeds = {
        subfolder: record["images"][0]["seed"]
        for subfolder, record in records(tmp_path / "outputs" / "sweeps" / "grows").items()
    }
    assert sorted(seeds.values()) == [4, 5, 6, 7] and seeds["0000"] == 5


def test_resume_and_status(compose, tmp_path, monkeypatch):
    words = (
        "-m",
        "seed=range(3)",
        "prompt='a cat, sitting','b'",
        *SMALL,
        "hydra.sweep.dir=out",
        "sweep.where=seed > 0",
    )
    assert compose(*words).code == 0
    (tmp_path / "out" / "0002" / "run.json").unlink()
    status = compose("status", "out")
    assert status.code == 0 and "3 of 4 done, 0 failed, 0 under way, 1 waiting" in status.out
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = compose("resume", "../out")
    assert done.code == 0 and "4 jobs: 1 generated, 3 were there already" in done.out
    assert "is no sweep's folder" in compose("resume", str(tmp_path)).err and compose("status", "nowhere").code == 2


def no_luck(self, step, prediction):
    raise ValueError("no luck")


def test_a_failed_job_hides_nothing_and_is_tried_again(compose, tmp_path, monkeypatch):
    words = ("-m", "callbacks=[nan_guard]", "seed=range(6)", *SMALL, "hydra.sweep.dir=out", "sweep.batch=3")
    with monkeypatch.context() as patch:
        patch.setattr(
            NanGuard, "after_predict", lambda self, step, x: no_luck(self, step, x) if step.latents.sum() > 0 else None
        )
        first = compose(*words)
    failed = first.err.count("compose: job ")
    assert first.code == 1 and 0 < failed < 6, first.err
    assert "callbacks.nan_guard: failed in after_predict, step 1/2: ValueError: no luck" in first.err
    assert f"{6 - failed} generated, {failed} failed" in first.out and len(records(tmp_path / "out")) == 6 - failed
    again = compose(*words)
    assert again.code == 0 and f"6 jobs: {failed} generated, {6 - failed} were there already" in again.out, again.err


def test_fail_fast_and_retries(compose, monkeypatch):
    words = ("-m", "callbacks=[nan_guard]", *SMALL)
    monkeypatch.setattr(NanGuard, "after_predict", no_luck)
    done = compose(*words, "seed=range(4)", "sweep.fail_fast=true", "hydra.sweep.dir=a")
    assert done.code == 1 and "0 generated, 1 failed, 3 skipped after the first failure" in done.out
    count = []
    monkeypatch.setattr(
        NanGuard, "after_predict", lambda *given: no_luck(*given) if count.append(1) or len(count) < 3 else None
    )
    done = compose(*words, "seed=1,2", "sweep.retries=2", "hydra.sweep.dir=b")
    assert done.code == 0 and "2 jobs: 2 generated" in done.out, done.err


def test_memory_that_runs_out_halves_the_batch_and_is_given_back(compose, tmp_path, monkeypatch):
    held = []

    def hungry(self, step, prediction):
        if len(prediction) > 2:
            much = torch.ones(10)
            held.append(weakref.ref(much))
            raise torch.OutOfMemoryError("CUDA out of memory")

    def free():
        assert all(item() is None for item in held), "kept alive"
        held.append(lambda: None)

    monkeypatch.setattr(NanGuard, "after_predict", hungry)
    monkeypatch.setattr(worker, "_free", free)
    done = compose("-m", "callbacks=[nan_guard]", "seed=range(8)", *SMALL, "sweep.batch=8", "hydra.sweep.dir=out")
    assert done.code == 0 and "8 jobs: 8 generated" in done.out, done.err
    assert "8 jobs at once: out of memory: callbacks.nan_guard" in done.out and "4 jobs at once" in done.out
    assert {len(record["sweep"]["batch"]["jobs"]) for record in records(tmp_path / "out").values()} == {2}
    assert len(held) == 4, "two batches ran out, and each time memory was given back"


def test_a_single_job_that_runs_out_of_memory_gets_the_next_option(compose, tmp_path, monkeypatch):
    def hungry(self, step, prediction):
        if not any(
            isinstance(attn_processor, SlicedAttnProcessor)
            for attn_processor in self.run.modules["unet"].attn_processors.values()
        ):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(NanGuard, "after_predict", hungry)
    monkeypatch.setattr(
        NanGuard, "around", lambda self, run: setattr(self, "run", run) or StepCallback.around(self, run)
    )
    words = ("-m", "callbacks=[nan_guard]", "seed=1,2", *SMALL, "sweep.batch=1", "hydra.sweep.dir=out")
    done = compose(*words)
    assert done.code == 0 and "2 jobs: 2 generated" in done.out, done.err
    assert "seed=1: out of memory; once more with memory=attention_slicing" in done.out
    assert all("attention_slicing" in record["memory"] for record in records(tmp_path / "out").values())
    assert "0 generated, 2 were there already" in compose(*words).out


def test_the_first_job_does_not_wait_for_the_thousandth(compose, monkeypatch):
    composed, generated = [], []
    real = Worker.check
    monkeypatch.setattr(Worker, "check", lambda self, tree: composed.append(1) or real(self, tree))

    def generate(self, jobs, more=(), may_grow=True):
        generated.append(len(composed))
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "generate", generate)
    assert compose("-m", "seed=range(1000)", *SMALL, "hydra.sweep.dir=out").code == 130
    assert generated[0] < 200


def test_each_component_is_loaded_once(compose, checkpoints, tmp_path):
    """Over 3 checkpoints × 2 schedulers × 2 seeds, and over tasks whose variants share components."""
    lifecycle.clear_models()
    component_loader.loaded.clear()
    shutil.copytree(checkpoints["sd"], tmp_path / "another")  # jobs of a mere copy would be the same jobs
    (file,) = (tmp_path / "another" / "unet").glob("*.safetensors")
    save_file({name: weight * 0.9 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    sources = f"model.source={checkpoints['sd']},{checkpoints['sdxl']},{tmp_path / 'another'}"
    axes = ("scheduler=euler,ddim", "seed=range(2)", "steps=1", "height=64", "width=64")
    done = compose("-m", *axes, "model=local", sources, "sweep.batch=1", "sweep.shuffle=1")
    assert done.code == 0 and "12 jobs: 12 generated" in done.out
    assert len(component_loader.loaded) >= 9 and set(component_loader.loaded.values()) == {1}, component_loader.loaded
    component_loader.loaded.clear()
    assert compose("-m", "scheduler=euler,ddim", *SMALL, "task=text2img,inpaint,depth2img", "sweep.batch=1").code == 0
    assert (
        set(component_loader.loaded.values()) == {1}
        and sum("text_encoder" in subfolder for subfolder in component_loader.loaded) == 1
    ), component_loader.loaded


def test_embeddings_and_encoded_images_are_shared(compose, monkeypatch):
    seen, prepare = [], Worker.__init__

    def remember(self) -> None:
        prepare(self)
        seen.append(self.memo)

    monkeypatch.setattr(Worker, "__init__", remember)
    words = (
        "task=img2img",
        "strength=0.5",
        "scheduler=euler,ddim",
        "steps=2,4",
        "seed=1,2",
        "sweep.batch=1",
        "height=64",
        "width=64",
    )
    assert compose("-m", *words).code == 0
    (memo,) = seen
    assert memo.misses == 2 and memo.hits == 14, "one prompt and one image for eight jobs"


def test_what_is_remembered_is_what_was_made():
    model, requested = torch.nn.Module(), []
    make = lambda: requested.append(1) or torch.ones(2)  # noqa: E731
    assert cached(model, lambda: "a", make) is not cached(model, lambda: "a", make) and len(requested) == 2
    with use_embedding_cache(EmbeddingCache()):
        one = cached(model, lambda: "a", make)
        assert (
            cached(model, lambda: "a", make) is one
            and cached(model, lambda: "b", make) is not one
            and len(requested) == 4
        )
        one.add_(1)
        assert cached(model, lambda: "a", make) is not one, "it was written into"
    assert content_hash(torch.ones(2)) != content_hash(torch.ones(2, 1)) != content_hash(torch.zeros(2, 1))
    assert content_hash(torch.ones(2, dtype=torch.bfloat16)) == content_hash(torch.ones(2, dtype=torch.bfloat16))


def test_one_sweep_to_a_folder(compose, tmp_path):
    with locked(tmp_path / "out"):
        other = compose("-m", "seed=1,2", "hydra.sweep.dir=out")
    assert other.code == 3 and f"process {os.getpid()} is working in it" in other.err and other.err.count("\n") == 1
    assert not (tmp_path / "out" / "sweep.json").exists()


@pytest.mark.slow  # the same with another process
def test_two_processes_never_use_a_folder_at_once(compose, tmp_path):
    with locked(tmp_path / "out"):
        code = "import sys; from composer.cli.main import main; sys.exit(main(sys.argv[1:]))"
        other = subprocess.run(
            [sys.executable, "-c", code, "-m", "seed=1,2", "hydra.sweep.dir=out"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert (
        other.returncode == 3
        and f"process {os.getpid()} is working in it" in other.stderr
        and other.stderr.count("\n") == 1
    )
    assert not (tmp_path / "out" / "sweep.json").exists()


@pytest.mark.slow  # a process; test_kills presses Ctrl-C too
def test_ctrl_c_keeps_what_is_finished(tmp_path):
    code = "import sys; from composer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-u", "-c", code, "-m", "seed=range(500)", *SMALL, "hydra.sweep.dir=out", "sweep.batch=2"]
    child = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "1/500" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130 and stderr.strip() == "compose: interrupted" and time.monotonic() - begun < 10
    subfolders = [subfolder for subfolder in (tmp_path / "out").iterdir() if subfolder.is_dir()]
    assert (
        0 < len(subfolders) < 500
        and all(finished_job_id(subfolder) for subfolder in subfolders)
        and (tmp_path / "out" / "index.html").exists()
    )


def test_a_job_that_is_requested_twice_is_generated_once(compose, tmp_path):
    done = compose("-m", "seed=1,1,2", *SMALL, "hydra.sweep.dir=out")
    assert (
        done.code == 0
        and "3 jobs: 2 generated, 1 the same as others" in done.out
        and len(records(tmp_path / "out")) == 2
    )


def test_the_plan_is_printed_without_loading(compose, tmp_path):
    done = compose("plan", "-m", "task=text2img,unconditional", "seed=range(4)", *SMALL[2:], "sweep.batch=2")
    assert done.code == 0 and "8 jobs → outputs/sweeps/task-seed-" in done.out
    assert [line.split()[:4] for line in done.out.splitlines()[2:4]] == [["0", "4", "0", "2"], ["1", "4", "0", "2"]]
    assert "15 MiB" in done.out and "task=unconditional" in done.out and not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("bad", "words"),
    sampled(
        ["scheduler=euler,flow_euler", "seed=1,-5", "scheduler=flow_euler,flow_heun"],
        [("-m", "sweep.dry_run=true"), ("check", "-m")],
    ),
)
def test_an_impossible_job_is_in_the_table_and_exit_2(compose, tmp_path, words, bad):
    left = 0 if bad == "scheduler=flow_euler,flow_heun" else 1
    done = compose(*words, bad, *SMALL, "output.folder=out")
    assert done.code == 2 and "invalid" in done.out + done.err and "of 2 jobs are invalid: change them" in done.err
    assert not (tmp_path / "out").exists()
    assert compose(*words, bad, *SMALL, "output.folder=out", "sweep.on_invalid=skip").code == (0 if left else 2)


def test_ids_depend_on_what_matters_and_nothing_else(compose, tmp_path):
    def ids(folder: str, *words: str) -> set[str]:
        assert compose("-m", *SMALL, *words, f"hydra.sweep.dir={folder}").code == 0
        return {record["job"] for record in records(tmp_path / folder).values()}

    plain = ids("a", "seed=1")
    assert plain == ids("b", "seed=1", "callbacks=[]", "sweep.batch=3"), "the folder and the progress bar have no say"
    for other in (
        "seed=2",
        "prompt=x",
        "guidance=2",
        "output=webp",
        "callbacks=[cfg_cutoff]",
        "scheduler.eta=0.5",
        "images=2",
    ):
        assert not plain & ids(f"other-{other.split('=')[0]}", "seed=1", other), other
    assert Journal.read(tmp_path / "a").done.keys() == plain


def test_settings_of_a_sweep_are_checked(compose, tmp_path):
    for words, message in {
        ("sweep.batch=0",): "sweep.batch=0: must be an integer, 1 or more, or auto",
        ("sweep.on_invalid=maybe",): "sweep.on_invalid=maybe: is not known (allowed: error, skip)",
        ("sweep.name=../x",): "sweep.name=../x: must be letters, digits",
        ("sweep.limt=3",): "sweep.limt=3: there is no such key. Did you mean sweep.limit",
        ("sweep.where=seed > 9",): "sweep.where=seed > 9: leaves no job to run",
        ("sheet.x=steps",): "sheet.x=steps",
    }.items():
        done = compose("-m", "seed=1,2", *words)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert "sweep.limit=3: is about several runs: add -m" in compose("sweep.limit=3").err
    assert not list(tmp_path.iterdir()), "a refusal writes nothing"


@pytest.mark.parametrize(
    "override", ["hydra.sweep.dir=/tmp/x", "hydra/launcher=basic", "+hydra.run.dir=/tmp/x", "++model.allow_pickle=true"]
)
def test_a_folders_own_file_chooses_no_paths_and_no_pickles(compose, tmp_path, override):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.json").write_text(json.dumps({"overrides": ["seed=1,2", override]}))
    done = compose("resume", "out")
    assert done.code == 2 and "which a file must not set" in done.err and done.err.count("\n") == 1


def test_reasons_are_lines_and_keep_nothing_alive():
    with pytest.raises(JobFailure) as caught:
        Worker().generate([{"task": {"_target_": "os.system"}}])
    assert caught.value.request and "\n" not in caught.value.reason and caught.value.__context__ is None


def test_one_varied_setting_is_printed_with_its_ratios(compose):
    done = compose(
        "-m",
        "preset=baseline,fast",
        "seed=0,1",
        "callbacks=[]",
        "height=64",
        "width=64",
        "sweep.batch=1",
        "sweep.name=ladder",
    )
    first, second = done.out.splitlines()[-3:-1]
    assert first.split()[0] == "preset=baseline" and first.endswith("1.00 x"), done.out
    assert second.split()[0] == "preset=fast" and float(second.split()[-2]) > 1
    records = [
        json.loads(file.read_text())["seconds"] for file in sorted(Path("outputs/sweeps/ladder").rglob("run.json"))
    ]
    assert f"{sum(records[:2]) / 2:.2f} s an image" in first


@pytest.mark.parametrize("words", [("steps=1,2", "scheduler=euler,ddim"), ("seed=0,1",)])
def test_several_varied_settings_have_no_ratios(compose, words):
    assert (
        "an image"
        not in compose("-m", *words, "callbacks=[]", "steps=1" if "steps=1,2" not in words else "images=1").out
    )


def test_where_a_sweep_goes(compose, tmp_path):
    words = ("-m", "seed=0,1", "steps=1", "callbacks=[]")
    assert compose(*words, "output.folder=there").code == 0 and (tmp_path / "there" / "0001" / "000.png").is_file()
    assert "2 jobs: 0 generated, 2 were there already" in compose("resume", "there").out
    for word, message in {
        "output.folder=a,b": "must be one literal folder for all jobs",
        "output.folder=a/${prompt}": "must be one literal folder for all jobs",
        "hydra.sweep.dir=a/${prompt}": "must be one literal folder for all jobs",
        "hydra.sweep.subdir=../../${seed}": "has no effect in a sweep, which numbers its jobs",
        "hydra.run.dir=x": "has no effect in a sweep, which numbers its jobs",
    }.items():
        done = compose(*words, word)
        assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
    done = compose(*words, "hydra/launcher=basic", "hydra.sweep.subdir=../../../../${seed}")
    assert done.code != 0 and "which is not inside outputs/sweeps" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs", "there"]
