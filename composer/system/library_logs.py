"""Logs, warnings and progress bars of other libraries, which users cannot act on; `-v` shows them.

The process-wide functions are for processes that composer owns: the command line's and those of workers. A program that
calls composer from Python keeps its loggers, warnings, environment and imports.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from composer.system import console

#: How much other libraries print in this process; `None` if composer does not own it.
_level: Literal["little", "all"] | None = None
#: Environment variables that were set for this process, and go with its ownership.
_variables: list[str] = []


def silence_libraries() -> None:
    """Turn logs and warnings off for a process that composer owns.

    Call it before torch, transformers or diffusers are imported.
    """
    global _level
    _level = "little"
    _set_variable("TRANSFORMERS_VERBOSITY", "error")
    _set_variable("DIFFUSERS_VERBOSITY", "error")
    _set_variable("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    _set_variable("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")


def enable_library_logs() -> None:
    """Show all logs in a process that composer owns, each line with the name of the run.

    Call it before torch, transformers or diffusers are imported.
    """
    global _level
    _level = "all"
    handler = logging.StreamHandler()
    handler.setFormatter(_RunFormatter("%(run)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    _set_variable("DIFFUSERS_VERBOSITY", "info")


def release_process() -> None:
    """End composer's ownership of the process: the command is done, and later calls come from Python."""
    global _level
    _level = None
    while _variables:
        os.environ.pop(_variables.pop(), None)


def _set_variable(name: str, value: str) -> None:
    """Set an environment variable that the user left open."""
    if name not in os.environ:
        os.environ[name] = value
        _variables.append(name)


class _RunFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.run = console.output_mode.run
        return super().format(record)


def disable_progress_bars() -> None:
    """Turn the loading bars of diffusers and transformers off; with `-v`, let their logs propagate instead.

    Downloads keep their bars. Nothing happens in a process that composer does not own. Imports both libraries.
    """
    if _level is None:
        return
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        if _level == "all":
            library.utils.logging.disable_default_handler()
            library.utils.logging.enable_propagation()
        else:
            library.utils.logging.disable_progress_bar()


#: Number of calls from Python in progress, and what restores the libraries after the last one.
_calls, _lock, _undo = 0, threading.Lock(), ExitStack()


@contextmanager
def silenced_libraries() -> Iterator[None]:
    """Turn loading bars and advice of other libraries off during a call from Python.

    They are restored when the last of several concurrent calls ends. Nothing happens in a process that composer owns.
    """
    global _calls
    if _level is not None:
        yield
        return
    with _lock:
        _calls += 1
        if _calls == 1:
            _turn_down()
    try:
        yield
    finally:
        with _lock:
            _calls -= 1
            if _calls == 0:
                _undo.close()


def _turn_down() -> None:
    import diffusers
    import huggingface_hub.utils as hub
    import transformers

    downloads = not hub.are_progress_bars_disabled()
    for library in (diffusers.utils.logging, transformers.utils.logging):
        _undo.callback(library.set_verbosity, library.get_verbosity())
        library.set_verbosity(max(library.get_verbosity(), logging.ERROR))
        if library.is_progress_bar_enabled():
            _undo.callback(library.enable_progress_bar)
            library.disable_progress_bar()
    if downloads:  # transformers turned them off with its own
        hub.enable_progress_bars()
    else:
        _undo.callback(hub.disable_progress_bars)
