"""What other libraries say while they work, which users can't act on; `-v` lets it through, with the run that it is
about.

All of this is for processes of composer's own: the command line's and those of workers. A program that calls composer
from Python
keeps its loggers, warnings, environment and imports as they are.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from composer.system import console

#: What this process wants to hear of other libraries: "little", "all", or None where it is not composer's own.
_wanted: str | None = None


def silence_libraries() -> None:
    """Call before torch, transformers or diffusers are imported."""
    global _wanted
    _wanted = "little"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")


def enable_library_logs() -> None:
    """The opposite: all that they log, each line with the run's name."""
    global _wanted
    _wanted = "all"
    handler = logging.StreamHandler()
    handler.setFormatter(_Named("%(run)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "info")


def release() -> None:
    """The command is done: what is called from Python afterwards is the caller's."""
    global _wanted
    _wanted = None


class _Named(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.run = console.manner.run
        return super().format(record)


def disable_progress_bars() -> None:
    """The libraries' loading bars, once they are imported; downloads keep theirs. Else their lines in our form."""
    if _wanted is None:
        return
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        if _wanted == "all":
            library.utils.logging.disable_default_handler()
            library.utils.logging.enable_propagation()
        else:
            library.utils.logging.disable_progress_bar()


#: Library calls of composer under way, and what undoes their silence.
_calls, _lock, _undo = 0, threading.Lock(), ExitStack()


@contextmanager
def silence() -> Iterator[None]:
    """Inside a call from Python: other libraries' loading bars and advice off, and as they were when the last such call
    is over.
    """
    global _calls
    if _wanted is not None:
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
