"""Sweeps: many jobs over few loads; see plan, journal, run."""
