"""Records name options and no classes; those of composer 0.1, which named classes by their modules, are still generated
again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from composer.records import metadata

OLD = Path(__file__).parents[1] / "data" / "schema0"
MANY = ["task=img2img", "strength=0.9", "steps=4", "images=2", "scheduler=ddim", "scheduler.eta=0.5", "guidance=apg",
    "accel=[tome]",
        "memory=[vae_slicing]", "callbacks=[trace,prompt_switch]",
        "callbacks.prompt_switch.prompt=a blue cube"]  # fmt: skip
RUNS = {
    "text": ["steps=2", "callbacks=[progress]"],
    "settings": MANY,
    "variant": ["task=inpaint", "steps=2", "output=jpeg"],
    "scheduler": ["steps=2", "scheduler=euler_karras", "guidance=interval", "output=webp"],
}
#: A module's path, such as `composer.tasks.inpaint`; not a file's name.
MODULE = re.compile(r"composer\.[a-z_]+\.\w")


def with_classes(node: Any, module: str) -> Any:
    """A record's config as composer 0.1 wrote it, with a class in every option."""
    if not isinstance(node, dict):
        return node
    return {"_target_": f"{module}.Moved", **{key: with_classes(value, module) for key, value in node.items()}}


@pytest.mark.parametrize("name", ["plain/run.json", "plain/000.webp", "many/run.json", "jpeg/run.json", "jpeg/000.jpg"])
def test_records_of_schema_0_are_generated_again(compose, tmp_path, name):
    done = compose("rerun", str(OLD / name), "output.folder=again")
    new = json.loads((tmp_path / "again/run.json").read_text("utf-8"))
    before = metadata.read(OLD / name)
    assert done.code in (0, 1) and new["options"] == before["options"]  # 1: another machine's or library's last bit
    assert (
        new["schema"] == metadata.SCHEMA
        and new["guidance"] == before["guidance"]
        and new["scheduler"] == before["scheduler"]
    )
    assert new["dtypes"] == before["dtypes"] and new["inputs"] == before["inputs"] and new["model"] == before["model"]


@pytest.mark.parametrize("name", RUNS)
def test_a_record_names_no_class_and_wherever_they_moved_is_redrawn(compose, tmp_path, name):
    assert compose(*RUNS[name], "output.folder=first").code == 0
    written = {
        file.name: file.read_bytes()
        for file in (tmp_path / "first").iterdir()
        if file.suffix != ".webp" or name == "scheduler"
    }
    new = json.loads(written["run.json"])
    image = next(file for file in sorted((tmp_path / "first").iterdir()) if file.name.startswith("000"))
    for text in (*(written[item].decode() for item in ("run.json", "config.yaml")), json.dumps(metadata.read(image))):
        assert "_target_" not in text and "_kind_" not in text and not MODULE.search(text)
    assert {
        choice["group"]: choice["name"]
        for choice in new["choices"]
        if choice["group"] in ("task", "scheduler", "guidance")
    } == {group: new["options"][group] for group in ("task", "scheduler", "guidance")}
    old = {key: value for key, value in new.items() if key not in ("schema", "choices")}
    old["config"] = {key: with_classes(value, "composer.nowhere") for key, value in new["config"].items()}
    (tmp_path / "first/run.json").write_text(json.dumps(old), "utf-8")
    done = compose("rerun", "first/run.json", "output.folder=again")
    assert done.code == 0 and "bit for bit" in done.out, done.err


@pytest.mark.parametrize("schema", [2, -1, "1", None, 1.0, True])
def test_an_unknown_schema_is_refused_by_name(compose, tmp_path, schema):
    new = json.loads((OLD / "plain/run.json").read_text("utf-8"))
    (tmp_path / "run.json").write_text(json.dumps({**new, "schema": schema}), "utf-8")
    done = compose("rerun", "run.json")
    assert done.code == 2 and "update composer" in done.err and done.err.count("\n") == 1
