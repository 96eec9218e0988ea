"""Composition by composer's own loader."""

from __future__ import annotations

import pytest

from composer.config.hydra_loader import loader


@pytest.mark.parametrize(
    "words", [[], ["task=inpaint"], ["scheduler=euler", "steps=7"], ["accel=[deepcache]"]], ids=str
)
def test_files_that_are_read_once_give_every_config_anew(words):
    """A, B, A by one loader, beside loaders of their own."""
    one, another = loader(), ["model=tiny_flow", "task=edit", "memory=[vae_tiling]"]
    configs = [one.settings(list(given)) for given in (words, another, words)]
    configs[0].steps = 99  # as a caller may
    assert configs[2] == loader().settings(list(words)) and configs[1] == loader().settings(another)
