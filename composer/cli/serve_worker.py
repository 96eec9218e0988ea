"""A worker of `compose serve`: `python -m composer.cli.serve_worker FOLDER NUMBER [text|json]`."""

from __future__ import annotations

import sys
from pathlib import Path

from composer.cli.process import configure_process
from composer.server import logs
from composer.server.worker import work

if __name__ == "__main__":
    configure_process(False)
    logs.configure(sys.argv[3] if len(sys.argv) > 3 else "text")
    work(Path(sys.argv[1]), int(sys.argv[2]))
