"""Ctrl-C is reported as Ctrl-C: exit code 130 and one word, whatever a library raises instead."""

from __future__ import annotations

import os
import signal

import pytest

import composer
from composer.callbacks.cfg_cutoff import CfgCutoff
from composer.errors import ComposerError
from composer.sweeps.lock import defer_sigint
from composer.system import interrupts

MESSAGES = (130, "compose: interrupted\n")
SMALL = ("steps=2", "height=64", "width=64", "callbacks=[]")


def turned(*_):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        raise AttributeError("half a tree")  # as a parser's or a tree's way out does


def swallowed(*_):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        return None


@pytest.mark.parametrize("words", [("steps=3",), ("-m", "steps=3,4"), ("-m", "steps=3,4", "sweep.on_invalid=skip")])
def test_what_a_parser_makes_of_it_is_no_refusal(compose, monkeypatch, words):
    from hydra.core.override_parser import overrides_parser

    monkeypatch.setattr(overrides_parser.OverridesParser, "parse_rule", turned)
    done = compose(*words)
    assert (done.code, done.err) == MESSAGES


def test_what_composing_makes_of_it_is_no_job_that_cannot_work(compose, monkeypatch, tmp_path):
    from composer.sweeps.job_configs import Composer

    monkeypatch.setattr(Composer, "_base", turned)
    done = compose("-m", "seed=0,1", *SMALL, "sweep.on_invalid=skip")
    assert (done.code, done.err) == MESSAGES and not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("does", [turned, swallowed])
def test_what_a_callback_makes_of_it_ends_the_sweep_all_the_same(compose, monkeypatch, tmp_path, does):
    monkeypatch.setattr(CfgCutoff, "before_step", does)
    done = compose("-m", "seed=range(8)", *SMALL[:3], "callbacks=[cfg_cutoff]", "sweep.batch=1", "output.folder=out")
    assert (done.code, done.err) == MESSAGES
    generated = [location for location in (tmp_path / "out").iterdir() if (location / "run.json").exists()]
    assert len(generated) == (does is swallowed)  # the job in which the signal was swallowed is finished and kept


def test_a_run_in_which_it_was_swallowed_does_not_end_with_success(compose, monkeypatch):
    monkeypatch.setattr(CfgCutoff, "before_step", swallowed)
    done = compose(*SMALL[:3], "callbacks=[cfg_cutoff]")
    assert (done.code, done.err) == MESSAGES


def test_the_note_is_of_one_command_alone(compose, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(CfgCutoff, "before_step", swallowed)
        assert compose(*SMALL[:3], "callbacks=[cfg_cutoff]").code == 130
        with pytest.raises(ComposerError):  # not taken for Ctrl-C
            composer.compose("steps=0")
    assert compose(*SMALL[:3], "callbacks=[cfg_cutoff]").code == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_it_is_ignored_it_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.track_sigint():
            os.kill(os.getpid(), signal.SIGINT)
            assert not interrupts.was_interrupted()
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_that_waits_for_a_block_to_end_is_not_lost_where_the_block_fails():
    with pytest.raises(KeyboardInterrupt), defer_sigint():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("on its way")


def test_an_error_that_it_is_the_cause_of():
    with pytest.raises(KeyboardInterrupt):
        interrupts.raise_if_interrupted(caused())
    assert not interrupts.was_interrupted(ValueError("by itself"))


def test_an_error_that_leads_back_to_itself():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert not interrupts.was_interrupted(one)


def caused() -> Exception:
    try:
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("on its way out")
    except ValueError as error:
        return error
