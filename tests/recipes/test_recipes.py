"""Recipes: what their steps make, what is used again, and what is refused."""

from __future__ import annotations

import json

import pytest

import composer
from composer.config.recipes import Recipe
from composer.errors import ComposerError
from composer.loading import disk_cache

SMALL = "height: 64, width: 64, steps: 2"
CHAIN = f"""# Three steps.
prompt: a red cone
steps:
  base: {{task: text2img, {SMALL}}}
  larger: {{tool: resize, image: 'step:base', factor: 1.5}}
  again: {{task: img2img, image: 'step:larger', steps: 2, strength: 0.5}}
"""


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A directory of option files with the recipe `chain`, and an empty cache."""
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf"
    (folder / "recipe").mkdir(parents=True)
    (folder / "recipe" / "chain.yaml").write_text(CHAIN)
    return str(folder)


def stored():
    """Names of the results of steps in the cache."""
    return {path.name for path in disk_cache.folder("steps").glob("*")}


def test_steps_are_what_single_runs_make(conf):
    result = composer.compose("recipe=chain", config_dir=conf)
    base = composer.compose(prompt="a red cone", height=64, width=64, steps=2)
    larger = base.image.resize((96, 96), 1)
    again = composer.compose("task=img2img", prompt="a red cone", image=larger, steps=2, strength=0.5)
    assert result.steps["base"].image.tobytes() == base.image.tobytes()
    assert result.steps["larger"].image.tobytes() == larger.tobytes()
    assert result.image.tobytes() == again.image.tobytes()
    steps = result.record["recipe"]["steps"]
    assert list(steps) == ["base", "larger", "again"] and steps["again"]["inputs"] == {"image": ["larger"]}
    assert steps["larger"]["record"]["pixels"] == result.steps["larger"].record["pixels"]
    assert result.record["config"]["image"] == "step:larger"


def test_a_changed_step_redoes_only_itself_and_what_follows(conf):
    first = composer.compose("recipe=chain", config_dir=conf)
    assert len(stored()) == 3
    for changes, count in (
        ({}, 0),
        ({"again": {"strength": 1.0}}, 1),
        ({"larger": {"factor": 2.0}}, 2),
        ({"seed": 1}, 3),
    ):
        before = stored()
        result = composer.compose("recipe=chain", config_dir=conf, **changes)
        assert len(stored() - before) == count, changes
        assert (result.image.tobytes() == first.image.tobytes()) == (not changes)


@pytest.mark.slow
def test_what_is_used_again_is_what_would_be_made_again(conf):
    composer.compose("recipe=chain", config_dir=conf)
    for changes in {}, {"again": {"strength": 1.0}}, {"larger": {"factor": 2.0}}:
        result = composer.compose("recipe=chain", config_dir=conf, **changes)
        fresh = composer.compose("recipe=chain", "recipe.reuse=false", config_dir=conf, **changes)
        assert fresh.image.tobytes() == result.image.tobytes(), changes


@pytest.mark.slow
def test_images_of_a_step_go_one_by_one_through_the_next(conf):
    result = composer.compose("recipe=chain", config_dir=conf, images=2, batch=1)  # a batch of 2 rounds differently
    assert len(result.steps["base"].media) == len(result.steps["larger"].media) == len(result.media) == 2
    alone = composer.compose("recipe=chain", config_dir=conf, seed=1)
    assert result.steps["base"].images[1].tobytes() == alone.steps["base"].image.tobytes()


def test_a_damaged_result_is_made_again(conf):
    first = composer.compose("recipe=chain", config_dir=conf)
    for file in disk_cache.folder("steps").glob("*/media/*.png"):
        from PIL import Image

        Image.new("RGB", (64, 64)).save(file)
    assert composer.compose("recipe=chain", config_dir=conf).image.tobytes() == first.image.tobytes()


def test_files_of_all_steps_are_beside_the_image(compose, conf, tmp_path):
    done = compose("recipe=chain", "--config-dir", conf, f"output.folder={tmp_path / 'out'}")
    assert done.code == 0, done
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    names = {"000.png", "run.json", "config.yaml"}
    assert files == names | {f"{step}/{name}" for step in ("base", "larger") for name in names}
    assert json.loads((tmp_path / "out" / "larger" / "run.json").read_text())["recipe"]["name"] == "chain"
    again = compose("recipe=chain", "--config-dir", conf, f"output.folder={tmp_path / 'out2'}")
    assert "base: made before" in again.err and "again: made before" in again.err


def test_a_sweep_makes_shared_steps_once_and_goes_on(compose, conf, tmp_path):
    words = ("-m", "recipe=chain", "--config-dir", conf, "again.strength=0.5,1.0", "base.seed=1,2")
    done = compose(*words, f"output.folder={tmp_path / 'sweep'}")
    assert done.code == 0 and "4 generated" in done.out, done
    assert len(stored()) == 2 + 2 + 4
    assert {path.name for path in (tmp_path / "sweep" / "0000").iterdir()} >= {"base", "larger", "000.png", "run.json"}
    again = compose(*words, f"output.folder={tmp_path / 'sweep'}")
    assert again.code == 0 and "0 generated, 4 were there already" in again.out, again
    alone = composer.compose(
        "recipe=chain", "recipe.reuse=false", config_dir=conf, again={"strength": 1.0}, base={"seed": 2}
    )
    record = json.loads((tmp_path / "sweep" / "0003" / "run.json").read_text())
    assert record["pixels"] == alone.record["pixels"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("strength=0.3", "strength=0.3: is set by each step that takes it: type again.strength=0.3"),
        ("agian.strength=0.3", "agian.strength=0.3: the recipe chain has no step agian. Did you mean again?"),
        ("promt=x", "promt=x: no step of the recipe chain takes it. Did you mean prompt?"),
        ("task=inpaint", "task=inpaint: is of one step of the recipe: type base.task=inpaint"),
        ("base.output=jpeg", "base.output=jpeg: later steps use its images"),
        ("larger.task=img2img", "larger.task=img2img: this step is the tool resize"),
        ("again.output.folder=x", "again.output.folder=x: all steps write into one directory"),
    ],
)
def test_an_override_without_effect_is_refused(conf, word, message):
    recipe = Recipe(["recipe=chain"], conf)
    with pytest.raises(ComposerError) as error:
        recipe.words(recipe.prepare([word]))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("base.image=step:again", "base.image"),
        ("larger.image=step:again", "larger.image=step:again: there is no step again before this one"),
        ("larger.image=step:bsae", "larger.image=step:bsae: there is no step bsae before this one. Did you mean base?"),
        ("larger.factr=2", "larger.factr=2: there is no such setting. Did you mean factor?"),
        ("larger.factor=0", "larger.factor=0: must be a number above 0 or null"),
        ("again.strength=2", "again.strength=2"),
        ("larger.image=null", "larger.image: an image is needed"),
        ("base.images=2", "again.image=step:larger: give one for all prompts or one for each"),
        ("again.prompt=step:base", "again.prompt=step:base: that step makes images, and this takes texts"),
    ],
)
def test_a_step_that_cannot_run_is_refused_by_name(conf, word, message):
    with pytest.raises(ComposerError) as error:
        composer.check("recipe=chain", word, config_dir=conf)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: {}", "recipe=own: its file must have `steps:`"),
        ("steps: {prompt: {task: text2img}}", "recipe.steps=prompt: prompt is a key of runs"),
        ("steps: {one: 3}", "recipe.steps.one=3: must hold settings"),
        ("steps: {one: {task: text2img, tool: resize}}", "recipe.steps.one: has a task and a tool"),
        ("steps: {One: {task: text2img}}", "recipe.steps=One: the name of a step"),
    ],
)
def test_a_file_without_valid_steps_is_refused(conf, tmp_path, text, message):
    (tmp_path / "conf" / "recipe" / "own.yaml").write_text(f"# Own.\n{text}\n")
    with pytest.raises(ComposerError) as error:
        Recipe(["recipe=own"], conf)
    assert str(error.value).startswith(message)


def test_rerun_makes_all_steps_again_bit_for_bit(compose, conf, tmp_path):
    out = tmp_path / "out"
    assert compose("recipe=chain", "--config-dir", conf, "images=2", f"output.folder={out}").code == 0
    disk_cache.clear()
    for file in ("000.png", "001.png", "base/000.png", "larger/001.png"):
        done = compose("rerun", str(out / file), f"output.folder={tmp_path / 'again'}")
        assert done.code == 0 and "bit for bit" in done.out, (file, done)
    assert not stored()  # nothing was used again
    info = compose("info", str(out / "000.png"))
    assert "chain (base, larger, again)" in info.out


@pytest.mark.slow
def test_rerun_with_a_changed_step_is_a_variation(conf, tmp_path):
    first = composer.compose("recipe=chain", config_dir=conf)
    first.save(tmp_path / "out")
    for key, value in ("again.strength", 1.0), ("larger.factor", 2.0), ("seed", 5):
        result = composer.rerun(tmp_path / "out" / "000.png", **{key: value})
        expected = composer.compose("recipe=chain", "recipe.reuse=false", config_dir=conf, **{key: value})
        assert result.image.tobytes() == expected.image.tobytes() != first.image.tobytes(), key
    with pytest.raises(ComposerError, match=r"type STEP\.strength"):
        composer.rerun(tmp_path / "out" / "000.png", strength=0.5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda recipe: recipe.update(steps={}),
        lambda recipe: recipe.update(reuse=1),
        lambda recipe: recipe["steps"]["base"].pop("record"),
        lambda recipe: recipe["steps"]["base"]["record"].pop("stamp"),
        lambda recipe: recipe["steps"]["base"]["record"].update(recipe={}),
        lambda recipe: recipe["steps"]["larger"].update(tool=3),
        lambda recipe: recipe["steps"]["larger"]["record"]["config"]["tool"].update(image="/etc/passwd"),
        lambda recipe: recipe["steps"]["larger"]["record"]["config"]["tool"].update(_target_="os.system"),
    ],
)
def test_a_foreign_record_is_refused(conf, tmp_path, recorded, damage):
    record = json.loads(recorded)
    damage(record["recipe"])
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ComposerError):
        composer.rerun(tmp_path / "run.json", config_dir=conf)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The record of a recipe as text."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "recipe").mkdir()
    (folder / "recipe" / "chain.yaml").write_text(CHAIN)
    return json.dumps(composer.compose("recipe=chain", "recipe.reuse=false", config_dir=str(folder)).record)


def test_only_prompts_are_texts():
    """Other keys are texts elsewhere, as `search.reference` is; as an input of a tool, they are images."""
    from composer.recipes.inputs import read_inputs

    read = read_inputs({"reference": "sample:scene", "where": "sample:scene", "prompt": "sample:scene"})
    assert read["prompt"] == ("sample:scene",) and all(
        one.mode == "RGB" for key in ("reference", "where") for one in read[key]
    )
