"""The results of checks that come with composer are those of trials, and a first check needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.loading import tested_results
from composer.loading.check_cache import recording
from composer.loading.tested_results import find_tested
from composer.pipelines import make_results
from composer.pipelines.check_facts import trial_facts
from composer.pipelines.known_schedules import recall_schedule
from composer.pipelines.schedules_ahead import try_all_schedules
from composer.pipelines.trial import tried

#: What people ask first, by what a check of it answers.
FIRST = {
    "passes": [
        ["check"], ["show"], ["config"], ["check", "steps=7"], ["check", "scheduler=heun", "steps=33"],
        ["show", "scheduler=euler", "guidance=2"], ["check", "task=img2img", "strength=0.5"], ["check", "task=inpaint"],
        ["check", "task=unconditional"], ["check", "model=tiny_flow"], ["check", "model=tiny_flow", "task=img2img"],
        ["show", "model=tiny_flow", "task=edit", "references=sample:scene"],
        ["check", "accel=[deepcache]"], ["show", "memory=[vae_slicing]", "images=2"], ["check", "precision=fp16"],
        ["plan", "-m", "scheduler=euler,ddim", "steps=20,25,30"], ["check", "-m", "seed=range(8)", "steps=10,20"],
        ["check", "prompt_syntax=weights"],
    ],
    "refuses": [
        ["device=cuda:99"], ["memory=[model_offload]"], ["check", "memory=[vae_tiling]"],
        ["check", "precision=bnb_nf4"], ["accel=[first_block_cache]"], ["memory=[xformers]"],
    ],
}  # fmt: skip
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "numpy")
RUN = """
import sys
from composer.cli.main import main
code = main(sys.argv[1:])
print([name for name in %r if name in sys.modules])
raise SystemExit(code)
""" % (HEAVY,)  # noqa: UP031  # braces of Python
SOME = ([], ["task=img2img"], ["model=tiny_flow"], ["memory=[vae_tiling]"], ["accel=[deepcache]"], ["precision=fp16"])


def checked(*words):
    return check(read(compose_config(list(words))))


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow  # a process each
@pytest.mark.parametrize(
    ("answer", "words"), [(answer, words) for answer, all_words in FIRST.items() for words in all_words], ids=str
)
def test_a_first_check_needs_no_torch(no_cache, tmp_path, answer, words):
    arguments = [sys.executable, "-c", RUN, *words]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == {"passes": 0, "refuses": 2}[answer], done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", SOME, ids=str)
def test_they_are_what_a_trial_finds(no_cache, words):
    """If this fails, a check changed: run `python -m composer.pipelines.make_results`."""
    results = {}
    with recording(results):
        make_results.find_all(checked(*words))
    assert results
    for (kind, facts), result in results.items():
        kept = find_tested_by_text(kind, facts)
        if kind == "schedule":
            passed = [row for row in kept["passed"] if row in as_json(result["passed"])]
            assert {**kept, "passed": passed} == as_json(result)
        else:
            assert kept == as_json(result), kind


def as_json(result):
    return json.loads(json.dumps(result))


def find_tested_by_text(kind, facts):
    """As `find_tested`, by the `repr` of the facts."""

    class Facts:
        def __repr__(self):
            return facts

    return find_tested(kind, Facts())


@pytest.mark.slow  # minutes
@pytest.mark.parametrize("hidden", [False, True], ids=["installed", "without optional packages"])
def test_all_are_what_trials_find(no_cache, hidden):
    results = {}
    with recording(results), make_results.without(make_results.OPTIONAL if hidden else ()):
        for one in make_results.requests(make_results.specs()):
            try_all_schedules(one)
            make_results.find_all(one)
    different = [key for key, result in results.items() if find_tested_by_text(*key) != as_json(result)]
    assert len(results) > 300 and not different


def test_they_are_the_same_with_a_cache_and_without_these_results(no_cache, tmp_path, monkeypatch):
    for words in SOME:
        request = checked(*words)
        with_them = answer(request)
        with monkeypatch.context() as changed:
            changed.setattr(tested_results, "FILE", tmp_path / "absent")
            assert answer(request) == with_them
            assert answer(request) == with_them  # from the cache now


def answer(request):
    try:
        return tried(request), recall_schedule(request)
    except ComposerError as error:
        return type(error), str(error)


def test_other_versions_of_libraries_use_none(no_cache, monkeypatch):
    assert recall_schedule(checked()) is not None
    tested_results._holds.cache_clear()
    monkeypatch.setattr(tested_results, "installed", lambda: {"diffusers": "0.0.1"})
    assert recall_schedule(checked()) is None
    tested_results._holds.cache_clear()


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
def test_a_package_that_is_missing_is_noticed(no_cache):
    installed = trial_facts(checked("accel=[openvino]"))
    with make_results.without(["openvino"]):
        absent = checked("accel=[openvino]")
        assert trial_facts(absent) != installed
        with pytest.raises(ComposerError, match="needs the package"):
            tried(absent)
    tried(checked("accel=[openvino]"))


def test_no_result_depends_on_a_path_of_this_machine():
    results = {}
    with recording(results):
        make_results.find_all(checked("memory=[vae_tiling]"))
        make_results.find_all(checked("task=inpaint", "precision=fp16"))
    assert results and not [facts for _, facts in results if str(tested_results.FILE.parents[2]) in facts]
