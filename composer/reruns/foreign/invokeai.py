"""InvokeAI's ``invokeai_metadata``: an object of JSON. https://invoke-ai.github.io/InvokeAI/features/other/"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.reruns.foreign.facts import Facts, read_json
from composer.reruns.foreign.settings_object import leave_settings, take_settings

_IGNORED = (
    "app_version",
    "generation_mode",
    "rand_device",
    "canvas_v2_metadata",
    "workflow",
    "extra",
    "z_image_seed_variance_enabled",
)


def read(texts: Mapping[str, str]) -> Facts | None:
    """Read the record of an image.

    Args:
        texts: Texts of the image.

    Returns:
        What it says; ``None`` if it is of another form.
    """
    content = read_json(texts.get("invokeai_metadata", ""))
    if content is None:
        return None
    facts, rest = Facts("InvokeAI", weights=""), dict(content)  # its prompts have weights as in (word)1.2
    take_settings(
        facts, rest, prompt="positive_prompt", negative_prompt="negative_prompt", guidance=("cfg_scale", "guidance")
    )
    scheduler = rest.pop("scheduler", None)
    if isinstance(scheduler, str):
        facts.sampler, facts.schedule = scheduler.removesuffix("_k"), "karras" if scheduler.endswith("_k") else None
    facts.model = _name(rest.pop("model", None))
    mode = str(content.get("generation_mode", ""))
    if mode.endswith(("img2img", "inpaint", "outpaint")):
        facts.leave("generation_mode", f"{mode}: its image is not in the file (task=img2img image=FILE)")
    loras = rest.pop("loras", None)
    for lora in loras if isinstance(loras, list) else []:
        if isinstance(lora, Mapping):
            facts.leave_lora(_name(lora.get("model", lora.get("lora"))), lora.get("weight"))
    leave_settings(facts, {key: value for key, value in rest.items() if value not in (0, False)}, _IGNORED)
    return facts


def _name(model: Any) -> str | None:
    if isinstance(model, Mapping):
        model = model.get("name", model.get("model_name"))
    return model if isinstance(model, str) else None
