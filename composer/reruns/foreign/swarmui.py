"""SwarmUI's ``parameters``: an object of JSON under ``sui_image_params``.

https://github.com/mcmonkeyprojects/SwarmUI/blob/master/docs/Image%20Metadata%20Format.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.reruns.foreign.facts import Facts, read_json
from composer.reruns.foreign.settings_object import leave_settings, take_settings

_IGNORED = (
    "swarm_version",
    "date",
    "generation_time",
    "nopreviews",
    "imageformat",
    "aspectratio",
    "original_prompt",
    "images",
    "original_negativeprompt",
    "used_wildcards",
    "wildcardseed",
    "donotsave",
    "personalnote",
    "batchsize",
    "seamlesstileable",
    "sidelength",
    "automaticvae",
    "outpathbuilder",
    "internalbackendtype",
    "resolution",
    "preferreddtype",
)


def read(texts: Mapping[str, str]) -> Facts | None:
    """Read the record of an image.

    Args:
        texts: Texts of the image.

    Returns:
        What it says; ``None`` if it is of another form.
    """
    content = read_json(next((texts[key] for key in ("parameters", "UserComment") if key in texts), ""))
    settings = None if content is None else content.get("sui_image_params")
    if not isinstance(settings, Mapping):
        return None
    facts, rest = Facts("SwarmUI", weights="()"), dict(settings)
    guidance = ("cfgscale", "fluxguidancescale")
    take_settings(facts, rest, prompt="prompt", negative_prompt="negativeprompt", guidance=guidance)
    facts.sampler, facts.schedule, facts.model = (
        _text(rest.pop(key, None)) for key in ("sampler", "scheduler", "model")
    )
    names, weights = (rest.pop(key, None) for key in ("loras", "loraweights"))
    for index, name in enumerate(names if isinstance(names, list) else []):
        weight = weights[index] if isinstance(weights, list) and index < len(weights) else 1
        facts.leave_lora(name, weight)
    leave_settings(facts, rest, _IGNORED)
    return facts


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
