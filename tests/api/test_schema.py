"""`compose schema`: it accepts every config that composer composes, and refuses what composer refuses by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import blocks_of, commands_of, words_of
from jsonschema import Draft202012Validator
from tiers import every

from composer.api.root_keys import ROOT_KEYS
from composer.api.schema import config_schema
from composer.config import overrides as argv
from composer.config.compose import compose_config
from composer.config.hydra_loader import loader
from composer.config.keys import LISTS, OF_SWEEPS
from composer.config.node_data import node_to_dict
from composer.config.read import plain
from composer.config.recipes import compose_request, is_recipe
from composer.config.search_path import groups, options, packaged_conf
from composer.errors import ComposerError
from composer.sweeps.grammar import Grammar, iter_jobs
from composer.sweeps.settings import read_sweep

FOLDERS = [packaged_conf()]
EVERY = [(group, name) for group in groups(FOLDERS) for name in options(group, FOLDERS)]
NEEDED = {"local": ["model.source=x"], "prompt_switch": ["callbacks.prompt_switch.prompt=x"]}
COMMANDS = [
    words_of(command)
    for block in blocks_of("README.md")
    if block.language == "bash"
    for command in commands_of(block.text)
    if command.startswith("compose")
]
README = [words for words in COMMANDS if all("=" in word or word in ("-m", "plan", "show") for word in words)]
#: Words of a run, and a key whose value is out of its range.
REFUSED = [
    "steps=0", "steps=2000", "seed=-2", "images=0", "seed_step=-1", "height=0", "batch=0", "prompt_overflow=cut",
    "strength=2 task=img2img",
    "strength=0.5", "factor=0.5 task=upscale", "margins=-1 task=outpaint", "blur=-1 task=inpaint",
    "invert_mask=3 task=inpaint", "precision.dtype=fp8", "precision.storage=int3", "output.quality=0",
    "output.format=bmp", "guidance.scale=-1", "guidance=cfg guidance.rescale=-1",
    "callbacks=[preview] callbacks.preview.every=0", "callbacks=[preview] callbacks.preview.decode=unet",
    "accel=[deepcache] accel.deepcache.interval=0",
    "model.safety_checker=3", "model.nothing=3", "scheduler=euler scheduler.beta_start=abc",
    "scheduler=euler scheduler.timestep_spacing=x",
    "scheduler=euler scheduler.nothing=1", "lora.scale=high lora=x/y", "lora=x/y lora.start=2", "output.nothing=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config_schema()


@pytest.fixture(scope="module")
def validator(schema) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def complaints(validator: Draft202012Validator, tree: dict[str, Any]) -> list[str]:
    return [
        f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(json.loads(json.dumps(tree)))
    ]


def words_for(group: str, name: str) -> list[str]:
    return [f"{group}=[{name}]" if group in LISTS else f"{group}={name}", *NEEDED.get(name, ())]


@pytest.mark.parametrize(
    ("group", "name"), every(7, [pair for pair in EVERY if pair[0] not in (*OF_SWEEPS, "recipe", "tool")])
)
def test_it_accepts_every_option(validator, group, name):
    tree = plain(compose_config(words_for(group, name)))
    assert complaints(validator, tree) == []


@pytest.mark.parametrize("words", every(3, README))
def test_it_accepts_the_commands_of_the_readme(validator, words):
    overrides = argv.prepare([word for word in words if "=" in word], multirun="-m" in words)
    config_loader = loader()
    if "-m" not in words:
        tree = compose_request([word for word in words if "=" in word])
        runs = [node["config"] for node in tree["steps"].values() if not node["tool"]] if is_recipe(tree) else [tree]
        assert [complaint for run in runs for complaint in complaints(validator, plain(run))] == []
        return
    settings = [word for word in overrides if word.startswith("sweep.")]
    spec, _ = read_sweep(config_loader.settings(settings))
    assert complaints(validator, node_to_dict(config_loader.settings(settings))) == []
    jobs = list(iter_jobs(Grammar(config_loader), [word for word in overrides if word not in settings], spec, {}))
    for job in (jobs[0], jobs[-1]):
        assert complaints(validator, plain(config_loader.settings([setting.text for setting in job.settings]))) == []


@pytest.mark.parametrize("text", every(4, REFUSED))
def test_it_refuses_what_composer_refuses(validator, text):
    words = text.split()
    try:
        tree = plain(compose_config(words))
    except ComposerError:
        return  # the config does not exist
    assert complaints(validator, tree), "the schema accepts it"
    with pytest.raises(ComposerError):
        import composer

        composer.check(*words)


def test_it_accepts_a_record(validator, compose):
    assert compose("steps=1", "callbacks=[preview]", "output.folder=out").code == 0
    record = json.loads(Path("out/run.json").read_text("utf-8"))
    assert complaints(validator, record["config"]) == []


def test_the_command_prints_it_for_own_options(compose, tmp_path):
    (tmp_path / "mine/scheduler").mkdir(parents=True)
    (tmp_path / "mine/scheduler/own.yaml").write_text(
        "# Mine.\n_target_: diffusers.EulerDiscreteScheduler\n_kind_: diffusion\nuse_karras_sigmas: true  # why not\n"
    )
    printed = json.loads(compose("schema", "--config-dir", "mine").out)
    mine = printed["$defs"]["scheduler.own"]
    assert {"const": "own", "description": "Mine."} in printed["$defs"]["options.scheduler"]["oneOf"]
    karras = mine["properties"]["use_karras_sigmas"]
    assert karras["default"] is True and karras["description"] == "why not" and {"type": "boolean"} in karras["anyOf"]


def test_every_option_and_every_root_key_is_described(schema):
    for group, name in EVERY:
        assert any(entry == {"const": name, "description": options(group, FOLDERS)[name]} for entry in
                   schema["$defs"][f"options.{group}"]["oneOf"])  # fmt: skip
        assert group == "preset" or schema["$defs"][f"{group}.{name}"]["description"]
    assert set(schema["properties"]) >= set(ROOT_KEYS)
    steps = schema["$defs"]["task.text2img"]["properties"]["steps"]
    assert steps["description"].startswith("denoising steps") and steps["default"] is None
    frames = schema["$defs"]["callbacks.preview"]["properties"]["every"]
    assert frames == {"type": "integer", "minimum": 1, "description": "iterations between frames", "default": 1}


def test_a_recipe_has_the_keys_that_are_typed_beside_it(compose):
    Path("mine/recipe").mkdir(parents=True)
    Path("mine/recipe/three.yaml").write_text(
        "# Three.\nreuse: false\nprompt: a cone\nsteps:\n"
        "  one: {scheduler: euler, seed: 5}\n"
        "  two: {tool: resize, image: 'step:one', factor: 3.0}\n"
        "  last: {task: img2img, image: 'step:two', seed: 6, strength: 0.25, steps: 7}\n"
    )
    Path("mine/recipe/broken.yaml").write_text("# Has no steps.\nsteps: none\n")
    known = json.loads(compose("schema", "--config-dir", "mine").out)["$defs"]
    Draft202012Validator.check_schema(known["recipe.three"])
    three = known["recipe.three"]["properties"]
    assert known["recipe.broken"]["properties"] == {"recipe.reuse": {"type": "boolean", "default": True}}
    assert three["recipe.reuse"]["default"] is False and three["prompt"]["default"] == "a cone"
    assert {"steps", "height"} <= {*three} and not {"seed", "image", "task"} & {*three}
    one, two, last = (three[name]["properties"] for name in ("one", "two", "last"))
    assert one["task"] == {"const": "text2img"} and one["prompt"]["default"] == "a cone"
    assert one["scheduler"] == {"$ref": "#/$defs/options.scheduler", "default": "euler"}
    assert two["tool"] == {"const": "resize"} and two["factor"]["default"] == 3.0
    task = known["task.img2img"]["properties"]
    assert last["strength"] == {**task["strength"], "default": 0.25} and last["images"] == task["images"]
