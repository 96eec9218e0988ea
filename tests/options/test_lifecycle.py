"""What is put on models once stays for the runs that want it, and is gone for those that don't, whoever shares them."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from composer.options import lifecycle
from composer.options.base import ModelOption, embedding_key

CPU = torch.device("cpu")


class Marks(ModelOption):
    group, name = "accel", "marks"

    def __init__(self, mark: str) -> None:
        self.mark = mark

    @contextmanager
    def attach(self, pipe, device):
        if self.mark == "broken":
            raise ValueError("on purpose")
        pipe.log.append(f"+{self.mark}")
        try:
            yield
        finally:
            pipe.log.append(f"-{self.mark}")


def pipe(*models):
    return SimpleNamespace(components={str(i): model for i, model in enumerate(models)}, log=[])


@pytest.fixture(autouse=True)
def clean():
    lifecycle.remove_options()
    yield
    lifecycle.remove_options()


def test_applied_once_while_the_same_options_are_requested():
    one = pipe(nn.Linear(1, 1))
    for _ in range(2):
        lifecycle.apply_options(one, {"accel.marks": Marks("a")}, CPU)
    assert one.log == ["+a"]
    lifecycle.apply_options(one, {"accel.marks": Marks("b")}, CPU)
    lifecycle.apply_options(one, {}, CPU)
    assert one.log == ["+a", "-a", "+b", "-b"]


def test_another_pipeline_with_a_shared_model_takes_it_off():
    shared = nn.Linear(1, 1)
    one, other, unrelated = pipe(shared), pipe(nn.Linear(1, 1), shared), pipe(nn.Linear(1, 1))
    lifecycle.apply_options(one, {"accel.marks": Marks("a")}, CPU)
    lifecycle.apply_options(unrelated, {}, CPU)
    assert one.log == ["+a"]
    lifecycle.apply_options(other, {}, CPU)
    assert one.log == ["+a", "-a"]


def test_what_was_begun_is_undone_when_the_next_option_fails():
    one = pipe(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="on purpose"):
        lifecycle.apply_options(one, {"accel.a": Marks("a"), "accel.b": Marks("broken")}, CPU)
    assert one.log == ["+a", "-a"]
    lifecycle.apply_options(one, {"accel.a": Marks("a")}, CPU)
    assert one.log == ["+a", "-a", "+a"]


def test_at_exit_everything_comes_off_before_libraries_go(monkeypatch):
    registered = []
    monkeypatch.setattr(lifecycle.atexit, "register", registered.append)
    one = pipe(nn.Linear(1, 1))
    lifecycle.apply_options(one, {"accel.marks": Marks("a")}, CPU)
    assert len(registered) == 1
    registered[0]()
    assert one.log == ["+a", "-a"]


class Scaled(Marks):
    """An option with a setting that `active` applies."""

    def __init__(self, mark: str, scale: float) -> None:
        self.mark, self.scale = mark, scale

    def attach_key(self):
        return self.mark


def test_a_setting_that_attach_does_not_depend_on_leaves_it_attached():
    one = pipe(nn.Linear(1, 1))
    for mark, scale in (("a", 0.5), ("a", 1.0), ("b", 1.0)):
        lifecycle.apply_options(one, {"accel.scaled": Scaled(mark, scale)}, CPU)
    assert one.log == ["+a", "-a", "+b"]


def test_embeddings_are_kept_apart_by_all_settings_unless_an_option_says_otherwise():
    keys = {embedding_key({"accel.scaled": Scaled("a", scale)}) for scale in (0.5, 1.0)}
    assert len(keys) == 2
