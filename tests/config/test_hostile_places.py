"""Nothing that a config names is called, wherever it comes from and whatever the command is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from tiers import every
from watched import watched

#: Each location once, with targets and commands in turn.
SAMPLE = [
    (location, [*hostile.TARGETS][7 * i % len(hostile.TARGETS)], [*hostile.COMMANDS][i % len(hostile.COMMANDS)])
    for i, location in enumerate(hostile.SOURCES)
]


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """An image that is what it says, for `rerun`."""
    from composer.api.run import compose

    folder = tmp_path_factory.mktemp("honest")
    compose(*hostile.SMALL).save(folder)
    return folder


def test_there_are_enough_of_them():
    assert len(hostile.SOURCES) >= 27 and len(hostile.TARGETS) >= 25


@pytest.mark.parametrize(("location", "target", "command"), every(2, SAMPLE), ids=[" - ".join(item) for item in SAMPLE])
def test_nothing_of_a_config_is_called(compose, honest, tmp_path, monkeypatch, location, target, command):
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(honest, tmp_path / "honest")
    done = compose(*hostile.line(tmp_path, location, target, command))
    assert not hostile.harmed(tmp_path) and "canary" not in sys.modules
    assert done.code in (0, 1, 2) and "Traceback" not in done.err and (done.code == 0 or "compose: " in done.err), (
        done.err
    )


@pytest.mark.slow
def test_no_target_is_called_from_any_location_by_any_command(honest, tmp_path):
    """Each location with each target, by commands in turn, and each location by each command."""
    commands = [*hostile.COMMANDS]
    cases = {
        (location, target, commands[(i + j) % len(commands)])
        for i, location in enumerate(hostile.SOURCES)
        for j, target in enumerate(hostile.TARGETS)
    } | {
        (location, target, command)
        for location in hostile.SOURCES
        for target in ("write_text", "os.system")
        for command in commands
    }
    lines = []
    for number, case in enumerate(sorted(cases)):
        here = tmp_path / str(number)
        here.mkdir()
        shutil.copytree(honest, here / "honest")
        lines.append((here, hostile.line(here, *case)))
    ended, seen = watched(tmp_path, lines, {"EVIL": "{_target_: os.system, command: touch PWNED}"})
    assert seen == []
    assert not [case for case, (here, _) in zip(sorted(cases), lines) if hostile.harmed(here)]
    odd = [
        (words, code, err[-300:])
        for (_, words), (code, _, err) in zip(lines, ended)
        if code not in (0, 1, 2) or "Traceback" in err
    ]
    assert not odd, odd[:5]


@pytest.mark.parametrize("name", ["hydra_plugins/canary.py", "omegaconf.py", "evil-1.dist-info/entry_points.txt"])
def test_modules_of_the_current_folder_are_not_found(tmp_path, name):
    text = "[composer.plugins]\nevil = evil\n" if name.endswith(".txt") else hostile.TOUCH
    hostile.put(tmp_path, name, text)
    hostile.put(tmp_path, "evil/__init__.py", hostile.TOUCH)
    hostile.put(tmp_path, "evil/conf/callbacks/evil.yaml", "_target_: evil.Evil\n")
    done = subprocess.run(
        [sys.executable, "-m", "composer", "--cfg", "job"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and not (tmp_path / hostile.MARK).exists(), done.stderr
