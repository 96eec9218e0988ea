"""YAML that users bring: aliases that multiply are refused before anything follows them; honest ones are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.config.yaml_limits import MAX_BYTES, read_bounded_yaml
from composer.errors import ComposerError

#: Nine lines that come to 10⁹ values.
BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)


def test_aliases_that_multiply_are_refused_wherever_a_user_brings_them(compose, tmp_path):
    (tmp_path / "mine" / "preset").mkdir(parents=True)
    (tmp_path / "mine" / "preset" / "bomb.yaml").write_text(BOMB)
    for words in (("-m", "sweep.jobs=mine/preset/bomb.yaml"), ("--config-dir", "mine", "preset=bomb", "steps=1")):
        done = compose(*words)
        assert done.code == 2 and done.err.count("\n") == 1 and "when its aliases are followed" in done.err


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a, c: *a}", BOMB])
def test_what_has_no_end(tmp_path, text):
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(ComposerError, match="aliases"):
        read_bounded_yaml("sweep.jobs", file)


def test_honest_aliases_are_read(compose, tmp_path):
    Path("jobs.yaml").write_text("- &one {prompt: a cat, steps: 1}\n- {<<: *one, seed: 3}\n- *one\n")
    assert read_bounded_yaml("sweep.jobs", tmp_path / "jobs.yaml").startswith("- &one")
    assert compose("check", "-m", "sweep.jobs=jobs.yaml").code == 0


def test_what_is_too_long_or_no_text(tmp_path):
    file = tmp_path / "long.yaml"
    for data, message in (
        (b" " * (MAX_BYTES + 1), "longer than 1 MiB"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (None, "No such file"),
    ):
        file.write_bytes(data) if data else file.unlink()
        with pytest.raises(ComposerError, match=message):
            read_bounded_yaml("sweep.jobs", file)
