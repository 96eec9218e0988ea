"""Every option file composes, describes itself, and names things that exist."""

from __future__ import annotations

import re
from functools import cache

import pytest
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from tiers import every, slow_but

from composer.callbacks.base import StepCallback
from composer.config.catalogue import contents
from composer.config.compose import compose_config
from composer.config.hydra_loader import Loader
from composer.config.read import read
from composer.config.search_path import groups, options, packaged_conf
from composer.config.spec import Choice
from composer.config.targets import resolve
from composer.sampling.guidance import Guidance
from composer.system.signatures import check_keywords, keywords_of
from composer.tasks.base import Task

FOLDERS = [packaged_conf()]
EVERY = [(group, name) for group in groups(FOLDERS) for name in options(group, FOLDERS)]
#: Those that are composed in a run; steps of recipes are in tests/recipes.
OF_RUNS = [pair for pair in EVERY if pair[0] not in ("recipe", "tool")]
#: Options that leave a value to the user.
NEEDED = {"local": ["model.source=x"], "prompt_switch": ["callbacks.prompt_switch.prompt=x"]}


def test_there_are_as_many_as_there_are_files():
    files = [path for path in packaged_conf().rglob("[!_]*.yaml") if path.name != "compose.yaml"]
    assert len(EVERY) == len(files) >= 68


@pytest.mark.parametrize("group", ["model", "task"])
def test_a_base_file_is_no_option(compose, group):
    assert "_base" not in options(group, FOLDERS) and (packaged_conf() / group / "_base.yaml").is_file()
    done = compose("check", f"{group}=_base")
    assert done.code == 2 and f"{group}=_base: there is no such option" in done.err
    assert "_base" not in Loader(FOLDERS).get_group_options(group)


@pytest.mark.parametrize("name", sorted(options("model", FOLDERS)))
def test_every_model_option_has_the_same_keys(name):
    base = contents(packaged_conf() / "model" / "_base.yaml")
    node = compose_config([f"model={name}", *NEEDED.get(name, [])]).model
    assert set(node) - {"name"} == set(base)


@cache
def composed(group, name):
    chosen = f"{group}=[{name}]" if group == "callbacks" else f"{group}={name}"
    return read(compose_config([chosen, *NEEDED.get(name, [])]))


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_an_option_says_what_it_is(group, name):
    text = options(group, FOLDERS)[name]
    assert 10 < len(text) < 200 and re.match(r"[A-Z0-9]|b?float\d\d|[fb][fp]\d\d", text)


#: Groups whose options are composed by other tests too, here and where they are used.
COMPOSED = ("scheduler", "task", "guidance", "callbacks")


@pytest.mark.parametrize(("group", "name"), slow_but(lambda pair: pair[0] not in COMPOSED, OF_RUNS))
def test_an_option_composes(group, name):
    assert composed(group, name).task.path


@pytest.mark.parametrize(("group", "name"), [pair for pair in EVERY if pair[0] in ("task", "scheduler")], ids="/".join)
def test_an_option_links_to_its_documentation(group, name):
    if (group, name) != ("scheduler", "default"):
        assert "https://" in options(group, FOLDERS)[name]


@pytest.mark.parametrize(
    "name", every(2, [name for name in options("scheduler", FOLDERS) if name not in ("default", "fast")])
)
def test_a_scheduler_is_a_class_with_such_settings_and_a_kind(name):
    spec = composed("scheduler", name).scheduler
    cls = resolve("scheduler", spec.target, SchedulerMixin)
    check_keywords("scheduler", spec.keywords, keywords_of(cls.__init__) | keywords_of(cls.step))
    assert spec.kind in ("diffusion", "flow", "edm")
    assert (spec.kind == "flow") == name.startswith("flow_")


@pytest.mark.parametrize(
    "group_kind", [("task", Task), ("guidance", Guidance), ("callbacks", StepCallback)], ids=lambda pair: pair[0]
)
def test_targets_are_of_their_kind(group_kind):
    group, kind = group_kind
    for name in options(group, FOLDERS):
        spec = composed(group, name)
        targets = {"task": [spec.task], "guidance": [spec.guidance], "callbacks": list(spec.callbacks.values())}[group]
        assert targets and all(isinstance(target, Choice) and resolve(group, target, kind) for target in targets)


def test_the_fast_preset_leaves_the_dtype_to_the_device(compose):
    done = compose("check", "preset=fast")
    assert done.code == 0 and "precision" not in done.err + done.out, done  # fp16 is replaced on CPUs, with a note
