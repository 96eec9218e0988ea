"""The ``parameters`` text that tools of the field write into images and read.

It consists of the prompt, a line for the negative prompt, and a line of ``Key: value`` pairs. See
https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#png-info.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

#: diffusers' scheduler classes → the samplers' names elsewhere.
SAMPLERS = {
    "DDIMScheduler": "DDIM", "DDPMScheduler": "DDPM", "PNDMScheduler": "PLMS", "EulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler a", "HeunDiscreteScheduler": "Heun", "KDPM2DiscreteScheduler": "DPM2",
    "KDPM2AncestralDiscreteScheduler": "DPM2 a", "LMSDiscreteScheduler": "LMS", "UniPCMultistepScheduler": "UniPC",
    "DPMSolverSDEScheduler": "DPM++ SDE", "DPMSolverSinglestepScheduler": "DPM++ 2S", "LCMScheduler": "LCM",
    "TCDScheduler": "TCD", "DEISMultistepScheduler": "DEIS", "FlowMatchEulerDiscreteScheduler": "Euler",
    "FlowMatchHeunDiscreteScheduler": "Heun",
}  # fmt: skip


def parameters(record: Mapping[str, Any], number: int) -> str:
    """Describe how an image was generated.

    Args:
        record: Record of the run.
        number: Index of the image in the run.

    Returns:
        The text.
    """
    image, config = record["images"][number], record["config"]
    lines = [image["prompt"] or ""]
    if image["negative_prompt"]:
        lines.append(f"Negative prompt: {image['negative_prompt']}")
    pairs: dict[str, Any] = {"Steps": record["steps"], "Sampler": sampler(record["scheduler"])}
    if record["scheduler"].get("use_karras_sigmas"):
        pairs["Schedule type"] = "Karras"
    if record["guidance"].get("scale") is not None:
        pairs["CFG scale"] = record["guidance"]["scale"]
    pairs["Seed"] = image["seed"]
    if record["width"] is not None:
        pairs["Size"] = f"{record['width']}x{record['height']}"
    pairs |= {"Model hash": record["stamp"][:10], "Model": _model(record)}
    if config.get("strength") is not None:
        pairs["Denoising strength"] = config["strength"]
    pairs["Version"] = f"composer {record['composer']}"
    return "\n".join([*lines, ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items())])


def sampler(scheduler: Mapping[str, Any]) -> str:
    """Return the name that other tools use for a scheduler.

    Args:
        scheduler: Settings of the scheduler with its ``class``.

    Returns:
        The name; the class if there is none.
    """
    name: str = scheduler["class"]
    if name == "DPMSolverMultistepScheduler":
        sde = " SDE" if "sde" in str(scheduler.get("algorithm_type")) else ""
        return f"DPM++ {scheduler.get('solver_order', 2)}M{sde}"
    return SAMPLERS.get(name, name)


def _model(record: Mapping[str, Any]) -> str:
    """Return a short name of the model: the option's, or the file's."""
    model = record["config"]["model"]
    return PurePath(record["model"]["source"]).stem if model["name"] in ("local", model["source"]) else model["name"]


def _quoted(value: Any) -> str:
    """Quote a value that could be read as several."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text
