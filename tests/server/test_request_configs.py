"""Configs of requests without Hydra are those of Hydra, and follow the option files."""

from __future__ import annotations

import os

import pytest
from tiers import every

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.keys import LISTS, OF_SWEEPS
from composer.config.read import plain, read
from composer.config.search_path import MARKER, groups, options, packaged_conf
from composer.errors import ComposerError
from composer.pipelines.trial import tried
from composer.server.request_configs import RequestConfigs
from composer.server.service import Service

FOLDERS = [packaged_conf()]
OPTIONS = [
    [f"{group}=[{name}]" if group in LISTS else f"{group}={name}", "seed=5"]
    for group in groups(FOLDERS)
    if group not in OF_SWEEPS
    for name in options(group, FOLDERS)
]
WORDS = [
    [], ["seed=3"], ["seed=null"], ["seed=-1"], ["steps=4", "prompt='a cone, red'"], ["prompt=['a','b']"],
    ["callbacks=[preview]", "callbacks.preview.every=2"], ["task=img2img", "image=sample:scene"], ["guidance=7.5"],
    ["output=webp", "output.quality=9"], ["++arguments.x=1"], ["++scheduler.beta_start=0.1"], ["steps=null"],
    ["accel=[deepcache]", "accel.deepcache.interval=2"], ["seed_step=0", "images=3"], ["memory=[vae_tiling]"],
    ["prompt='a \\${b}'"], ["output=jpg"], ["stepz=3"], ["scheduler=nothing"], ["callbacks.preview.every=2"],
    ["steps.x=1"], ["guidance.scale=3"], ["~callbacks"], ["model=local"],
]  # fmt: skip


@pytest.fixture(scope="module")
def configs() -> RequestConfigs:
    return RequestConfigs()


def outcome(compose, words: list[str]):
    try:
        return plain(compose(words))
    except ComposerError as error:
        return str(error)


@pytest.mark.parametrize("words", [*WORDS[:4], *every(3, WORDS[4:]), *every(15, OPTIONS)], ids=" ".join)
def test_they_are_those_of_hydra(configs, words):
    assert outcome(configs, words) == outcome(compose_config, words)


def test_equal_options_are_composed_once():
    configs = RequestConfigs()
    trees = [configs([f"seed={seed}", "prompt='a cone'"]) for seed in (1, 2, 1)]
    assert [tree["seed"] for tree in trees] == [1, 2, 1] and trees[0] is not trees[2]
    assert configs._composer.composed == 1


def test_a_changed_option_file_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf/scheduler/own.yaml"
    file.parent.mkdir(parents=True)
    (tmp_path / "conf" / MARKER).touch()
    configs = RequestConfigs()
    text = "# Mine.\n_target_: diffusers.EulerDiscreteScheduler\n_kind_: diffusion\nbeta_start: {}\n"
    values = []
    for moment, given in enumerate(("0.001", "0.002")):
        file.write_text(text.format(given))
        os.utime(file, ns=(moment, moment))
        values.append(configs(["scheduler=own"])["scheduler"]["beta_start"])
    assert values == [0.001, 0.002]


def test_parts_are_tried_once_for_requests_that_differ_in_the_seed(tmp_path):
    service = Service(tmp_path, 100)
    known = []
    for words in (["seed=1"], ["seed=2"], ["seed=2", "steps=1"], ["seed=3", "prompt='(a) cone'"]):
        assert service.check(words) == tried(check(read(compose_config(words)))), words
        known.append(len(service._tried))
    assert known == [1, 1, 2, 3]
    with pytest.raises(ComposerError, match="steps=0"):
        service.check(["seed=1", "steps=0"])
    assert len(service._tried) == 3
