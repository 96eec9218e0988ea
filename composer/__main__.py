"""`python -m composer` is `compose`."""

import os
import sys

if __name__ == "__main__":
    # `-m` has Python look for modules in the current folder first, where whatever lies there would be run instead of what is installed
    if sys.path[:1] == [os.getcwd()] and os.path.dirname(os.path.dirname(os.path.abspath(__file__))) != os.getcwd():
        del sys.path[0]
    from composer.cli import main

    raise SystemExit(main())
