"""Steps and guidance that are left open follow from the family, and from the pipeline settings in a checkpoint's
index.
"""

from __future__ import annotations

import pytest
import zoo

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read

#: Tiny pipeline → changes of its index, words, and the steps and guidance scale that follow.
DEFAULTS = {
    "klein": ("klein", {}, (), 50, 4.0),
    "klein distilled": ("klein", {"is_distilled": True}, (), 4, 1.0),
    "klein distilled, guided": ("klein", {"is_distilled": True}, ("guidance.scale=3", "steps=8"), 8, 3.0),
    "z_image": ("zimage", {}, (), 50, 6.0),
    "qwen_image": ("qwen", {}, (), 50, 4.0),
    "sana": ("sana", {}, (), 20, 4.5),
    "lumina2": ("lumina2", {}, (), 30, 4.0),
    "wan": ("wan", {}, ("task=text2video",), 50, 5.0),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_open_settings_follow_from_the_checkpoint(name, tmp_path):
    source, changes, words, steps, scale = DEFAULTS[name]
    folder = zoo.with_json(zoo.save(source, tmp_path / "model"), "model_index.json", **changes)
    spec = check(read(compose_config(["model=local", f"model.source={folder}", *words]))).spec
    assert (spec.values["steps"], spec.guidance.keywords["scale"]) == (steps, scale)
