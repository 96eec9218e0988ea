"""Configs of requests without Hydra are those of Hydra, and follow the option files."""

from __future__ import annotations

import os
import re

import pytest
from tiers import every

from composer.api.requests import request_of
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.keys import LISTS, OF_SWEEPS
from composer.config.read import plain, read
from composer.config.recipes import compose_request, compose_request_and_folder
from composer.config.search_path import MARKER, groups, options, packaged_conf
from composer.errors import ComposerError
from composer.pipelines.trial import tried
from composer.server.service import Service
from composer.sweeps import request_configs
from composer.sweeps.request_configs import RequestConfigs, compose_again

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
    assert outcome(configs, words) == outcome(compose_request, words)


FOLDER = [
    ["output.folder=there"], ["output.folder='there/in it'"], ["output.folder=~/x"], ["output.folder=null"],
    ["output.folder=5"], ["hydra.run.dir=there"], ["output.folder=there/${seed}"], ["output.folder=/proc/x"],
    ["recipe=hires"], ["hydra.job.name=x"], ["output.folder=there", "hydra.run.dir=here"], ["prompt=a cat, sitting"],
    ["prompt=a: b"], ["seed=1", "seed=2"],
]  # fmt: skip


def with_folder(compose, words: list[str]):
    def composed(words: list[str]):
        tree, folder = compose(words)
        return {"tree": plain(tree), "folder": re.sub(r"\d", "0", str(folder))}  # which date and time name

    return outcome(composed, words)


@pytest.mark.parametrize("words", [*WORDS[:4], *every(4, WORDS[4:]), *FOLDER], ids=" ".join)
def test_configs_of_calls_and_their_folders_are_those_of_hydra(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    expected = with_folder(compose_request_and_folder, words)
    assert with_folder(compose_again, words) == expected  # composed now, and from what was kept
    assert with_folder(compose_again, words) == expected


def test_an_option_file_that_names_a_folder_is_obeyed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own/output").mkdir(parents=True)
    for folder in ("inside", "/outside"):
        (tmp_path / "own/output/mine.yaml").write_text(f"# Mine.\nformat: png\nfolder: {folder}\n")
        results = [outcome(lambda words: compose(words, "own")[1], ["output=mine"])
                   for compose in (compose_request_and_folder, compose_again)]  # fmt: skip
        assert results[0] == results[1] and folder in str(results[1])


def test_calls_from_python_are_composed_once():
    before = composed()
    for seed in range(3):
        assert request_of(["steps=2"], {"seed": seed, "prompt": "a cone"})[0].values["seed"] == seed
    assert composed() <= before + 1


def composed() -> int:
    kept = [configs._composer for configs in request_configs._shared.values()]
    return sum(composer.composed for composer in kept if composer is not None)


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
