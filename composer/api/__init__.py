"""The Python API: `compose`, `load`, `check`, `show`, `list`, `sweep` and `rerun`.

Users import these names from `composer` itself.
"""
