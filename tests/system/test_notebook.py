"""What a notebook and a script are given to show; tests/test_kernel.py looks at what a notebook makes of it."""

from __future__ import annotations

import io
import signal

import pytest
from PIL import Image

import composer
from composer.callbacks import progress
from composer.errors import ComposerError
from composer.records.result import Result
from composer.system import notebook


def result(count: int = 1) -> Result:
    images = [Image.new("RGB", (4, 3), (i, 0, 0)) for i in range(count)]
    return Result(media=images, seeds=tuple(range(count)), seconds=0.1, iterations=1)


@pytest.mark.parametrize(("count", "size"), [(1, (4, 3)), (3, (10, 8))])
def test_a_result_shows_its_images(count, size):
    assert Image.open(io.BytesIO(result(count)._repr_png_())).size == size


def test_a_result_is_one_line_of_text():
    assert repr(result()) == "Result(1 image of 4 x 3 pixels, seed 0, 0.1 s)"
    assert repr(result(9)) == "Result(9 images of 4 x 3 pixels, seed 0, 1, 2, 3, 4, 5, 6, 7, …, 0.1 s)"


def test_an_error_is_the_line_of_the_command():
    with pytest.raises(ComposerError) as caught:
        composer.compose(stepz=3)
    assert caught.value._render_traceback_() == [f"ComposerError: {caught.value}"] and "\n" not in str(caught.value)


def interrupted() -> None:
    with notebook.interruptible():
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stays_what_it_is_in_a_script():
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    assert type(caught.value) is KeyboardInterrupt


def test_ctrl_c_that_a_library_made_an_error_of_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt), notebook.interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("a library's own") from None


def test_nothing_is_printed_without_a_terminal(capfd):
    composer.compose(steps=2)
    actual = capfd.readouterr()
    assert actual.out == actual.err == "" and not progress.in_notebook()
