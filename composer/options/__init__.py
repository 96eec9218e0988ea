"""Reversible changes to how loaded models run: ``memory=[…]`` and ``accel=[…]``."""
