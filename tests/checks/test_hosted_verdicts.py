"""`compose check` and the run give the same verdict for each task of each pipeline of the zoo."""

from __future__ import annotations

import pytest
from tiers import slow_but
from zoo import ZOO

import composer
from composer.checkpoints.find import find_checkpoint
from composer.checks import hosted_task
from composer.checks.compatibility import check
from composer.checks.further_arguments import SET_BY_COMPOSER
from composer.checks.hosted_task import hosted_tasks
from composer.checks.pipeline_arguments import TABLE
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.spec import ModelSpec
from composer.errors import ComposerError
from composer.pipelines import trial

#: Task → settings that keep a run small.
SMALL = {
    "text2img": [],
    "img2img": ["strength=0.5"],
    "inpaint": ["strength=0.5", "keep_unmasked=false"],
    "edit": ["references=small.png"],
    "control": [],
    "text2video": ["frames=5", "output=gif"],
    "image2video": ["frames=5", "output=gif"],
    "text2audio": ["seconds=0.5"],
    "unconditional": [],
}
#: What a task of a pipeline needs besides: it is refused without, and runs with it.
NEEDED = {
    ("zimage_omni", "edit"): "precision.vae=bf16",
    ("sdxl_union", "control"): "arguments.control_mode=[0]",
    ("latte", "text2video"): "frames=2",
}
#: Arguments that have keys.
KEYED = {name for names in TABLE.values() for name in names} | SET_BY_COMPOSER


def verdict(call, *words: str) -> str | None:
    """The refusal of a request; None if it is accepted."""
    try:
        call(*words)
    except ComposerError as error:
        return str(error)
    return None


def words_of(name: str, folder: object, task: str) -> list[str]:
    """A request of one task with the sizes and further arguments of the zoo."""
    call = ZOO[name].call()
    sizes = [f"{key}={call[key]}" for key in ("height", "width") if key in call and task != "text2audio"]
    plain = {key: value for key, value in call.items() if type(value) in (bool, int, float) and key not in KEYED}
    more = [f"arguments.{key}={str(value).lower()}" for key, value in plain.items()]
    return [
        "model=local", f"model.source={folder}", "model.family=hosted", f"task={task}", "steps=2", "callbacks=[]",
        *SMALL[task], *sizes,
        *more,
    ]  # fmt: skip


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", slow_but(["zimage", "ltx", "stable_audio"], [name for name in ZOO if ZOO[name].loads]))
def test_check_and_run_agree(others, tmp_path, monkeypatch, name):
    if not ZOO[name].available:
        pytest.skip(f"needs {ZOO[name].needs}")
    monkeypatch.chdir(tmp_path)
    small_image()
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(others[name]), family="hosted"))
    requests = [words_of(name, others[name], task) for task in hosted_tasks(checkpoint) if task in SMALL]
    verdicts = [(verdict(composer.check, *words), verdict(composer.compose, *words)) for words in requests]
    assert [check for check, _ in verdicts] == [run for _, run in verdicts]


@pytest.mark.parametrize("name", slow_but(["zimage", "kontext"], [name for name in ZOO if ZOO[name].loads]))
def test_what_is_kept_of_a_check_is_what_it_was(others, tmp_path, monkeypatch, name):
    """The class that does a task, its defaults, and the notes of the trial; those of modular blocks are not kept."""
    if not ZOO[name].available:
        pytest.skip(f"needs {ZOO[name].needs}")
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    small_image()
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(others[name]), family="hosted"))
    for task in (task for task in hosted_tasks(checkpoint) if task in SMALL):
        words = words_of(name, others[name], task)
        first = verdict_and_facts(words)
        if checkpoint.blocks or isinstance(first, str):
            continue
        with monkeypatch.context() as patched:
            for module, function in ((hosted_task, "_choose"), (trial, "_try")):
                patched.setattr(module, function, lambda *given: pytest.fail("tried again"))
            assert verdict_and_facts(words) == first, task


def verdict_and_facts(words: list[str]) -> object:
    """A refusal, or what a check finds out."""
    try:
        checked = check(read(compose_config(words)))
        return checked.spec.batch, checked.checkpoint, trial.tried(checked), trial.lines_of_schedule(checked)
    except ComposerError as error:
        return str(error)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("name", "task"), [case if case[0] == "latte" else pytest.param(*case, marks=pytest.mark.slow) for case in NEEDED]
)
def test_what_a_class_needs_is_named_and_then_it_runs(others, tmp_path, monkeypatch, name, task):
    monkeypatch.chdir(tmp_path)
    small_image()
    words, needed = words_of(name, others[name], task), NEEDED[name, task]
    refusal = verdict(composer.check, *words)
    assert refusal is not None and refusal.endswith((f"say {needed}", f"say {needed} for the first kind"))
    assert verdict(composer.compose, *words, needed) is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), [("amused", "text2img"), ("sdxl_union", "control")])
def test_pipelines_that_take_one_prompt_get_one_at_a_time(others, tmp_path, monkeypatch, name, task):
    monkeypatch.chdir(tmp_path)
    small_image()
    words = [*words_of(name, others[name], task), "images=2", *filter(None, [NEEDED.get((name, task))])]
    assert "say batch=1" in str(verdict(composer.check, *words, "batch=2"))
    first, second = composer.compose(*words).images
    assert first.tobytes() != second.tobytes()


def small_image() -> None:
    from composer.images.reading import read_image

    read_image("image", "sample:scene").resize((64, 64)).save("small.png")
