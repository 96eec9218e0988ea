"""A worker of `compose serve`: `python -m composer.cli.serve_worker FOLDER NUMBER [text|json [CODE OUT_OF_MEMORY]]`.

The last two say how the worker of this number before it ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from composer.cli.process import configure_process
from composer.server import logs
from composer.server.process_ends import end_of
from composer.server.worker import work

if __name__ == "__main__":
    configure_process(False)
    logs.configure(sys.argv[3] if len(sys.argv) > 3 else "text")
    end = end_of(int(sys.argv[4]), sys.argv[5] == "True") if len(sys.argv) > 5 else None
    work(Path(sys.argv[1]), int(sys.argv[2]), end)
