"""What was typed → jobs: Hydra's grammar, and what it can't say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.config import overrides
from composer.config.compose import compose_config
from composer.config.hydra_loader import loader
from composer.errors import ComposerError
from composer.sweeps.grammar import Grammar, iter_jobs
from composer.sweeps.job_configs import Composer
from composer.sweeps.spec import SweepSpec
from composer.sweeps.where import Condition


@pytest.fixture
def grammar():
    return Grammar(loader())


def made(grammar, *words: str, known=None, **spec) -> list[dict[str, str]]:
    return [
        job.values
        for job in iter_jobs(grammar, overrides.prepare(words, multirun=True), SweepSpec(**spec), known or {})
    ]


def test_every_combination_in_the_order_that_was_typed(grammar):
    result = made(grammar, "scheduler=euler,ddim", "steps=choice(5,10)", "seed=range(2)", "images=2")
    assert [" ".join(item.values()) for item in result] == [
        "euler 5 0", "euler 5 1", "euler 10 0", "euler 10 1", "ddim 5 0", "ddim 5 1", "ddim 10 0", "ddim 10 1",
    ]  # fmt: skip


def test_globs_and_texts(grammar):
    assert [item["scheduler"] for item in made(grammar, "scheduler=glob(euler*)")] == [
        "euler",
        "euler_a",
        "euler_karras",
    ]
    assert [entry["prompt"] for entry in made(grammar, "prompt='a cat, sitting','猫'")] == ["a cat, sitting", "猫"]
    assert made(grammar, "prompt=a cat, sitting") == [{}]


def test_what_was_given_last_counts(grammar):
    assert made(grammar, "steps=1,2", "seed=1,2", "steps=3") == [{"seed": "1"}, {"seed": "2"}]


def test_zipped_axes(grammar):
    result = made(grammar, "steps=5,10", "scheduler=euler,ddim", "seed=1,2", zip=("steps", "seed"))
    assert [(item["steps"], item["seed"], item["scheduler"]) for item in result] == [
        ("5", "1", "euler"), ("5", "1", "ddim"), ("10", "2", "euler"), ("10", "2", "ddim"),
    ]  # fmt: skip
    assert (
        len(
            made(
                grammar,
                "steps=5,10",
                "scheduler=euler,ddim",
                "seed=1,2",
                "images=1,2",
                zip=(["steps", "seed"], ["scheduler", "images"]),
            )
        )
        == 4
    )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (("steps", "sed"), "sweep.zip=sed: is not among the keys that this sweep sets. Did you mean seed?"),
        (("steps", "seed"), "must have equally many values: steps has 2, seed has 3"),
    ],
)
def test_axes_that_can_not_be_zipped(grammar, groups, message):
    with pytest.raises(ComposerError) as caught:
        made(grammar, "steps=5,10", "seed=1,2,3", zip=groups)
    assert message in str(caught.value)


def test_a_file_of_jobs(grammar, tmp_path):
    (tmp_path / "jobs.csv").write_text('prompt,steps,seed\n"a cat, sitting",5,1\n猫,10,2\n')
    (tmp_path / "jobs.yaml").write_text(
        "- {prompt: 'a cat, sitting', steps: 5}\n- {prompt: \"it's\", scheduler: ddim, callbacks.preview.every: 2}\n"
    )
    table = made(grammar, "seed=7", jobs=str(tmp_path / "jobs.csv"))
    assert table == [
        {"prompt": "a cat, sitting", "steps": "5", "seed": "1"},
        {"seed": "2", "prompt": "猫", "steps": "10"},
    ]
    listed = made(grammar, "seed=1,2", jobs=str(tmp_path / "jobs.yaml"))
    assert len(listed) == 4 and listed[1] == {
        "seed": "1",
        "prompt": "it's",
        "scheduler": "ddim",
        "callbacks.preview.every": "2",
    }


TWO = [{"prompt": "a red\ncone; on sand", "seed": "1"}, {"prompt": "猫", "seed": "2"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'prompt,seed\n"a red\ncone; on sand",1\n猫,2\n'),
        ("a.csv", 'prompt;seed\n"a red\ncone; on sand";1\n猫;2\n'),
        ("a.csv", 'prompt\tseed\n"a red\ncone; on sand"\t1\n猫\t2\n'),
        ("a.tsv", 'prompt\tseed\n"a red\ncone; on sand"\t1\n猫\t2\n'),
        ("a.csv", 'sep=;\nprompt;seed\n"a red\ncone; on sand";1\n猫;2\n'),
        (
            "a.CSV",
            '\ufeff"prompt" , "seed" \r\n"a red\r\ncone; on sand",1\r\n猫,2\r\n,\r\n'.replace(' , "seed" ', ',"seed"'),
        ),
        ("a.csv", '\n prompt , seed,\n"a red\ncone; on sand",1,\n猫,2,'),
        ("a.jsonl", '{"prompt": "a red\\ncone; on sand", "seed": 1}\n\n{"prompt": "猫", "seed": 2}\n'),
        ("a.ndjson", '\ufeff{"prompt": "a red\\ncone; on sand", "seed": 1}\r\n{"prompt": "猫", "seed": 2}'),
        ("a.json", '[{"prompt": "a red\\ncone; on sand", "seed": 1}, {"prompt": "猫", "seed": 2}]'),
        ("a.yml", '- {prompt: "a red\\ncone; on sand", seed: 1}\n- {prompt: 猫, seed: 2}\n'),
    ],
)
def test_every_format_gives_the_same_jobs(grammar, tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert made(grammar, jobs=str(tmp_path / name)) == TWO


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", "prompt,seed\n,1\n", [{"prompt": "", "seed": "1"}]),
        ("a.csv", "negative_prompt;prompt\n;a cat\n", [{"negative_prompt": "", "prompt": "a cat"}]),
        ("a.jsonl", '{"prompt": "", "seed": 1}\n{"seed": 2}', [{"prompt": "", "seed": "1"}, {"seed": "2"}]),
        ("a.yaml", "- {prompt: '', seed: 1}\n- {seed: 2}", [{"prompt": "", "seed": "1"}, {"seed": "2"}]),
    ],
)
def test_an_empty_text_is_given_and_no_default(grammar, tmp_path, name, text, rows):
    (tmp_path / name).write_text(text)
    assert made(grammar, "prompt=another", jobs=str(tmp_path / name)) == [{"prompt": "another", **row} for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.yaml", None, "can't be read: No such file"),
        ("text.yaml", "just words", "must be a list, one mapping a job"),
        ("text.txt", "just words", "tables end in .csv or .tsv, JSON Lines in .jsonl"),
        ("bad.yaml", "- {a: [", "is no YAML"),
        ("empty.csv", "prompt,steps\n", "holds no jobs"),
        ("nothing.csv", "", "holds no jobs"),
        ("nothing.jsonl", "\n\n", "holds no jobs"),
        ("lines.jsonl", '{"seed": 1}\nseed: 2\n', "line 2 is no JSON object"),
        ("list.jsonl", "[1, 2]\n", "line 1 is no JSON object"),
        ("target.yaml", "- {scheduler._target_: os.system}", "classes are chosen by the names of options"),
        ("target.jsonl", '{"scheduler._target_": "os.system"}', "classes are chosen by the names of options"),
        ("hydra.csv", "hydra.run.dir\n/tmp/x\n", "row 1 sets hydra.run.dir"),
        ("sweep.csv", "steps\n'5,6'\n", "row 1 gives several values to steps"),
        ("blank.csv", "prompt,seed\na cat,1\na dog,\n", "row 2 leaves seed empty: fill it in"),
        ("blank.csv", "prompt,image\na cat, \n", "row 1 leaves image empty: fill it in"),
        ("long.csv", "prompt,seed\na cat, sitting,1\n", "row 1 has 3 cells and the header 2: quote a text"),
        ("short.csv", "prompt;seed\na cat\n", "row 1 has 1 cells and the header 2"),
        ("twice.csv", "seed,prompt,seed\n1,a,2\n", "has two columns named seed"),
        ("bars.csv", "prompt|seed\na cat|1\n", "commas, semicolons or tabs, and 'prompt|seed' is none"),
        ("mixed.csv", "prompt;seed,steps\na cat;1,2\n", "and 'prompt;seed' is none"),
        ("headless.csv", "a cat\na dog\n", "its first line must name keys"),
        ("noname.csv", "seed,\n1,a\n", "row 1 has a cell in a column without a name: a"),
        ("quote.csv", 'prompt,seed\n"a cat,1\nb,2\n', "a quote that opens a cell must close it"),
    ],
)
def test_files_that_hold_no_jobs(grammar, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text.replace("'5,6'", '"5,6"'))
    with pytest.raises(ComposerError) as caught:
        made(grammar, jobs=str(tmp_path / name))
    assert message in str(caught.value) and str(caught.value).startswith("sweep.jobs=")


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("mask=null,a.png", [None, "a.png"]),
        ("mask=a.png,null,b.png", ["a.png", None, "b.png"]),
        ("image='null',null", ["null", None]),
        ("negative_prompt=null,'a blur'", [None, "a blur"]),
        ("negative_prompt='a blur', null", ["a blur", None]),
        ("prompt=null, and void", ["null, and void"]),
    ],
)
def test_null_among_several_values_stays_null(grammar, word, values):
    result = iter_jobs(grammar, overrides.prepare([word], multirun=True), SweepSpec(), {})
    assert [job.settings[0].value for job in result] == values


def test_conditions_limits_and_shuffles(grammar):
    assert [item["seed"] for item in made(grammar, "seed=range(6)", where="seed % 2 == 0 and seed > 0")] == ["2", "4"]
    assert [entry["seed"] for entry in made(grammar, "seed=range(6)", limit=2)] == ["0", "1"]
    once, again = (made(grammar, "seed=range(20)", shuffle=3) for _ in range(2))
    assert once == again != made(grammar, "seed=range(20)") and sorted(int(value["seed"]) for value in once) == list(
        range(20)
    )
    assert len(made(grammar, "scheduler=euler,ddim", "steps=5,50", where="steps < 20 or scheduler == euler")) == 3
    assert made(grammar, "seed=1,2", where="strength * steps >= seed", known={"strength": 0.5, "steps": 3}) == [
        {"seed": "1"}
    ]


def test_an_interval_is_for_a_search(grammar):
    with pytest.raises(
        ComposerError, match=r"steps: an interval has no steps to sweep over: use range\(…\), or hydra/sweeper=optuna"
    ):
        made(grammar, "steps=interval(1,5)")


VALUES = {"steps": 10, "scheduler": "euler", "scheduler.eta": 0.5, "prompt": "a cat", "images": None, "flag": True}


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("steps == 10", True), ("steps != 10", False), ("5 < steps <= 10", True), ("scheduler in [euler, ddim]", True),
        ("scheduler == 'euler' and not steps > 20", True), ("scheduler.eta * steps == 5", True),
        ("steps - 20 < -5", True),
        ("images == null and flag", True), ("prompt == 'a cat' or nothing == there", True),
        ("scheduler not in (ddim,)", True),
        ("steps % 3 == 1", True), ("flag == false", False),
    ],
)  # fmt: skip
def test_conditions(text, truth):
    assert Condition(text)(VALUES) is truth


@pytest.mark.parametrize(
    "text",
    [
        "", "steps ==", "__import__('os').system('touch canary')", "open('canary', 'w')", "[x for x in (1,)]",
        "(lambda: 1)()",
        "steps.__class__()", "steps ** 99999999", "'a' * 999999999", "f'{steps}'", "steps if flag else 1", "prompt < 3",
        "steps / 0 == 1", "scheduler + 1 == 2", "steps is 10",
        "(" * 5000, "not " * 3000 + "flag", "{1: 2}", "x := 3", "await steps", "steps[0] == 1",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_and_never_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ComposerError, match=r"^sweep\.where"):
        Condition(text)(VALUES)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_one_line(text):
    try:
        Condition(text)(VALUES)
    except ComposerError as error:
        assert "\n" not in str(error)


WORDS = (
    ("scheduler=euler,ddim", "steps=5,10", "seed=1,2"),
    ("task=text2img,unconditional", "seed=1,2"),
    ("callbacks=[preview],[progress,trace]", "seed=1"),
    ("callbacks=[preview]", "callbacks.preview.every=1,2"),
    ("guidance=1.5,7", "prompt='a \\'c\\'','d, e'"),
    ("prompt=what ${is} \\'this\\'", "seed=1,2"),
    ("scheduler=euler", "scheduler.timestep_spacing=trailing,leading"),
    ("model=sd15", "++model.components.vae=a/b,c/d"),
    ("images=1,2", "prompt=['a','b'],['c','d']"),
    ("negative_prompt=null,'x'", "height=64,128"),
)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_job_is_composed_as_hydra_composes_it(grammar, words):
    """Values on copies of one composition, or Hydra for each: the same."""
    from omegaconf import OmegaConf

    compose = Composer(grammar)
    result = list(iter_jobs(grammar, overrides.prepare(words, multirun=True), SweepSpec(), {}))
    ours = [compose(job.settings) for job in result]
    requested = compose.composed
    theirs = [OmegaConf.to_container(compose_config(list(job.overrides)), resolve=True) for job in result]
    assert ours == theirs
    assert requested <= len(result)


def test_hydra_composes_once_for_a_set_of_options(grammar):
    compose = Composer(grammar)
    result = list(
        iter_jobs(
            grammar,
            overrides.prepare(["scheduler=euler,ddim", "steps=5,10,20", "seed=range(50)"], multirun=True),
            SweepSpec(),
            {},
        )
    )
    trees = [compose(job.settings) for job in result]
    assert len(trees) == 300 and compose.composed == 2
    trees[0]["output"]["format"] = "spoilt"
    assert trees[1]["output"]["format"] == "auto", "jobs share no data"
