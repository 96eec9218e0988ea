"""Checks of a run before weights are loaded."""
