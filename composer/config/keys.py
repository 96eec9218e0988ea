"""Config keys that several modules refer to by name."""

from __future__ import annotations

#: Root nodes of the config; every other root key is an input that the task declares.
NODES = (
    "task", "model", "scheduler", "guidance", "callbacks", "memory", "accel", "metric", "precision", "device", "output",
)  # fmt: skip


#: Groups that hold several options, each under its name.
LISTS = ("callbacks", "memory", "accel", "metric")


#: Nodes of a multirun, which are not part of its runs.
OF_SWEEPS = ("sweep", "sheet", "ray", "search")


#: Key of the names of the chosen options, see `compose.record_choices`.
CHOSEN = "chosen"


#: Keys whose value can be the texts of a step of a recipe; every other input of a step is an image.
PROMPTS = ("prompt", "negative_prompt")


#: Keys whose value is text as typed; at the root, or below a node such as callbacks.prompt_switch, sweep or search.
TEXT_KEYS = (*PROMPTS, "where", "jobs", "reference")


#: Keys whose value is a file as typed; `[a.png,b.png]` is a batch, and in a multirun `a.png,b.png` a sweep.
FILE_KEYS = ("image", "mask", "depth", "references", "control_image", "last_image")


#: Keys that option files alone hold: the class, and what a scheduler is for, by kind and in how many steps.
OF_OPTION_FILES = ("_target_", "_kind_", "_by_kind_", "_most_steps_")


def is_text_key(key: str) -> bool:
    """Whether the value of a key is text as typed.

    Args:
        key: A dotted key.
    """
    return key.rpartition(".")[2] in TEXT_KEYS and not is_file_key(key)


def is_file_key(key: str) -> bool:
    """Whether the value of a key is a file as typed, such as an input image, or the reference of a metric.

    Args:
        key: A dotted key.
    """
    root, last = key.lstrip("+~").partition(".")[0], key.rpartition(".")[2]
    return last in FILE_KEYS or (root == "metric" and last == "reference")


def is_reserved(key: str) -> bool:
    """Whether a key is for option files alone, as `_target_` is.

    Args:
        key: A key of a node.

    Returns:
        True for names between underscores.
    """
    return key.startswith("_") and key.endswith("_")


def is_stray(word: str) -> bool:
    """Whether a word is neither `key=value` nor `~key`.

    Args:
        word: A word of the command line.

    Returns:
        True if it is no override.
    """
    return "=" not in word and not word.startswith("~")
