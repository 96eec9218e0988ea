"""Conformance tests of options of `accel` and `memory`: inherit `OptionTests` and create the option.

from composer.testing.conformance import OptionTests

class TestShallow(OptionTests):
    changes_images = True

    def make(self):
        return Shallow()
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from composer.options.base import ModelOption
from composer.records.result import Result
from composer.testing.option_files import settings_of_file
from composer.testing.runs import TinyModel, nearly_same, same, task_named, tasks_of, tiny_model

#: Groups that an option can be chosen in.
GROUPS = ("accel", "memory")
CPU = torch.device("cpu")


class OptionTests:
    """Tests that a subclass named `Test…` inherits.

    Attributes:
        families: composer's families whose tiny pipelines it is run with, on the CPU.
        changes_images: Whether it changes images. If not, they must be the same up to one gray level: where an option
            computes fewer images at once, some processors add floats in another order.
        option: Its option file, if it is to be checked.
    """

    families: ClassVar[tuple[str, ...]] = ("sd",)
    changes_images: ClassVar[bool] = False
    option: ClassVar[Path | None] = None

    def make(self) -> ModelOption:
        """Create the option.

        Returns:
            A new option.
        """
        raise NotImplementedError(f"{type(self).__name__} does not create its option")

    def test_it_has_a_group_and_a_name(self) -> None:
        option = self.make()
        assert option.group in GROUPS, f"its group must be one of {GROUPS}"
        assert option.config_key() == f"{option.group}.{option.name}"
        if self.option is not None:
            assert (self.option.parent.name, self.option.stem) == (option.group, option.name)
            settings_of_file(self.option, type(option), nested=True)

    def test_its_families_have_what_it_changes(self) -> None:
        option = self.make()
        for family in self.families:
            assert option.families is None or family in option.families, family
            if option.component not in (None, "denoiser"):
                assert getattr(tiny_model(family).pipe, str(option.component), None) is not None, family

    def test_equal_settings_have_equal_keys(self) -> None:
        """An option stays on the models while its key is the same, and embeddings are reused by another one."""
        one, other = self.make(), self.make()
        for name in ("attach_key", "embedding_key"):
            keys = [getattr(option, name)() for option in (one, other)]  # both alive, so no address is used twice
            assert repr(keys[0]) == repr(keys[1]), f"{name} differs between equal options"

    def test_it_has_its_effect_and_is_undone(self) -> None:
        """Images of a run with it are as declared and repeat; those of a run after it are as before."""
        for family in self.families:
            model = tiny_model(family)
            plain, before = self._run(model, family), state(model)
            with self.make().attach(model.pipe, CPU):
                option = self.make()
                first, again = (self._run(model, family, option) for _ in range(2))
            assert same(first, again), f"{family}: a second run generates other images"
            changed = not (same if self.changes_images else nearly_same)(first, plain)
            assert changed == self.changes_images, f"{family}: changes_images is {self.changes_images}"
            assert state(model) == before, f"{family}: it leaves a change on the models"
            assert same(self._run(model, family), plain), f"{family}: images after it are others"

    def test_it_is_undone_after_an_error(self) -> None:
        for family in self.families:
            model, option = tiny_model(family), self.make()
            before = state(model)
            with pytest.raises(ZeroDivisionError), option.attach(model.pipe, CPU), option.active(model.pipe):
                raise ZeroDivisionError
            assert state(model) == before, f"{family}: an error leaves a change on the models"

    def _run(self, model: TinyModel, family: str, option: ModelOption | None = None) -> Result:
        task = tasks_of(family)[0]
        request = model.request(task, batch=2)
        callbacks = {} if option is None else option.callbacks()
        pipeline = model.pipeline(task_named(task), callbacks)
        if option is None:
            return pipeline(request)
        with option.active_for(model.pipe, request):
            return pipeline(request)


def state(model: TinyModel) -> Mapping[str, Any]:
    """Describe all that an option can leave behind on the models.

    Args:
        model: A tiny pipeline.

    Returns:
        Component and layer → its class, attributes, hooks and identity of its weights.
    """
    return {
        f"{component}.{name}": (type(layer), attributes(layer), _hooks(layer), _tensors(layer))
        for component, module in model.pipe.components.items()
        if isinstance(module, torch.nn.Module)
        for name, layer in module.named_modules()
    }


def attributes(layer: torch.nn.Module) -> frozenset[str]:
    """List the names of all attributes that are set on a layer."""
    return frozenset(vars(layer))


def _hooks(layer: torch.nn.Module) -> tuple[int, ...]:
    return tuple(len(getattr(layer, name)) for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"))


def _tensors(layer: torch.nn.Module) -> tuple[tuple[str, torch.dtype, int], ...]:
    tensors = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
    return tuple((name, tensor.dtype, tensor.data_ptr()) for name, tensor in tensors)
