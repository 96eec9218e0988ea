"""While libraries and models load, a line on the terminal says so; nothing is printed elsewhere."""

from __future__ import annotations

import sys
import time

import pytest

from composer.system import loading_line

LINE = "compose: loading libraries and models …"
QUICK = ("steps=1", "height=64", "width=64", "callbacks=[]")


@pytest.mark.parametrize(
    ("terminal", "words", "lines"),
    [
        (True, QUICK, 1),
        (True, (*QUICK, "-q"), 0),
        (False, QUICK, 0),
        (True, ("-m", *QUICK, "seed=1,2"), 1),
        (True, ("check", "steps=1"), 1),
    ],
)
def test_loading_is_printed_once_on_a_terminal(compose, monkeypatch, terminal, words, lines):
    monkeypatch.setattr(loading_line, "DELAY_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    done = compose(*words)
    assert done.code == 0 and done.err.count(LINE) == lines


def test_nothing_is_printed_once_something_is_shown(capsys, monkeypatch):
    monkeypatch.setattr(loading_line, "DELAY_SECONDS", 0.05)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    loading_line.start()
    loading_line.stop()
    loading_line.start()
    loading_line.stop()
    time.sleep(0.15)
    assert capsys.readouterr().err == ""


def test_a_call_from_python_says_nothing(capsys, monkeypatch):
    from composer import compose

    monkeypatch.setattr(loading_line, "DELAY_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    compose(*QUICK)
    assert LINE not in capsys.readouterr().err
