"""`python -m composer` is `compose`."""

from composer.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
