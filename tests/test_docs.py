"""The pages of the documentation: their code runs in order, and what they list is what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from doc_blocks import ROOT, blocks_of, run_page
from tiers import slow_but

import composer
from composer.checkpoints.layouts import families
from composer.config.commands import COMMANDS

DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in DOCS.rglob("*.md")
    if any(block.language in ("bash", "python") for block in blocks_of(path.relative_to(ROOT).as_posix()))
)
#: Pages that run in a few seconds; the others generate many images.
FAST = ("docs/extend/index.md", "docs/guides/hydra-app.md", "docs/guides/refiner.md", "docs/guides/search.md")
#: Blocks that need what other pages or the reader bring.
FRAGMENTS = ("docs/callbacks.md",)


@pytest.mark.parametrize("page", slow_but(FAST, [page for page in PAGES if page not in FRAGMENTS]))
def test_the_code_of_a_page_runs_in_order(compose, tmp_path, page):
    assert run_page(page, compose, tmp_path) > 0


@pytest.mark.slow  # a process of its own, since plugins are found once
def test_guidance_and_task_of_the_extend_page_work(tmp_path):
    blocks = blocks_of("docs/extend/index.md")
    package, info = tmp_path / "my_package", tmp_path / "my_package-1.0.dist-info"
    files = {
        package / "__init__.py": "\n".join(block.text for block in blocks if block.language == "python"),
        info / "METADATA": "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n",
        info / "entry_points.txt": "[composer.plugins]\nmy_package = my_package\n",
    }
    for group, name in (("guidance", "decaying"), ("task", "mirrored")):
        text = next(block.text for block in blocks if f"my_package.{name.title()}" in block.text)
        files[package / "conf" / group / f"{name}.yaml"] = text
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "composer", "task=mirrored", "guidance=decaying", "steps=2", "output.folder=out"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "out" / "000.png").is_file(), done.stderr


def test_the_table_of_acceleration_is_what_families_say():
    rows = [line.strip("| ").split("|") for line in _section("docs/guides/speed-and-memory.md", "Acceleration")]
    header, _, *rows = [[cell.strip(" `") for cell in cells] for cells in rows]
    known = families()
    assert set(header[1:]) == set(known), "a family is missing"
    caches = {cache for info in known.values() for cache in info.supports.caches}
    assert {name for name, *_ in rows} == {*caches, "deepcache", "tome", "channels_last", "fused_qkv"}
    for name, *cells in rows:
        able = {family for family, info in known.items() if name in info.supports.caches or _flag(info, name)}
        assert {family for family, cell in zip(header[1:], [*cells, *[""] * len(known)]) if cell} == able, name


def _flag(info, name: str) -> bool:
    return bool(getattr(info.supports, name, False))


def _section(page: str, title: str) -> list[str]:
    """Rows of the table below a heading."""
    text = (ROOT / page).read_text("utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_page_of_run_json_lists_every_key():
    listed = set(re.findall(r"`(\w+)`", _first_column("docs/reference/run-json.md")))
    record = composer.compose(steps=1).record
    # `files` is written with the files, `media` for clips and sounds, and adapters and recipes where a run has any
    assert listed == {*record, "files", "media", "control", "embedding", "ip_adapter", "recipe", "metrics"}


def test_the_help_describes_every_command():
    sys.path.insert(0, str(DOCS))
    try:
        pages = pytest.importorskip("reference_pages", reason="mkdocs is not installed")
    finally:
        sys.path.remove(str(DOCS))
    page = pages.commands_page()
    assert all(f"`compose {name}" in page for name in COMMANDS)


@pytest.mark.parametrize("group", sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir()))
def test_a_page_of_the_reference_has_every_option(group):
    sys.path.insert(0, str(DOCS))
    try:
        pages = pytest.importorskip("reference_pages", reason="mkdocs is not installed")
    finally:
        sys.path.remove(str(DOCS))
    page = pages.group_page(group)
    names = {path.stem for path in (ROOT / "conf" / group).glob("[!_]*.yaml")}
    assert len(names) == 1 or all(f"## `{group}={name}`" in page for name in names)


def test_the_parity_tables_are_what_the_parity_tests_prove():
    sys.path.insert(0, str(ROOT / "tests/parity"))
    import matrix

    page = (DOCS / "quality/parity.md").read_text("utf-8")
    assert f"{matrix.START}\n\n{matrix.tables()}\n\n{matrix.END}" in page


def test_the_page_of_layers_lists_the_layers():
    floors = re.search(r"FLOORS = \((.*?)\n\)", (ROOT / "tests/layering/test_imports.py").read_text("utf-8"), re.DOTALL)
    page = (DOCS / "project/layers.md").read_text("utf-8")
    rows = [" ".join(re.findall(r"`(\w+)`", row.split("|")[2])) for row in page.splitlines() if re.match(r"\| \d", row)]
    assert rows == re.findall(r'"([a-z ]+)"', floors[1])


def _first_column(page: str) -> str:
    lines = (ROOT / page).read_text("utf-8").splitlines()
    return "\n".join(line.split("|")[1] for line in lines if line.startswith("| `"))
