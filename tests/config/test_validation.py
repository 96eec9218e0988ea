"""Every setting of every option: a wrong type, NaN and a value out of range are refused by the setting's key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cache
from math import inf, nan
from typing import Any

import pytest
import yaml

import composer
from composer.callbacks.base import StepCallback
from composer.config.read import build_spec
from composer.config.search_path import options, packaged_conf
from composer.config.spec import Choice, ModelSpec, OutputSpec, PrecisionSpec, RefinerSpec
from composer.config.targets import build, resolve
from composer.errors import ComposerError
from composer.options.base import ModelOption
from composer.sampling.guidance import Guidance
from composer.sweeps.spec import RaySpec, SearchSpec, SheetSpec, SweepSpec
from composer.system.signatures import keywords_of

KINDS = {"callbacks": StepCallback, "memory": ModelOption, "accel": ModelOption, "guidance": Guidance}
#: Settings that take any text.
FREE_TEXT = {"callbacks.prompt_switch.prompt"}
#: Floats whose default is written as an integer.
FLOATS = {"begin", "end", "num_cpus"}


@cache
def nodes() -> dict[str, dict[str, Any]]:
    """Config key of each option, such as `accel.tome`, to what its file holds."""
    contents = {}
    for group in KINDS:
        for name in options(group, [packaged_conf()]):
            node = yaml.safe_load((packaged_conf() / group / f"{name}.yaml").read_text("utf-8"))
            contents[f"{group}.{name}"] = node if group == "guidance" else node.get(name, node)
    return {key: node for key, node in contents.items() if isinstance(node, dict) and "_target_" in node}


def wrong(key: str, default: Any) -> Iterator[Any]:
    """Values that no setting with this default takes."""
    yield from ({"a": 1}, nan, [nan])
    if isinstance(default, bool):
        yield from (1, 0.0, "yes", None)
    elif isinstance(default, int) and key.rpartition(".")[2] not in FLOATS:
        yield from (True, 1.5, 2.0, "x", inf, -7, None)
    elif isinstance(default, (int, float)):
        yield from (True, "x", inf, -7, None)
    elif isinstance(default, str):
        yield from (0, 0.5, [], *(() if key in FREE_TEXT else ("no such word",)))


def settings() -> Iterator[tuple[str, str, Any]]:
    """Key of an option, name of a setting, value that it must refuse."""
    for key, node in nodes().items():
        for name, default in node.items():
            if name != "_target_" and not isinstance(default, dict):
                yield from ((key, name, value) for value in wrong(f"{key}.{name}", default))


def refused(key: str, name: str, value: Any) -> ComposerError:
    """The error of an option that is built with one setting of its own, and those that it needs."""
    group, node = key.partition(".")[0], nodes()[key]
    config_key = "guidance" if group == "guidance" else key
    keywords = {**({"guider": node["guider"]} if "guider" in node else {}), name: value}
    with pytest.raises(ComposerError) as caught:
        build(config_key, Choice(path=node["_target_"], keywords=keywords), KINDS[group])
    assert caught.value.key == f"{config_key}.{name}" and "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("key", nodes())
def test_wrong_settings_are_refused_by_key(key):
    cases = [(name, value) for option, name, value in settings() if option == key]
    for name, value in cases:
        error = refused(key, name, value)
        assert error.value is value or error.value == value, (name, value)


def test_every_setting_of_every_option_is_tried():
    """What a constructor takes is in the option's file, so that the test above finds it."""
    for key, node in nodes().items():
        cls = resolve(key, Choice(path=node["_target_"]), KINDS[key.partition(".")[0]])
        known = keywords_of(cls) - {"layers", "settings"}
        assert known <= set(node), key
    assert len(list(settings())) > 300


@pytest.mark.parametrize("key", [key for key, node in nodes().items() if "settings" in node])
def test_settings_of_a_guider_are_checked(key):
    node = nodes()[key]
    for name, default in node["settings"].items():
        for value in [value for value in wrong(key, default) if value not in (None, -7)]:
            with pytest.raises(ComposerError) as caught:
                keywords = {"guider": node["guider"], "settings": {name: value}}
                build("guidance", Choice(path=node["_target_"], keywords=keywords), Guidance)
            assert caught.value.key == f"guidance.settings.{name}", (name, value)


def test_the_same_error_comes_in_python():
    for key, name, value in settings():
        group, node = key.partition(".")[0], nodes()[key]
        if group != "guidance":
            cls = resolve(key, Choice(path=node["_target_"]), KINDS[group])
            with pytest.raises(ComposerError) as caught:
                cls(**{name: value})
            assert str(caught.value) == str(refused(key, name, value))


SPECS = {"sweep": SweepSpec, "sheet": SheetSpec, "ray": RaySpec, "search": SearchSpec, "model": ModelSpec,
    "output": OutputSpec,
         "precision": PrecisionSpec, "model.refiner": RefinerSpec}  # fmt: skip
#: Fields of a spec that a reader of its own checks.
READ_APART = {"sweep.zip", "model.components", "model.sha256", "model.refiner", "precision.components", "search.metric"}


@pytest.mark.parametrize("key", SPECS)
def test_wrong_fields_of_a_spec_are_refused_by_key(key):
    for field in fields(SPECS[key]):
        name = f"{key}.{field.name}"
        default = "" if field.default is MISSING else field.default
        wrong_values = [value for value in wrong(name, default) if value not in (None, "no such word", 0.5, 0)]
        for value in wrong_values if name not in READ_APART else ():
            with pytest.raises(ComposerError) as caught:
                build_spec(key, SPECS[key], {field.name: value})
            assert caught.value.key == name and "\n" not in str(caught.value), (name, value)


@pytest.mark.parametrize(
    "words",
    [
        ("callbacks=[preview]", "callbacks.preview.every=0"),
        ("memory=auto", "memory.auto.limit=0"),
        ("accel=[taylorseer]", "accel.taylorseer.interval=1"),
        ("guidance=interval", "guidance.first=2"),
        ("steps=0",),
        ("output.quality=0",),
        ("batch=0",),
    ],
    ids=lambda words: words[-1],
)
def test_wrong_values_are_refused_before_weights(words):
    """`check` loads no weights."""
    with pytest.raises(ComposerError) as caught:
        composer.check(*words)
    assert caught.value.key == words[-1].partition("=")[0]
