"""What other libraries say while they work, which users can't act on; `-v` lets it through."""

from __future__ import annotations

import os
import warnings

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


def hush_bars() -> None:
    """The libraries' loading bars, once they are imported; downloads keep theirs."""
    if _hushed:
        import diffusers
        import transformers

        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
