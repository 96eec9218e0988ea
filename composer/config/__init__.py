"""From what was typed to a checked `RunSpec`: Hydra, option files, plugins."""
