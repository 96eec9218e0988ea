"""InvokeAI's ``invokeai_metadata``: an object of JSON. https://invoke-ai.github.io/InvokeAI/features/other/"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.reruns.foreign.facts import MAX_SEED, MAX_SIDE, MAX_STEPS, Facts, read_json

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
    facts.set_text("prompt", rest.pop("positive_prompt", None))
    facts.set_text("negative_prompt", rest.pop("negative_prompt", None))
    facts.set_integer("steps", rest.pop("steps", None), MAX_STEPS, 1)
    facts.set_integer("seed", rest.pop("seed", None), MAX_SEED)
    for side in ("width", "height"):
        facts.set_integer(side, rest.pop(side, None), MAX_SIDE, 8)
    facts.set_guidance(rest.pop("cfg_scale", None))
    if "guidance" in rest:  # of FLUX
        facts.set_guidance(rest.pop("guidance"))
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
            name = _name(lora.get("model", lora.get("lora")))
            facts.leave(f"lora {name}", f"{lora.get('weight')} (lora=FILE lora.scale=…)")
    for key, value in rest.items():
        if key not in _IGNORED and value not in (None, [], {}, "", 0, False):
            facts.leave(str(key), value)
    return facts


def _name(model: Any) -> str | None:
    if isinstance(model, Mapping):
        model = model.get("name", model.get("model_name"))
    return model if isinstance(model, str) else None
