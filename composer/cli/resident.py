"""The process behind `compose --warm`: `python -m composer.cli.resident SOCKET`."""

from __future__ import annotations

import sys
from pathlib import Path

from composer.resident.server import serve


def run_line(argv: list[str]) -> int:
    """Run one command line. Imports wait until then, so that the socket listens at once.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    from composer.cli.main import main
    from composer.cli.process import set_resident

    set_resident()
    return main(argv)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), run_line)
