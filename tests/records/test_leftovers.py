"""All files that a run wrote are named at its end: a grid, previews, traces, whatever callbacks leave; none of an
earlier run.
"""

from __future__ import annotations

import json
from pathlib import Path

from composer.records.leftovers import named

WORDS = ("steps=2", "output.folder=out")


def test_a_run_names_every_file_that_it_wrote(compose):
    done = compose("images=2", "callbacks=[preview,trace]", *WORDS)
    assert done.code == 0, done.err
    last = done.out.splitlines()[-1]
    assert last.startswith("beside them: ")
    shown = set(last.removeprefix("beside them: ").split(", "))
    paths = {str(file.relative_to("out")) for file in Path("out").rglob("*") if file.is_file()}
    assert shown == paths - {"000.png", "001.png", "run.json", "config.yaml"} and "grid.png" in shown and len(shown) > 2


def test_files_of_an_earlier_run_are_not_named(compose):
    assert "grid.png" in compose("images=2", "callbacks=[]", *WORDS).out
    Path("out/notes.txt").write_text("mine")
    assert compose("callbacks=[]", *WORDS).out.count("\n") == 1
    assert compose("callbacks=[trace]", *WORDS).out.splitlines()[-1].startswith("beside it: trace")


def test_json_names_them_too(compose):
    done = compose("--json", "images=2", "callbacks=[]", *WORDS)
    facts = json.loads(done.out)
    assert facts["files"] == ["out/000.png", "out/001.png"] and facts["more"] == ["out/grid.png"]
    assert compose("--quiet", "images=2", "callbacks=[]", *WORDS).out == "out/000.png\nout/001.png\n"


def test_many_files_of_a_folder_are_counted():
    files = [Path("out/grid.png"), *(Path(f"out/latents/{i}.pt") for i in range(9)), Path("out/a/b.png")]
    assert named(Path("out"), files) == "grid.png, latents/ (9 files), a/b.png"
