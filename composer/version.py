"""The version of composer, by itself: whoever needs it alone imports nothing else."""

__version__ = "0.1.0"
