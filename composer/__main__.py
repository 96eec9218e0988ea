"""`python -m composer` is `compose`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # with `-m`, Python looks for modules in the current directory first, and would run files there instead of
    # installed packages; before Python 3.11 there is no flag against it
    if (
        sys.path
        and Path(sys.path[0]).absolute() != Path(__file__).resolve().parents[1]
        and not getattr(sys.flags, "safe_path", False)
    ):
        del sys.path[0]
    from composer.cli.main import run_console

    run_console()
