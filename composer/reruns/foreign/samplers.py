"""Names of samplers and noise schedules in other tools → options of ``scheduler``."""

from __future__ import annotations

import re

#: Names in small letters and digits → option.
_SAMPLERS = {
    "euler": "euler",
    "eulera": "euler_a",
    "eulerancestral": "euler_a",
    "heun": "heun",
    "dpm2": "dpm2",
    "kdpm2": "dpm2",
    "dpm2a": "dpm2_a",
    "dpm2ancestral": "dpm2_a",
    "kdpm2a": "dpm2_a",
    "lms": "lms",
    "dpmpp2m": "dpmpp_2m",
    "dpmpp2msde": "dpmpp_2m_sde",
    "dpmppsde": "dpmpp_sde",
    "dpmpp2s": "dpmpp_2s",
    "dpmpp3m": "dpmpp_3m",
    "ddim": "ddim",
    "ddpm": "ddpm",
    "plms": "pndm",
    "pndm": "pndm",
    "unipc": "unipc",
    "lcm": "lcm",
    "tcd": "tcd",
    "deis": "deis",
    "ipndm": "ipndm",
}
#: Options for diffusion models → the same for flow matching.
_FLOW = {
    "euler": "flow_euler",
    "heun": "flow_heun",
    "dpmpp_2m": "flow_dpmpp_2m",
    "dpmpp_2m_sde": "flow_dpmpp_2m_sde",
    "dpmpp_2s": "flow_dpmpp_2s",
    "dpmpp_3m": "flow_dpmpp_3m",
    "unipc": "flow_unipc",
    "deis": "flow_deis",
    "lcm": "flow_lcm",
}
#: Names of models for flow matching.
_FLOW_MODELS = re.compile(r"flux|sd_?3|stable-diffusion-3|qwen|z[-_ ]?image|chroma|lumina|wan2|sana", re.IGNORECASE)
#: Noise schedules → setting of a scheduler; those of None are the usual one.
_SCHEDULES = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
    "normal": None,
    "automatic": None,
    "uniform": None,
    "default": None,
    "discrete": None,
}
#: Options whose classes take the settings of noise schedules.
_SCHEDULED = (
    "euler",
    "heun",
    "dpm2",
    "dpm2_a",
    "lms",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2s",
    "dpmpp_3m",
    "dpmpp_sde",
    "deis",
    "unipc",
)


def option_of(sampler: str, model: str | None) -> str | None:
    """Find the scheduler of a sampler.

    Args:
        sampler: Its name, as A1111, ComfyUI, InvokeAI or SwarmUI write it.
        model: Name of the model, which shows whether it is for flow matching.

    Returns:
        Name of an option of `scheduler`; ``None`` if there is none.
    """
    plain = re.sub(r"[^a-z0-9]", "", sampler.lower().replace("++", "pp")).removesuffix("gpu")
    option = _SAMPLERS.get(plain)
    return _FLOW.get(option or "") if model is not None and _FLOW_MODELS.search(model) else option


def setting_of(schedule: str, option: str) -> tuple[str | None, bool]:
    """Find the setting of a noise schedule.

    Args:
        schedule: Its name.
        option: Option of `scheduler`.

    Returns:
        The setting to be true, ``None`` if it is the usual schedule; and whether it is mapped at all.
    """
    plain = schedule.lower()
    if plain not in _SCHEDULES:
        return None, False
    setting = _SCHEDULES[plain]
    return (setting, True) if setting is None or option in _SCHEDULED else (None, False)
