"""preset=fast: each family gets a scheduler that its models can use, and distilled models keep their own steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zoo

from composer.checkpoints.layouts import HOSTED, families
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.testing import pipelines
from composer.testing.image_files import pixels

DPM = "diffusers.DPMSolverMultistepScheduler"
#: Family → tiny pipeline, words that its task needs, the scheduler (None: the checkpoint's own), and the steps.
FAMILIES = {
    "sd": ("sd", (), DPM, 20),
    "sdxl": ("sdxl", (), DPM, 20),
    "ddpm": ("ddpm", ("task=unconditional",), DPM, 20),
    "sd3": ("sd3", (), None, 20),
    "flux": ("flux", (), None, 20),
    "flux2": ("klein", (), None, 20),
    "chroma": ("chroma", (), None, 20),
    "lumina2": ("lumina2", (), None, 20),
    "ltx": ("ltx", ("task=text2video",), None, 20),
    "qwen_image": ("qwen", (), None, 20),
    "sana": ("sana", (), None, 20),
    "wan": ("wan", ("task=text2video",), None, 20),
    "z_image": ("zimage", (), None, 20),
}
#: Tiny pipelines that diffusers' own pipeline runs → words that their task needs, and the steps.
OTHERS = {
    "pixart_sigma": ((), 20),
    "consistency": (("task=unconditional",), 1),
    "stable_audio": (("task=text2audio",), 20),
}


def saved(name: str, folder: Path) -> Path:
    return pipelines.save(name, folder) if name in pipelines.MAKERS else zoo.save(name, folder)


def resolved(folder: Path, *words: str):
    return check(read(compose_config(["model=local", f"model.source={folder}", *words])))


def test_every_family_is_here():
    assert set(FAMILIES) == set(families()) - {HOSTED}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_keeps_what_its_models_need(family, tmp_path):
    """Scheduler and steps are those of the table; what is typed has precedence; without the preset nothing changes."""
    source, words, scheduler, steps = FAMILIES[family]
    folder = saved(source, tmp_path / "model")
    checked = resolved(folder, "preset=fast", *words)
    assert checked.checkpoint.family == family
    target = checked.spec.scheduler.target
    assert (target and target.path, checked.request.steps) == (scheduler, steps)
    assert resolved(folder, "preset=fast", "steps=33", *words).request.steps == 33
    few = resolved(folder, "preset=fast", "model.recommended={steps: 6}", *words)
    assert few.spec.scheduler.target is None and few.request.steps == 6, "a model for few steps keeps its scheduler"
    assert resolved(folder, *words).spec.scheduler.target is None


@pytest.mark.parametrize("family", ["sd", "flux"])
def test_settings_of_the_scheduler_are_those_of_the_chosen_one(family, tmp_path):
    folder = saved(family, tmp_path / "model")
    key, value = {"sd": ("use_karras_sigmas", True), "flux": ("shift", 2.0)}[family]
    spec = resolved(folder, "preset=fast", f"scheduler.{key}={value}").spec
    assert spec.scheduler.keywords == {key: value}
    with pytest.raises(ComposerError, match=f"scheduler.{key[:-1]}.*Did you mean"):
        resolved(folder, "preset=fast", f"scheduler.{key[:-1]}={value}")


def test_a_scheduler_that_is_typed_has_precedence(tmp_path):
    spec = resolved(saved("sd", tmp_path / "model"), "preset=fast", "scheduler=euler").spec
    assert spec.scheduler.target.path == "diffusers.EulerDiscreteScheduler" and spec.scheduler.most_steps is None


def test_a_checkpoint_distilled_by_its_index_keeps_its_steps(tmp_path):
    folder = zoo.with_json(zoo.save("klein", tmp_path / "model"), "model_index.json", is_distilled=True)
    assert resolved(folder, "preset=fast").request.steps == 4


@pytest.mark.parametrize("name", OTHERS)
def test_a_hosted_pipeline_keeps_its_scheduler(name, tmp_path):
    words, steps = OTHERS[name]
    checked = resolved(zoo.save(name, tmp_path / "model"), "preset=fast", *words)
    assert checked.checkpoint.family == HOSTED and checked.spec.scheduler.target is None
    assert checked.request.steps == steps


def test_the_record_names_the_scheduler_and_reruns_the_same(compose):
    assert compose("preset=fast", "precision=fp32", "output.folder=out").code == 0
    record = json.loads(Path("out/run.json").read_text())
    assert record["scheduler"]["class"] == DPM.removeprefix("diffusers.")
    (choice,) = (choice for choice in record["choices"] if choice["group"] == "scheduler")
    assert choice["name"] == "dpmpp_2m" and record["steps"] == 20 and "_by_kind_" not in json.dumps(record)
    done = compose("rerun", "out/000.png", "output.folder=again")
    assert done.code == 0 and pixels("again/000.png") == pixels("out/000.png")


@pytest.mark.parametrize(
    ("line", "reason"), [("{video: dpmpp_2m}", "_by_kind_"), ("{diffusion: dpm}", "is no scheduler")]
)
def test_an_option_file_with_a_wrong_kind_or_option_is_refused(line, reason, tmp_path):
    folder = tmp_path / "conf" / "scheduler"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# Mine.\n_target_: null\n_kind_: null\n_by_kind_: {line}\n")
    with pytest.raises(ComposerError, match=reason):
        read(compose_config(["scheduler=mine"], str(tmp_path / "conf")))
