"""The version of composer. Importing this module imports nothing else."""

__version__ = "0.1.0"
