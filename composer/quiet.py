"""What other libraries say while they work, which users can't act on; `-v` lets it through, with the run that it is about."""

from __future__ import annotations

import logging
import os
import warnings

from composer import speak

_hushed = False


def hush() -> None:
    """Call before torch, transformers or diffusers are imported."""
    global _hushed
    _hushed = True
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")


def speak_up() -> None:
    """The opposite: all that they log, each line with the run's name."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Named("%(run)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "info")


class _Named(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.run = speak.manner.run
        return super().format(record)


def hush_bars() -> None:
    """The libraries' loading bars, once they are imported; downloads keep theirs. Else their lines in our form."""
    import diffusers
    import transformers

    if not _hushed:
        for library in (diffusers, transformers):
            library.utils.logging.disable_default_handler()
            library.utils.logging.enable_propagation()
    else:
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
