"""Nothing that the user sets is ignored: two values of a key give different images, or the key is refused."""

from __future__ import annotations

import pytest
from tiers import slow_but

import composer
from composer.errors import ComposerError

pytestmark = pytest.mark.usefixtures("one_thread")
#: Key → two values of it.
VALUES: dict[str, tuple[object, object]] = {
    "prompt": ("a cat", "a dog"),
    "negative_prompt": ("fog", "rain"),
    "seed": (0, 1),
    "steps": (2, 4),
    "guidance.scale": (2, 6),
    "guidance.rescale": (0.3, 0.9),
    "height": (64, 96),
    "strength": (0.5, 1),
    "control_scale": (0.4, 1),
    "image": ("sample:scene", "sample:detail"),
    "mask": ("sample:mask", "sample:scene"),
    "control_image": ("sample:scene", "sample:detail"),
    "arguments.cfg_normalization": ("false", "true"),
}
TEXT = ("prompt", "negative_prompt", "seed", "steps", "guidance.scale", "guidance.rescale", "height")
START = (*TEXT, "image", "strength")
#: Task and pipeline → keys of the task.
CASES = {
    "text2img qwen": TEXT,
    "text2img zimage": (*TEXT, "arguments.cfg_normalization"),
    "text2img klein": TEXT,
    "text2img lumina2": TEXT,
    "text2img sana": TEXT,
    "text2img flux_true_cfg": TEXT,
    "text2img sd3_pag": TEXT,
    "img2img zimage": START,
    "img2img qwen": START,
    "inpaint qwen": (*START, "mask"),
    "control sdcontrol": (*TEXT, "control_image", "control_scale"),
    "control fluxcontrol": (*TEXT, "control_image", "control_scale"),
    "edit klein": TEXT,
}
HALF = ["strength=0.5"]  # of 2 steps: the image is left with half of the noise
FIXED = {
    "text2img": [],
    "img2img": HALF,
    "inpaint": ["keep_unmasked=false", *HALF],
    "control": [],
    "edit": ["references=small.png"],
}
SMALL = {"prompt": "a cat", "negative_prompt": "fog", "steps": 2, "height": 64, "width": 64, "guidance.scale": 3}


def generate(words: list[str], **settings: object) -> bytes | None:
    """Pixels of an image; None where a setting is refused."""
    try:
        return composer.compose(*words, *(f"{key}={value}" for key, value in settings.items())).image.tobytes()
    except ComposerError:
        return None


@pytest.mark.parametrize("case", slow_but(["text2img zimage", "img2img zimage"], CASES))
def test_two_values_differ_or_are_refused(others, tmp_path, monkeypatch, case):
    from composer.images.reading import read_image

    monkeypatch.chdir(tmp_path)
    read_image("image", "sample:scene").resize((64, 64)).save("small.png")
    task, name = case.split()
    words = [
        f"task={task}",
        "model=local",
        f"model.source={others[name]}",
        "guidance=cfg",
        "callbacks=[]",
        *FIXED[task],
    ]
    positive = {key: value for key, value in SMALL.items() if key != "negative_prompt"}
    base = positive if generate(words, **SMALL) is None else SMALL  # not each class takes a negative prompt
    assert generate(words, **base) is not None
    for key in CASES[case]:
        first, second = (generate(words, **base | {key: value}) for value in VALUES[key])
        assert None in (first, second) or first != second, key
