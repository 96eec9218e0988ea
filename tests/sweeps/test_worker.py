"""Configs of jobs that differ in nothing but prompts and seeds, which are read in these alone."""

from __future__ import annotations

from typing import Any

import pytest

from composer.config.compose import compose_config
from composer.config.read import plain, read
from composer.errors import ComposerError
from composer.sweeps.worker import Worker


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return plain(compose_config(["steps=2", "seed=1"]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 2},
        {"prompt": "a cube"},
        {"prompt": ["a", "b"], "seed": 3},
        {"steps": 3},
        {"negative_prompt": "red"},
    ],
    ids=str,
)
def test_a_config_after_another_is_read_as_it_is_alone(tree, changes):
    worker = Worker()
    worker.check(tree)
    after, alone = worker.check({**tree, **changes}).spec, Worker().check({**tree, **changes}).spec
    assert after == alone and list(after.config) == list(alone.config) == list(read({**tree, **changes}).config)


@pytest.mark.parametrize("value", ["hf_abcdefghijklmnop", "???", float("inf")], ids=str)
@pytest.mark.parametrize("key", ["prompt", "seed", "negative_prompt"])
def test_what_is_refused_alone_is_refused_after_another(tree, key, value):
    worker = Worker()
    worker.check(tree)
    errors = []
    for check in (worker.check, Worker().check):
        with pytest.raises(ComposerError) as error:
            check({**tree, key: value})
        errors.append(str(error.value))
    assert errors[0] == errors[1]


def test_equal_values_of_other_types_are_kept_apart(tree):
    worker = Worker()
    worker.check({**tree, "images": 1})
    with pytest.raises(ComposerError):
        worker.check({**tree, "images": True})
