"""Which family a checkpoint is of, from the pipeline that it names, its components and their json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoints.latent_scale import vae_scale_factor
from composer.checkpoints.layouts import FamilyInfo, Registration, registrations
from composer.errors import ComposerError

#: The pipeline of an index that names none, which is identified by its components.
UNNAMED = "unknown"


def detect_family(
    pipeline: str, classes: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]], source: str = ""
) -> str | None:
    """Find the family of a checkpoint: the pipeline class must be one of the family's, then its components decide.

    Composer's own families come first. Among those of plugins, one whose main pipeline the checkpoint names comes
    before one that lists it among others.

    Args:
        pipeline: The pipeline class that the checkpoint's index names.
        classes: Component → class name.
        configs: Component → its json.
        source: The checkpoint, for messages.

    Returns:
        The family's name; None where no family fits.

    Raises:
        ComposerError: Two plugins claim the checkpoint.
    """
    entries = [
        entry
        for entry in registrations()
        if fits(entry.info, classes, configs) and (pipeline == UNNAMED or pipeline in entry.info.pipelines)
    ]
    first = [entry for entry in entries if entry.provider is None] or [
        entry for entry in entries if entry.info.pipeline == pipeline
    ]
    return only(first or entries, "model.source", source)


def only(entries: list[Registration], key: str, value: str) -> str | None:
    """Choose the family where there is one of them; two of plugins are refused.

    Args:
        entries: The families that claim a checkpoint, or a name.
        key: The config key to name in the refusal.
        value: Its value.

    Returns:
        The name; None where there is none.

    Raises:
        ComposerError: Several plugins claim it.
    """
    if len(entries) > 1 and entries[0].provider is not None:
        both = " and ".join(map(str, entries[:2]))
        raise ComposerError(
            key, value, f"the families {both} both claim it: uninstall one, or choose by COMPOSER_PLUGINS"
        )
    return entries[0].info.name if entries else None


def fits(info: FamilyInfo, classes: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Check whether a checkpoint consists of a family's components, with input channels that a task has use for."""
    return made_of(info, classes) and role(info, configs) is not None


def made_of(info: FamilyInfo, classes: Mapping[str, str]) -> bool:
    """Check whether a checkpoint consists of a family's components."""
    component, cls = info.denoiser
    alike = all(map(classes.get, info.requires)) and not any(map(classes.get, info.excludes))
    return classes.get(component) == cls and alike


def role(info: FamilyInfo, configs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Determine a checkpoint's role in its family from its JSON files; a family without a VAE has a single role."""
    denoiser, vae = configs.get(info.denoiser[0], {}), configs.get("vae")
    if vae is None and denoiser.get("out_channels") is None:
        return "plain"
    named = (vae or {}).get("latent_channels") or (vae or {}).get("z_dim")
    latents = named or denoiser["out_channels"] // info.pack_factor
    factor = vae_scale_factor(configs, {name: "" for name in configs})
    return info.conditioning_input(denoiser.get("in_channels", latents * info.pack_factor), latents, factor)
