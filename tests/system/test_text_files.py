r"""Text files read the same whatever editor wrote them: a byte order mark, UTF-16, and lines that end in \n, \r\n or
\r.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from composer.config import overrides
from composer.config.yaml_limits import read_bounded_yaml
from composer.errors import ComposerError
from composer.sweeps.job_files import read_rows
from composer.system.text_files import read_text, split_lines

ENDS = ("\n", "\r\n", "\r")
FORMS = {"utf-8": b"", "utf-8-sig": b"", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@pytest.fixture(params=[(form, end) for form in FORMS for end in ENDS], ids=lambda each: f"{each[0]} {each[1]!r}")
def form(request):
    """Text → bytes as an editor writes them."""
    encoding, end = request.param
    return lambda text: FORMS[encoding] + text.replace("\n", end).encode(encoding)


def test_a_file_reads_as_its_text(tmp_path, form):
    (tmp_path / "a.txt").write_bytes(form("a réd cone\n\nа cube\n"))
    assert read_text(tmp_path / "a.txt") == "a réd cone\n\nа cube\n"


def test_prompt_files_read_as_their_text(tmp_path, form):
    (tmp_path / "p.txt").write_bytes(form("a red cone\na blue\u2028cube\n"))
    word = f"prompt=@{tmp_path / 'p.txt'}"
    assert overrides.prepare([word]) == ["prompt='a red cone\na blue\u2028cube'"]
    assert overrides.prepare([word], multirun=True) == ["prompt='a red cone','a blue\u2028cube'"]


@pytest.mark.parametrize("name", ["jobs.csv", "jobs.jsonl", "jobs.yaml"])
def test_job_files_read_as_their_text(tmp_path, form, name):
    text = {
        "jobs.csv": "prompt,seed\na red cone,1\n",
        "jobs.jsonl": '{"prompt": "a red cone", "seed": 1}\n',
        "jobs.yaml": "- prompt: a red cone\n  seed: 1\n",
    }[name]
    (tmp_path / name).write_bytes(form(text))
    assert read_rows(str(tmp_path / name)) == [["prompt='a red cone'", "seed=1"]]


def test_option_files_read_as_their_text(tmp_path, form):
    (tmp_path / "a.yaml").write_bytes(form("# what it is\nsteps: 3\n"))
    assert read_bounded_yaml("config", tmp_path / "a.yaml") == "# what it is\nsteps: 3\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_option_files_that_hydra_would_misread_are_refused(compose, tmp_path, encoding):
    (tmp_path / "mine" / "preset").mkdir(parents=True)
    (tmp_path / "mine" / "preset" / "short.yaml").write_text("# @package _global_\nsteps: 2\n", encoding)
    done = compose("check", "--config-dir", "mine", "preset=short")
    assert done.code == 2 and "short.yaml: begins with a byte order mark" in done.err and done.err.count("\n") == 1


def test_a_prompt_file_equals_its_text(compose, tmp_path):
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfa red cone\r\n")
    for name, word in (("file", "prompt=@p.txt"), ("text", "prompt=a red cone")):
        assert compose(word, "steps=1", f"output.folder={name}", "callbacks=[]").code == 0
    records = [json.loads(Path(name, "run.json").read_text("utf-8")) for name in ("file", "text")]
    assert records[0]["images"] == records[1]["images"] and records[0]["pixels"] == records[1]["pixels"]


@pytest.mark.parametrize("data", [b"a \xff cone", b"\xff\xfea"])
def test_what_is_no_text_is_refused(tmp_path, data):
    (tmp_path / "p.txt").write_bytes(data)
    with pytest.raises(ComposerError, match="it is not UTF-8 text"):
        overrides.prepare([f"prompt=@{tmp_path / 'p.txt'}"])


@pytest.mark.parametrize(
    ("text", "found"), [("", [""]), ("a\n", ["a"]), ("a\nb", ["a", "b"]), ("a\x0bb\x85c", ["a\x0bb\x85c"])]
)
def test_lines_end_at_line_feeds_alone(text, found):
    assert split_lines(text) == found
