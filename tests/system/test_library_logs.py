"""A call from Python leaves the calling program's process as it was; quieting belongs to the command line."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import warnings
from typing import Any

import pytest

import composer

LOGGERS = ("root", "diffusers", "transformers", "composer", "hydra", "torch", "huggingface_hub")
CALLS = {
    "run": lambda: composer.compose(steps=1),
    "seed": lambda: composer.compose("callbacks=[trace]", steps=1, seed=None),
    "options": lambda: composer.compose(
        "accel=[channels_last]", "memory=[attention_slicing]", "scheduler=ddpm", steps=2
    ),
    "hosted": lambda: composer.compose("model.family=hosted", "callbacks=[]", steps=1),
    "refusal": lambda: composer.compose("stepz=3"),
    "too_late": lambda: composer.compose("guidance=interval", "model.components.vae=nowhere", steps=1),
}


def process() -> dict[str, Any]:
    """All of the process that a library could change."""
    import diffusers
    import numpy
    import torch
    import transformers
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    loggers = {
        name: logging.getLogger(name)
        for name in ("root", "diffusers", "transformers", "composer", "hydra", "torch", "huggingface_hub")
    }
    return {
        **{name: (list(logger.handlers), logger.level, logger.propagate, logger.filters[:]) for name,
            logger in loggers.items()},
        "bars": [library.utils.logging.is_progress_bar_enabled() for library in (diffusers, transformers)],
        "warnings": list(warnings.filters), "showwarning": warnings.showwarning, "environment": dict(os.environ),
        "scipy": type(sys.modules.get("scipy.stats")), "argv": list(sys.argv), "path": list(sys.path),
        "folder": os.getcwd(),
        "hooks": (sys.excepthook, sys.stdout, sys.stderr), "signal": signal.getsignal(signal.SIGINT),
        "dtype": torch.get_default_dtype(), "threads": torch.get_num_threads(), "grad": torch.is_grad_enabled(),
        "random": (torch.get_rng_state().tolist(), random.getstate(), str(numpy.random.get_state())),
        "exact": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,
            torch.backends.cuda.matmul.allow_tf32),
        "hydra": (GlobalHydra.instance().hydra,
            list(Plugins.instance().plugin_type_to_subclass_list[SearchPathPlugin])),
    }  # fmt: skip


@pytest.fixture(scope="module")
def imported():
    """What libraries do to a process when they are imported is theirs."""
    composer.compose(steps=1)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_the_process_as_it_was(imported, name):
    before = process()
    try:
        CALLS[name]()
    except composer.ComposerError:
        pass
    after = process()
    assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {}


def test_a_program_s_own_settings_stay(imported, tmp_path):
    import diffusers

    handler, library = logging.NullHandler(), diffusers.utils.logging
    before = library.get_verbosity()
    library.set_verbosity_debug()
    library.add_handler(handler)
    try:
        composer.compose(steps=1)
        assert library.get_verbosity() == logging.DEBUG and handler in logging.getLogger("diffusers").handlers
    finally:
        library.remove_handler(handler)
        library.set_verbosity(before)


def test_a_call_after_a_command_quiets_nothing(compose, imported):
    assert compose("steps=1", "output.folder=out").code == 0
    with warnings.catch_warnings():
        warnings.resetwarnings()
        filters = list(warnings.filters)
        composer.compose(steps=1)
        assert list(warnings.filters) == filters
