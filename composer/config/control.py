"""The node ``control``: one control model at the node itself, and others under names of their own, see
`adapter_nodes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from composer.config.adapter_nodes import CONTROL, read_specs
from composer.config.spec import ControlSpec
from composer.errors import ComposerError
from composer.system.constraints import check_arguments

#: Name of a control model → its config key; the name of the one at the node itself is empty.
key_of = CONTROL.key_of


def read_controls(node: Mapping[str, Any]) -> Mapping[str, ControlSpec]:
    """Read the control models of a run; one whose model is null is none.

    Args:
        node: The node ``control`` as plain data.

    Returns:
        Control models by name, in their order; the name of the one at the node itself is empty.

    Raises:
        ComposerError: A key is unknown, a value is of a wrong type, or a setting belongs to no model.
    """
    return read_specs(CONTROL, node, _spec)


def image_key(name: str) -> str:
    """Return the config key of a control model's image, under which a request holds it.

    Args:
        name: Name of the control model; empty for the one at the node itself.
    """
    return f"{key_of(name)}.image"


def with_images(controls: Mapping[str, ControlSpec], images: Mapping[str, Any]) -> Mapping[str, ControlSpec]:
    """Give control models images that a caller passed as objects.

    Args:
        controls: Control models by name.
        images: Images by config key; those of other keys are ignored.

    Returns:
        The control models, with these images instead of what the config has.
    """
    return MappingProxyType(
        {
            name: replace(spec, image=images.get(image_key(name), spec.image)) if images else spec
            for name, spec in controls.items()
        }
    )


def _spec(key: str, entry: dict[str, Any]) -> ControlSpec | None:
    more = entry.get("preprocess_settings") or {}
    preprocess = entry.get("preprocess") or "none"
    settings = {**entry, "preprocess": preprocess, "preprocess_settings": MappingProxyType(dict(more))}
    check_arguments(key, ControlSpec, {**settings, "model": "-" if entry["model"] is None else entry["model"]})
    if entry["model"] is None:
        return None
    spec = ControlSpec(**settings)
    if not spec.model:
        raise ComposerError(key, None, f"names no model: {key}=OWNER/NAME, or {key}=null for none")
    if spec.start >= spec.end:
        raise ComposerError(f"{key}.start", spec.start, f"must be less than {key}.end, which is {spec.end}")
    return spec
