"""A sweep over schedulers, guidance and seeds on a hosted pipeline gives the images of single runs."""

from __future__ import annotations

import itertools

import pytest

from composer.testing.image_files import pixels

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "axes",
    [
        {"scheduler": ("euler", "dpmpp_2m"), "guidance": ("apg", "interval"), "seed": ("1",)},
        pytest.param(
            {"scheduler": ("euler_a", "heun"), "guidance": ("cfg", "tcfg", "cfg_zero"), "seed": ("1", "2")},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["sample", "all"],
)
def test_each_image_is_that_of_its_single_run(compose, checkpoints, axes):
    words = [
        "model=local",
        f"model.source={checkpoints['sd']}",
        "model.family=hosted",
        "prompt=a cat",
        "steps=3",
        "height=64",
        "width=64",
        "callbacks=[]",
    ]
    swept = compose(
        "-m",
        *words,
        *(f"{key}={','.join(values)}" for key, values in axes.items()),
        "sweep.batch=1",
        "output.folder=sweep",
    )
    assert swept.code == 0, swept.err
    seen = set()
    for number, values in enumerate(itertools.product(*axes.values())):
        single = [f"{key}={value}" for key, value in zip(axes, values)]
        assert compose(*words, *single, f"output.folder=single{number}").code == 0
        image = pixels(f"single{number}/000.png")
        assert pixels(f"sweep/{number:04}/000.png") == image
        seen.add(image)
    assert len(seen) == number + 1, "an axis has no effect"
