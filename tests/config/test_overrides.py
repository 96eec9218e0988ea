from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from composer.cli import main
from composer.config import overrides
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.sweeps import driver

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60).filter("???".__ne__)
SYNTAX = st.text(st.sampled_from("'\"\\$ {}()[],=:#!?~@%*\t\nab猫é"), max_size=20).filter("???".__ne__)
QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))


def as_typed(text: str) -> bool:
    """Text that a user types without meaning syntax."""
    return not overrides._DELIBERATE.fullmatch(text) and not text.startswith("@")


def examples(few: int, many: int) -> pytest.MarkDecorator:
    """How many texts a property is tried with; with many of them it is a slow test."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


@examples(5, 30)
def test_any_text_arrives_unchanged_when_quoted(count):
    @settings(QUICK, max_examples=count)
    @given(TEXT | SYNTAX)
    @example("a cat, sitting")
    @example("it's a \\'quoted' \\ text\\")
    @example("${oc.env:HOME} \\${x} \\\\${y}")
    @example("choice(a,b), range(3), [x], {y: z}")
    @example("")
    def holds(text):
        assert compose_config([f"prompt={overrides.quote(text)}"]).prompt == text

    holds()


@examples(5, 30)
def test_any_text_arrives_unchanged_as_typed(count):
    @settings(QUICK, max_examples=count)
    @given(TEXT | SYNTAX)
    @example("a cat, sitting (on a mat) = fun! #1 猫 ~")
    @example("'tis the season")
    @example('say "hi"')
    def holds(text):
        assume(as_typed(text))
        assert compose_config([f"prompt={text}"]).prompt == text

    holds()


@pytest.mark.parametrize("typed", ["prompt=???", "image=???", "image=[a.png,???]"])
def test_the_one_text_that_a_config_cannot_hold_is_refused_as_such(typed):
    with pytest.raises(ComposerError, match="three question marks alone mean a missing value"):
        overrides.prepare([typed])


def test_texts_and_files_of_callbacks_arrive_as_typed():
    words = [
        "callbacks=[prompt_switch]",
        "callbacks.prompt_switch.prompt=a dog, sitting (not: standing)",
        "callbacks.prompt_switch.mask=a,b.png",
    ]
    node = compose_config(words).callbacks.prompt_switch
    assert node.prompt == "a dog, sitting (not: standing)" and node.mask == "a,b.png"


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """Run the real command line and Hydra's real grammar; instead of generating, keep each job's prompt."""
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []

    class Looks:
        def __init__(self, sweep):
            seen.extend(read(sweep.compose(job.settings)).values["prompt"] for job in sweep.jobs)

        def run(self):
            return 0

    monkeypatch.setattr(driver, "Driver", Looks)

    def run(*words: str) -> list[str]:
        seen.clear()
        assert main.main(["-m", *words]) == 0
        return list(seen)

    return run


@examples(4, 20)
def test_any_text_arrives_unchanged_in_a_multirun(jobs, count):
    @settings(QUICK, max_examples=count)
    @given(TEXT | SYNTAX)
    @example("a cat, sitting")
    @example("${x}\\'")
    def holds(text):
        assume(as_typed(text))
        assert jobs(f"prompt={text}", "steps=2,3") == [text, text]

    holds()


@examples(4, 12)
def test_any_texts_arrive_unchanged_as_a_sweep(jobs, count):
    @settings(QUICK, max_examples=count)
    @given(st.lists(TEXT | SYNTAX, min_size=2, max_size=3, unique=True))
    @example(["猫", "犬, \\", "it's ${a}"])
    def holds(texts):
        assert jobs(f"prompt={overrides.quote_all(texts)}") == texts

    holds()


@pytest.mark.parametrize("typed", ["'a cat, sitting'", '"a cat, sitting"'])
def test_one_quoted_string_is_its_content(typed):
    assert compose_config([f"prompt={typed}"]).prompt == "a cat, sitting"


def test_null_and_a_list_are_syntax():
    assert compose_config(["negative_prompt=null"]).negative_prompt is None
    assert list(compose_config(["prompt=['a, b','it\\'s']"]).prompt) == ["a, b", "it's"]


def test_a_file_is_one_prompt_in_a_run_and_one_a_line_in_a_sweep(jobs, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("a cat, sitting\n\n@home, 'quoted'\n", "utf-8")
    assert compose_config([f"prompt=@{file}"]).prompt == "a cat, sitting\n\n@home, 'quoted'"
    assert jobs(f"prompt=@{file}") == ["a cat, sitting", "@home, 'quoted'"]


def test_a_missing_file_is_named():
    with pytest.raises(ComposerError, match=r"prompt=@nowhere\.txt: .*quote it"):
        overrides.prepare(["prompt=@nowhere.txt"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("guidance=7.5", "guidance.scale=7.5"),
        ("guidance=1,2", "guidance.scale=1,2"),
        ("guidance=cfg", "guidance=cfg"),
        ("scheduler.eta=1.0", "++scheduler.eta=1.0"),
        ("+scheduler.eta=1.0", "+scheduler.eta=1.0"),
        ("scheduler=ddim", "scheduler=ddim"),
        ("~callbacks", "~callbacks"),
    ],
)
def test_what_is_typed_becomes_what_is_meant(typed, meant):
    assert overrides.prepare([typed]) == [meant]
