"""A worker of `compose serve`: `python -m composer.cli.serve_worker FOLDER NUMBER`."""

from __future__ import annotations

import sys
from pathlib import Path

from composer.cli.process import configure_process
from composer.server.worker import work

if __name__ == "__main__":
    configure_process(False)
    work(Path(sys.argv[1]), int(sys.argv[2]))
