"""The pages of the documentation: their code runs in order, and what they list is what there is."""

from __future__ import annotations

import re
import sys

import pytest
from doc_blocks import ROOT, blocks_of, run_page
from tiers import slow_but

import composer
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


def test_the_page_of_run_json_lists_every_key():
    listed = set(re.findall(r"`(\w+)`", _first_column("docs/reference/run-json.md")))
    record = composer.compose(steps=1).record
    assert listed == {*record, "files"}


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
    assert matrix.table(matrix.DIFFUSION) in page and matrix.table(matrix.FLOW) in page


def test_the_page_of_layers_lists_the_layers():
    floors = re.search(r"FLOORS = \((.*?)\n\)", (ROOT / "tests/layering/test_imports.py").read_text("utf-8"), re.DOTALL)
    page = (DOCS / "project/layers.md").read_text("utf-8")
    rows = [" ".join(re.findall(r"`(\w+)`", row.split("|")[2])) for row in page.splitlines() if re.match(r"\| \d", row)]
    assert rows == re.findall(r'"([a-z ]+)"', floors[1])


def _first_column(page: str) -> str:
    lines = (ROOT / page).read_text("utf-8").splitlines()
    return "\n".join(line.split("|")[1] for line in lines if line.startswith("| `"))
