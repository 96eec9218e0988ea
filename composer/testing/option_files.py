"""Whether an option file fits the class that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from composer.config.search_path import describe
from composer.system.signatures import keywords_of


def settings_of_file(file: Path, cls: type, *, nested: bool) -> Mapping[str, Any]:
    """Check an option file against its class: a description, the class, and keywords of its constructor.

    Args:
        file: The option file.
        cls: The class that it should name.
        nested: Whether settings are nested under the option's name, as in groups that are chosen as a list.

    Returns:
        Setting → value.

    Raises:
        AssertionError: The file does not fit.
    """
    node = yaml.safe_load(file.read_text("utf-8"))
    if nested:
        assert set(node) == {file.stem}, f"settings must be nested under {file.stem}"
        node = node[file.stem]
    assert describe(file), "its first line does not describe it"
    assert node["_target_"] == f"{cls.__module__}.{cls.__qualname__}", "it names another class"
    settings = {key: value for key, value in node.items() if not key.startswith("_")}
    unknown = set(settings) - set(keywords_of(cls))
    assert not unknown, f"the constructor does not take {sorted(unknown)}"
    return settings
