"""Whatever is typed, opened or read back: an image, or one line that says what is wrong. Never a traceback.

A short search here; a long one, with other examples each time: `COMPOSER_FUZZ=5000 pytest tests/fuzz
--hypothesis-profile=default`.
"""

from __future__ import annotations

import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from composer.checks.compatibility import check
from composer.config.command_line import parse
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.search_path import groups, options, packaged_conf
from composer.errors import ComposerError
from composer.images import embedded_texts, reading
from composer.records import metadata
from composer.reruns.describe import format_report
from composer.reruns.replay_config import replay_config

EXAMPLES = int(os.environ.get("COMPOSER_FUZZ", "8"))
search = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

GROUPS = groups([packaged_conf()])
KEYS = [
    "prompt", "negative_prompt", "steps", "seed", "seed_step", "images", "height", "width", "batch", "prompt_overflow",
    "guidance", "scheduler.eta", "scheduler.beta_start", "scheduler.x", "model.source", "model.components.vae",
    "model.sha256", "output.quality", "output.folder", "callbacks.progress", "callbacks.preview.every", "precision.vae",
    "memory.auto.limit", "strength", "image", "mask", "accel.deepcache.interval", "margins", "sweep.where",
    "task._target_", "hydra.run.dir", "device.type", "model.refiner.start",
]  # fmt: skip
SPECIAL = [
    "null", "true", "nan", "inf", "-1", "1e400", "[]", "{}", "''", "[1,2", "{a:", "${seed}", "${oc.env:HOME}", "???",
    "a,b", "range(3)",
    "glob(*)", "choice(1,2)", "sample:scene", "../..", "/etc/passwd", "@nowhere", "\0", "_target_: x",
    "{_target_: os.system}", "💥",
    "9" * 5000, "x" * 5000, "~", "+", "=", "!!python/object:os.system", "int(3)", "str([1])", "shuffle(1,2)",
    "extend(a)",
]  # fmt: skip
values = st.one_of(
    st.sampled_from(SPECIAL), st.integers().map(str), st.floats().map(str), st.text(max_size=30),
    st.sampled_from([name for group in GROUPS for name in options(group, [packaged_conf()])]),
    st.lists(st.sampled_from(SPECIAL[:12]), max_size=3).map(lambda each: f"[{','.join(each)}]"),
)  # fmt: skip
keys = st.one_of(
    st.sampled_from(KEYS), st.sampled_from(GROUPS), st.text(st.characters(exclude_characters="="), max_size=12)
)
words = st.builds(
    lambda prefix, key, value: f"{prefix}{key}={value}", st.sampled_from(["", "", "", "+", "++", "~"]), keys, values
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(SPECIAL))
trees = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3))
)


def survives(call) -> None:
    """Ours, with a line to print, or nothing."""
    try:
        call()
    except ComposerError as error:
        assert str(error) and "\n" not in str(error)
        event(ascii(f"refused: {error.key}"[:40]))


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """A folder of its own for what is written, though nothing should be."""
    before, here = Path.cwd(), tmp_path_factory.mktemp("fuzz")
    os.chdir(here)
    yield here
    os.chdir(before)


@search
@given(st.lists(words, min_size=1, max_size=3))
def test_overrides(typed):
    survives(lambda: check(read(compose_config(typed))))


@search
@given(
    st.lists(
        st.one_of(words, st.text(max_size=10), st.sampled_from(["-m", "--cfg", "-v", "rerun", "list", "--config-dir"])),
        max_size=4,
    )
)
def test_lines(typed):
    survives(lambda: parse(typed))


@search
@given(
    st.sampled_from(
        ["callbacks", "scheduler", "model", "preset", "task", "guidance", "precision", "memory", "accel", "output"]
    ),
    trees,
    st.booleans(),
)
def test_option_files(group, tree, named):
    folder = Path("mine") / group
    folder.mkdir(parents=True, exist_ok=True)
    several = group in ("callbacks", "memory", "accel")
    (folder / "odd.yaml").write_text(json.dumps({"odd": tree} if named and several else tree), "utf-8")
    survives(lambda: check(read(compose_config([f"{group}=[odd]" if several else f"{group}=odd"], "mine"))))


@search
@given(
    st.sampled_from(["scheduler/euler", "callbacks/preview", "model/tiny", "task/img2img", "guidance/cfg"]), st.data()
)
def test_damaged_option_files(name, data):
    text = (packaged_conf() / f"{name}.yaml").read_text("utf-8")
    at = data.draw(st.integers(0, len(text)))
    text = (
        text[:at]
        + data.draw(
            st.one_of(st.text(max_size=5), st.sampled_from([": ", "- ", "&a ", "*a", "!!x ", "\t", "{", "${", "? "]))
        )
        + text[at + 2 :]
    )
    file = Path("mine") / f"{name.split('/')[0]}/odd.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    group = name.split("/")[0]
    survives(
        lambda: check(read(compose_config([f"{group}=[odd]" if group == "callbacks" else f"{group}=odd"], "mine")))
    )


def image(form: str, mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (16, 16), None if mode in ("P",) else 0).save(buffer, form)
    return buffer.getvalue()


IMAGES = [
    image(*item)
    for item in (
        ("png", "RGBA"),
        ("png", "I;16"),
        ("png", "P"),
        ("jpeg", "RGB"),
        ("webp", "RGB"),
        ("tiff", "F"),
        ("bmp", "L"),
    )
]


@search
@given(
    st.sampled_from(IMAGES),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), max_size=4),
    st.integers(0, 500),
)
def test_image_files(data, changes, cut):
    for at, new in changes:
        data = data[:at] + new + data[at + len(new) :]
    Path("odd.png").write_bytes(data[: len(data) - cut] if cut < len(data) else data)
    for reader in (reading.read_image, reading.read_mask, reading.read_depth):
        survives(lambda reader=reader: reader("image", "odd.png"))
    survives(lambda: metadata.read(Path("odd.png")))
    survives(lambda: embedded_texts.read_image_texts(Path("odd.png")))


@pytest.fixture(scope="module")
def honest(elsewhere) -> dict[str, Any]:
    from composer.cli.main import main

    assert main(["task=inpaint", "steps=2", "images=2", "callbacks=[preview]", "output.folder=honest"]) == 0
    return metadata.read(Path("honest/001.png"))


@search
@given(st.data())
def test_records(honest, data):
    """One value of a record, at any depth, is replaced; then it is read, described, and resolved up to the weights."""
    record = copy.deepcopy(honest)
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = record
        while isinstance(node, (dict, list)) and node:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], (dict, list)) or not node[key] or data.draw(st.booleans()):
                if isinstance(node, dict) and data.draw(st.integers(0, 9)) == 0:
                    del node[key]
                else:
                    node[key] = data.draw(trees)
                break
            node = node[key]
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(metadata.KEY, json.dumps(record))
    file = Path("odd-record.png")
    Image.new("RGB", (8, 8)).save(file, pnginfo=chunks)

    def again() -> None:
        loaded = metadata.read(file)
        format_report(file.name, loaded)
        check(read(replay_config(file, loaded, ["output.folder=again"]).tree))

    survives(again)


@search
@given(st.text(max_size=300))
def test_texts_that_are_no_records(text):
    Path("odd.json").write_text(text, "utf-8", errors="replace")
    survives(lambda: metadata.read(Path("odd.json")))
