"""`compose check` and the run give the same verdict for each task of each pipeline of the zoo."""

from __future__ import annotations

import pytest
from tiers import slow_but
from zoo import ZOO

import composer
from composer.checkpoints.find import find_checkpoint
from composer.checks.further_arguments import SET_BY_COMPOSER
from composer.checks.hosted_task import hosted_tasks
from composer.checks.pipeline_arguments import TABLE
from composer.config.spec import ModelSpec
from composer.errors import ComposerError

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
#: Pipelines whose classes fail in their own code, which only a run shows: what is missing.
FAILING = {
    "zimage_omni": "its siglip encoder is called in bfloat16",
    "bria": "its transformer's scheduler must have scale_model_input",
    "sdxl_union": "needs arguments.control_mode",
    "cogview4": "its tiny tokenizer makes no token of an empty negative prompt",
    "bria_fibo": "gives an empty negative prompt a token that the tiny text encoder does not have",
    "amused": "its scheduler takes one generator, and no list",
    "latte": "makes as many frames as its transformer was made for",
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
        "model=local", f"model.source={folder}", "model.family=hosted", f"task={task}", "steps=2", "callbacks=[]", *SMALL[task], *sizes,
        *more,
    ]  # fmt: skip


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", slow_but(["zimage", "ltx", "stable_audio"], [name for name in ZOO if ZOO[name].loads]))
def test_check_and_run_agree(others, tmp_path, monkeypatch, name):
    from composer.images.reading import read_image

    if not ZOO[name].available:
        pytest.skip(f"needs {ZOO[name].needs}")
    monkeypatch.chdir(tmp_path)
    read_image("image", "sample:scene").resize((64, 64)).save("small.png")
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(others[name]), family="hosted"))
    requests = [words_of(name, others[name], task) for task in hosted_tasks(checkpoint) if task in SMALL]
    verdicts = [(verdict(composer.check, *words), verdict(composer.compose, *words)) for words in requests]
    failed = [run for check, run in verdicts if check is None and run is not None]
    if name in FAILING:
        assert failed and all("failed in its own code" in run for run in failed), FAILING[name]
    else:
        assert [check for check, _ in verdicts] == [run for _, run in verdicts]
