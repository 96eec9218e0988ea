"""Keys of the config that several modules know by name."""

from __future__ import annotations

#: Root nodes of the config; every other root key is an input that the task declares.
NODES = ("task", "model", "scheduler", "guidance", "callbacks", "memory", "accel", "precision", "device", "output")


#: Those that hold several options, each under its name.
LISTS = ("callbacks", "memory", "accel")


#: Those of a multirun, which are no part of any run.
OF_SWEEPS = ("sweep", "sheet", "ray", "search")


#: Where `api.without_hydra` leaves the names of the options.
CHOSEN = "chosen"


#: Keys whose value is text as typed; at the root, or below a node such as callbacks.prompt_switch, sweep or search.
TEXT_KEYS = ("prompt", "negative_prompt", "where", "jobs", "reference")


#: Keys whose value is a file as typed; `[a.png,b.png]` is a batch, and in a multirun `a.png,b.png` a sweep.
FILE_KEYS = ("image", "mask", "depth")


def is_stray(word: str) -> bool:
    """Whether a word is neither `key=value` nor `~key`."""
    return "=" not in word and not word.startswith("~")
