"""The recipes that come with composer, tools of plugins, and what recipes have in common with tasks of two passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import ImageChops

import composer
from composer.config.search_path import options, packaged_conf
from composer.testing import pipelines

ROOT = Path(__file__).parents[2]
RECIPES = sorted(options("recipe", [packaged_conf()]))


def test_three_recipes_come_with_composer_and_can_run():
    assert len(RECIPES) >= 3
    for name in RECIPES:
        assert composer.check(f"recipe={name}") == (), name


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_and_reruns(tmp_path, monkeypatch, name):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    result = composer.compose(f"recipe={name}", steps=4)
    result.save(tmp_path / "out")
    again = composer.rerun(tmp_path / "out" / "000.png")
    assert again.image.tobytes() == result.image.tobytes() and "bit for bit" in again.notes[-1]
    assert list(again.steps) == list(result.steps)


def changed_box(one, other):
    return ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox()


@pytest.mark.slow  # four runs of the recipe
def test_the_detailer_treats_two_things_one_after_the_other(tmp_path, monkeypatch):
    """The cube's rectangle is the larger one; each paste changes its region alone, and every value can be typed."""
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    words = ("recipe=detailer", "steps=4")
    result = composer.compose(*words)
    scene, first = result.steps["scene"].image, result.steps["paste1"].image
    sphere, cube = (15, 54, 54, 90), (74, 58, 115, 95)
    inside = [(changed_box(scene, first), cube), (changed_box(first, result.image), sphere)]
    for changed, box in inside:
        assert changed is not None
        assert box[0] <= changed[0] < changed[2] <= box[2] and box[1] <= changed[1] < changed[3] <= box[3]

    more = composer.compose(*words, "part2.region=1", "final.region=1", "part2.width=64", "detail2.strength=0.9")
    assert more.steps["paste1"].image.tobytes() == first.tobytes() and more.steps["part2"].image.size == (64, 128)
    box = changed_box(first, more.image)
    assert box is not None and cube[0] <= box[0] and box[2] <= cube[2], "the same region twice"
    none = composer.compose(*words, "part2.region=3", "final.region=3")
    assert none.image.tobytes() == first.tobytes(), "there is no third region"
    alone = composer.compose(*words, "marks.box=[0.58,0.45,0.9,0.74]")
    assert alone.image.tobytes() == first.tobytes(), "there is no second region"


def test_the_second_pass_of_upscale_is_a_step(tmp_path, monkeypatch):
    """task=upscale is one run with two passes; as two steps it makes the same image, bit for bit."""
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    pipelines.save("sd", tmp_path / "model")
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / "recipe" / "two.yaml").write_text(
        "# Two.\nsteps:\n  base: {task: text2img}\n"
        "  detail: {task: upscale, image: 'step:base', factor: 2, strength: 0.5}\n"
    )
    values = {"prompt": "a red cone", "steps": 2, "model": {"source": str(tmp_path / "model")}}
    one = composer.compose("task=upscale", factor=2, strength=0.5, **values)
    two = composer.compose("recipe=two", config_dir=str(tmp_path / "conf"), **values)
    assert two.image.tobytes() == one.image.tobytes() and two.image.width == 2 * two.steps["base"].image.width


PLUGIN = '''
"""A tool that describes an image."""

import hashlib
from pathlib import Path

import composer


class Describe(composer.Tool):
    """Names the brightest channel."""

    makes = "text"

    def __init__(self, names: str) -> None:
        self.names = names

    def fingerprint(self):
        return hashlib.sha256(Path(self.names).read_bytes()).hexdigest()

    def run(self, images, device):
        means = [sum(channel.tobytes()) for channel in images["image"].split()]
        return f"a {Path(self.names).read_text().split()[means.index(max(means))]} cone"
'''


@pytest.mark.slow  # a process of its own, since plugins are found once
def test_a_tool_of_a_plugin_writes_a_prompt(tmp_path):
    files = {
        "describing/__init__.py": PLUGIN,
        "describing/conf/tool/describe.yaml": "# Names.\n_target_: describing.Describe\nimage: null\nnames: ???\n",
        "describing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: describing\nVersion: 1.0\n",
        "describing-1.0.dist-info/entry_points.txt": "[composer.plugins]\ndescribing = describing\n",
        "conf/.composer": "",
        "conf/recipe/own.yaml": "# Own.\nsteps:\n  base: {task: text2img, steps: 2}\n"
        "  words: {tool: describe, image: 'step:base', names: names.txt}\n"
        "  again: {task: text2img, prompt: 'step:words', steps: 2}\n",
        "names.txt": "red green blue",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "COMPOSER_CACHE": str(tmp_path / "cache")}

    def run(*words):
        command = [sys.executable, "-m", "composer", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    done = run("recipe=own", "output.folder=out")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    text = (tmp_path / "out" / "words" / "000.txt").read_text()
    assert record["images"][0]["prompt"] == text in ("a red cone", "a green cone", "a blue cone")
    assert record["recipe"]["steps"]["words"]["record"]["choices"][0]["provider"] == "describing 1.0"
    done = run("rerun", "out/000.png", "output.folder=again")
    assert done.returncode == 0 and "bit for bit" in done.stdout, done.stderr + done.stdout
    (tmp_path / "names.txt").write_text("cyan pink gold")
    done = run("recipe=own", "output.folder=changed")
    assert done.returncode == 0 and "base: made before" in done.stderr and "words: made before" not in done.stderr
    assert (tmp_path / "changed" / "words" / "000.txt").read_text() != text
    done = run("check", "recipe=own", "words.names=missing.txt")
    assert done.returncode == 2, done
