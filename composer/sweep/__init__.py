"""Sweeps: many jobs over few loads; see plan, journal, run."""

from composer.callable_module import make_callable

make_callable(__name__)
