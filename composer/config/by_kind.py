"""Scheduler options that choose another option by the kind of the model, such as `scheduler=fast`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from composer.config.catalogue import contents
from composer.config.keys import is_reserved
from composer.config.plugins import plugins
from composer.config.search_path import packaged_conf
from composer.config.spec import Choice, SchedulerSpec
from composer.errors import ComposerError
from composer.system.constraints import require

#: What a scheduler is for, by the models that it denoises.
SchedulerKind = Literal["diffusion", "flow", "edm"]


def schedulers_by_kind(node: Any) -> Mapping[str, SchedulerSpec]:
    """Read the key `_by_kind_` of a scheduler option.

    Args:
        node: Kind of model → name of a scheduler option that composer or a plugin ships; null is none.

    Returns:
        Kind of model → the scheduler.

    Raises:
        ComposerError: A kind or an option is unknown.
    """
    schedulers = {}
    for kind, name in (node or {}).items():
        require("scheduler._by_kind_", kind, SchedulerKind)
        content = _shipped_option(str(name))
        if not content.get("_target_"):
            raise ComposerError(f"scheduler._by_kind_.{kind}", name, "is no scheduler that composer or a plugin ships")
        keywords = {key: value for key, value in content.items() if key != "defaults" and not is_reserved(key)}
        target = Choice(path=str(content["_target_"]), group="scheduler", name=str(name))
        schedulers[kind] = SchedulerSpec(
            target=target, name=str(name), kind=content.get("_kind_"), keywords=MappingProxyType(keywords)
        )
    return MappingProxyType(schedulers)


def _shipped_option(name: str) -> Mapping[str, Any]:
    """Content of the first option file of a name; empty if there is none."""
    folders = (packaged_conf(), *(plugin.conf for plugin in plugins() if plugin.conf))
    files = (folder / "scheduler" / f"{name}.yaml" for folder in folders)
    return next((contents(file) for file in files if file.is_file()), {})
