"""What Python users call: `compose`, `load`, `check`, `show`, `sweep`, `rerun`."""
