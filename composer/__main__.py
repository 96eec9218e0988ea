"""`python -m composer` is `compose`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # `-m` has Python look for modules in the current folder first, where whatever lies there would be run instead of
    # what is installed
    if sys.path and Path(sys.path[0]).absolute() != Path(__file__).resolve().parents[1] and not sys.flags.safe_path:
        del sys.path[0]
    from composer.cli.main import main

    raise SystemExit(main())
