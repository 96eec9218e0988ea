"""prompt_syntax=dynamic: what is chosen, by which seed, what is refused; and all combinations as an axis of a sweep."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from composer.config import dynamic_prompts
from composer.config.dynamic_prompts import DynamicPrompts
from composer.errors import ComposerError
from composer.testing.image_files import pixels

#: Prompt → all its texts. Those up to the empty line are what the library dynamicprompts 0.31 makes of the same,
#: but for the space after its comma, and in the order as typed.
COMBINATIONS = {
    "a {red|blue} cone": ["a red cone", "a blue cone"],
    "{a|b} {c|d}": ["a c", "a d", "b c", "b d"],
    "{2$$a|b|c}": ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"],
    "{2$$ and $$a|b|c}": ["a and b", "a and c", "b and a", "b and c", "c and a", "c and b"],
    "{1-2$$a|b|c}": ["a", "b", "c", "a, b", "a, c", "b, a", "b, c", "c, a", "c, b"],
    "{0-1$$a|b}": ["", "a", "b"],
    "{-2$$a|b}": ["a", "b", "a, b", "b, a"],
    "{2-$$a|b}": ["a, b", "b, a"],
    "{3$$a|b}": ["a, b", "b, a"],
    "{a|}": ["a", ""],
    "{a}": ["a"],
    "{ a | b }": ["a", "b"],
    "{a|{b|c}}": ["a", "b", "c"],
    "{0.5::a|b}": ["a", "b"],
    "no choice": ["no choice"],
    "(red:1.2) [x] 10:30 a|b": ["(red:1.2) [x] 10:30 a|b"],
    "__colour__": ["red", "blue", "dark green", "light green"],
    "__sub/*__": ["x", "y", "z"],
    "{2$$__sub/a__}": ["x, y", "y, x"],

    r"\{a|b\} \_\_x\_\_ \|": ["{a|b} __x__ |"],
    "__../x__": ["__../x__"],
    "x_y __ z # c": ["x_y __ z # c"],
    "{0::a|b}": ["a", "b"],
    "": [""],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    lists = tmp_path / "lists"
    (lists / "sub").mkdir(parents=True)
    (lists / "colour.txt").write_text("red\nblue\n# a comment\n\n{dark|light} green\n")
    (lists / "sub" / "a.txt").write_text("x\ny\n")
    (lists / "sub" / "b.txt").write_text("z")
    (lists / "loop.txt").write_text("__circle__")
    (lists / "circle.txt").write_text("a __loop__")
    (lists / "empty.txt").write_text("# nothing\n")
    return lists


@pytest.mark.parametrize("prompt", COMBINATIONS)
def test_all_combinations_and_no_other_is_chosen(folder, prompt):
    prompts = DynamicPrompts(str(folder))
    assert prompts.combinations(prompt) == COMBINATIONS[prompt]
    chosen = {prompts.choose(prompt, seed) for seed in range(200)}
    assert chosen == set(COMBINATIONS[prompt]) - ({"a"} if prompt.startswith("{0::") else set())


def test_the_seed_chooses_and_weights_count():
    prompts = DynamicPrompts()
    assert [prompts.choose("{a|b|c|d}", seed) for seed in range(6)] == ["d", "d", "d", "c", "a", "c"]  # in each version
    texts = [prompts.choose("{3::red|blue}", seed) for seed in range(2000)]
    assert 0.7 < texts.count("red") / 2000 < 0.8
    assert prompts.choose("{2$$a|b|c|d}", 3) == prompts.choose("{2$$a|b|c|d}", 3)


REFUSED = {
    "a {red": "has a { that nothing closes",
    "a red}": "has a } that nothing opens", "{" * 9000: "brackets within each other",
    "{3-1$$a|b}": "at least 3 and at most 1", "{0::a|0::b}": "weights are all 0",
    "__nowhere__": "there is no nowhere.txt",
    "__colou__": "Did you mean colour?", "__loop__": "leads to itself", "__empty__": "has no lines",
    "__sub/../../secret__": "there is no",
}  # fmt: skip


@pytest.mark.parametrize("prompt", REFUSED, ids=[prompt[:12] for prompt in REFUSED])
@pytest.mark.parametrize("way", ["choose", "combinations"])
def test_what_cannot_be_read_is_refused(folder, prompt, way):
    (folder.parent / "secret.txt").write_text("secret")
    prompts = DynamicPrompts(str(folder))
    with pytest.raises(ComposerError) as refused:
        prompts.choose(prompt, 0) if way == "choose" else prompts.combinations(prompt)
    assert REFUSED[prompt] in str(refused.value)


def test_growth_is_limited(folder):
    """Files that lead to ten others each, and combinations without end, stop at a limit."""
    for level in range(9):
        (folder / f"bomb{level}.txt").write_text(" ".join([f"__bomb{level + 1}__"] * 10))
    (folder / "bomb9.txt").write_text("x" * 100)
    prompts = DynamicPrompts(str(folder))
    with pytest.raises(ComposerError, match="becomes longer than 20,000"):
        prompts.choose("__bomb0__", 0)
    with pytest.raises(ComposerError):
        prompts.combinations("__bomb0__")
    with pytest.raises(ComposerError, match="more than 10,000 combinations"):
        prompts.combinations("{a|b|c|d|e|f|g|h|i|j}" * 40)
    with pytest.raises(ComposerError, match="more than 10,000 combinations"):
        prompts.combinations("{-12$$" + "|".join("abcdefghijkl") + "}")
    assert dynamic_prompts.MAX_COMBINATIONS == 10_000


def test_links_do_not_lead_out_of_the_directory(folder, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ComposerError, match=r"there is no link\.txt"):
        DynamicPrompts(str(folder)).choose("__link__", 0)


def test_a_run_records_the_chosen_text_and_reruns_without_the_files(compose, folder):
    words = ["prompt_syntax=[dynamic,weights]", "prompt=a ({red|blue|green}:1.2) __colour__ cone", "steps=1",
             "images=3", "seed=1", f"wildcards={folder}"]  # fmt: skip
    done = compose(*words, "output.folder=out")
    assert done.code == 0 and "plain text" not in done.err, done.err
    record = json.loads(Path("out/run.json").read_text())
    chosen = [image["prompt"] for image in record["images"]]
    expected = [
        DynamicPrompts(str(folder)).choose("a ({red|blue|green}:1.2) __colour__ cone", seed) for seed in (1, 2, 3)
    ]
    assert chosen == expected and len(set(chosen)) > 1 and not any("{" in text or "__" in text for text in chosen)
    literal = compose(f"prompt={chosen[0]}", "prompt_syntax=weights", "steps=1", "seed=1", "output.folder=literal")
    assert literal.code == 0
    single = compose(*words, "images=1", "output.folder=one")
    assert single.code == 0 and pixels("one/000.png") == pixels("literal/000.png")
    (folder / "colour.txt").unlink()
    again = compose("rerun", "one/000.png", "--trust", "output.folder=again")
    assert again.code == 0 and pixels("again/000.png") == pixels("one/000.png"), again.err
    other = compose("rerun", "one/000.png", "seed=9", "--trust", "output.folder=other")
    assert other.code == 0, other.err
    assert json.loads(Path("other/run.json").read_text())["images"][0]["prompt"] == chosen[0]


def test_combinations_are_an_axis(compose, folder):
    done = compose("-m", "prompt=combinations(a {red|blue} {cone|cube})", "steps=1", "sweep.name=all")
    assert done.code == 0, done.err
    records = [json.loads(path.read_text()) for path in sorted(Path("outputs/sweeps/all").rglob("run.json"))]
    prompts = [record["images"][0]["prompt"] for record in records]
    assert sorted(prompts) == sorted(" ".join(("a", *pair)) for pair in product(("red", "blue"), ("cone", "cube")))
    plan = compose("plan", "-m", "prompt=combinations(__sub/*__)", f"wildcards={folder}", "prompt_syntax=dynamic")
    assert plan.code == 0 and "3" in plan.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prompt=combinations({a|b})"], "makes a sweep of several prompts"),
        (["-m", "prompt=combinations({a|b)"], "that nothing closes"),
        (["-m", "prompt=combinations(__x__)"], "type wildcards=FOLDER"),
        (["wildcards=lists"], "is for prompt_syntax=dynamic"),
        (["prompt_syntax=[text,dynamic]"], "text reads no other syntax"),
        (["prompt_syntax=[dynamic,wild]"], "is not known"),
        (["prompt_syntax=dynamic", "prompt=a {b"], "that nothing closes"),
        (["prompt_syntax=dynamic", "prompt=__x__"], "type wildcards=FOLDER"),
        (["prompt_syntax=dynamic", "prompt=__x__", "wildcards=nowhere"], "there is no such directory"),
        (["prompt_syntax=dynamic", "negative_prompt=}"], "negative_prompt"),
    ],
)
def test_refusals_name_the_key(compose, words, message):
    done = compose(*words, "steps=1")
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err


def test_literal_prompts_get_one_note_that_names_the_syntax(compose):
    done = compose("prompt=a {red|blue} (big:1.2) cone", "steps=1")
    assert done.code == 0 and done.err.count("read as plain text") == 1
    assert "prompt_syntax=[dynamic,weights] reads {a|b} and __name__ and (word:1.2) and BREAK" in done.err
    quoted = compose("prompt='combinations({a|b})'", "steps=1", "output.folder=quoted")
    assert quoted.code == 0
    assert json.loads(Path("quoted/run.json").read_text())["images"][0]["prompt"] == "combinations({a|b})"
