"""The ``parameters`` text of AUTOMATIC1111's web UI, Forge and SD.Next.

It is the prompt, a line that begins with ``Negative prompt:``, and a line of ``Key: value`` pairs.
https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#png-info
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from composer.reruns.foreign.facts import MAX_CHARACTERS, MAX_SEED, MAX_SIDE, MAX_STEPS, Facts

NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*([A-Za-z][\w /\-]{0,60}):\s*("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
_LORA = re.compile(r"\s*<(lora|lyco|hypernet):([^<>:\n]+):([^<>\n]+)>,?", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_SCHEDULES = ("Karras", "Exponential", "Polyexponential", "Uniform", "Beta", "Simple", "Normal", "Turbo")
#: Keys that say nothing about what is generated, or that others say too.
_IGNORED = ("Version", "App", "Model hash", "VAE hash", "Hashes", "Lora hashes", "TI hashes", "Batch pos", "Created",
            "Pipeline", "Backend", "Operations", "Parser", "Schedule type", "Backend", "Time", "RNG")  # fmt: skip


def read(texts: Mapping[str, str]) -> Facts | None:
    """Read the record of an image.

    Args:
        texts: Texts of the image.

    Returns:
        What it says; ``None`` if it is of another form.
    """
    text = next((texts[key] for key in ("parameters", "UserComment") if key in texts), "")
    lines = text.strip().splitlines() if len(text) <= MAX_CHARACTERS else []
    if not lines or not re.match(r"Steps: \d", lines[-1]):
        return None
    pairs = {match[1].strip(): _unquoted(match[2].strip()) for match in _PAIR.finditer(lines[-1])}
    if pairs.get("Version", "").startswith("composer"):
        return None  # whose own record says more
    is_sdnext = "SD.Next" in (pairs.get("App", ""), *pairs.get("Version", "").split()) or "App" in pairs
    is_forge = pairs.get("Version", "").startswith(("f", "neo", "classic"))
    facts = Facts("SD.Next" if is_sdnext else "Forge" if is_forge else "AUTOMATIC1111's web UI")
    prompt, negative = _split(lines[:-1])
    facts.set_text("prompt", _without_networks(prompt, facts))
    facts.set_text("negative_prompt", _without_networks(negative, facts))
    _settings(pairs, facts)
    return facts


def _split(lines: list[str]) -> tuple[str, str]:
    begin = next((i for i, line in enumerate(lines) if line.strip().startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[begin:]).strip().removeprefix(NEGATIVE)
    return "\n".join(lines[:begin]), negative


def _without_networks(prompt: str, facts: Facts) -> str:
    """A prompt without `<lora:…>`, whose files are only named."""
    for match in _LORA.finditer(prompt):
        facts.leave_lora(match[2].strip(), match[3], match[1].lower())
    return _LORA.sub("", prompt)


def _settings(pairs: Mapping[str, str], facts: Facts) -> None:
    rest = dict(pairs)
    facts.set_integer("steps", rest.pop("Steps", None), MAX_STEPS, 1)
    facts.set_integer("seed", rest.pop("Seed", None), MAX_SEED)
    facts.set_guidance(rest.pop("CFG scale", None))
    distilled = rest.pop("Distilled CFG Scale", None)
    if distilled is not None:  # the scale that guidance-distilled models such as FLUX.1 dev take
        facts.set_guidance(distilled)
    if size := _SIZE.fullmatch(rest.pop("Size", "")):
        facts.set_integer("width", size[1], MAX_SIDE, 8)
        facts.set_integer("height", size[2], MAX_SIDE, 8)
    facts.sampler, facts.schedule = _sampler(rest.pop("Sampler", ""), rest.get("Schedule type"))
    facts.model = rest.pop("Model", None) or pairs.get("Model hash")
    if "Denoising strength" in rest and not any(key.startswith("Hires") for key in rest):
        strength = rest.pop("Denoising strength")
        facts.leave("Denoising strength", f"{strength} (task=img2img image=FILE strength={strength}: it has no image)")
    for key, value in rest.items():
        if key not in _IGNORED and (key, value) != ("Clip skip", "1"):
            facts.leave(key, value)


def _sampler(name: str, schedule: str | None) -> tuple[str | None, str | None]:
    """Sampler and noise schedule; older versions write both as one name."""
    for suffix in _SCHEDULES if schedule is None else ():
        if name.endswith(f" {suffix}"):
            return name.removesuffix(f" {suffix}"), suffix
    return name or None, schedule


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
