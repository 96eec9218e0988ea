"""Control models: ControlNets and T2I-Adapters, found and compared with a checkpoint by their JSON settings alone.

https://arxiv.org/abs/2302.05543, https://arxiv.org/abs/2302.08453
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.component_folder import variants, weight_files
from composer.checkpoints.components import Component, ComponentLocation, find_component, parse_location
from composer.checkpoints.control_file import find_control_file
from composer.checkpoints.control_lora import CONTROL_LORA, find_control_lora
from composer.checkpoints.fingerprints import directory_fingerprint
from composer.checkpoints.headers import SAFETENSORS
from composer.checkpoints.lora_fit import LoraFit
from composer.config.spec import ControlSpec
from composer.errors import ComposerError, suggest
from composer.system.paths import expand_user

_TEXT = "channels of prompt_embeds"
_WIDTH = "channels of its blocks"
_UNET = MappingProxyType(
    {
        "cross_attention_dim": _TEXT, "block_out_channels": _WIDTH, "layers_per_block": "layers to a block",
        "down_block_types": "blocks", "addition_embed_type": "as a further input", "in_channels": "latent channels",
        "projection_class_embeddings_input_dim": "channels of added conditions",
    }
)  # fmt: skip
_TRANSFORMER = MappingProxyType(
    {
        "joint_attention_dim": _TEXT, "attention_head_dim": "channels of a head", "num_attention_heads": "heads",
        "in_channels": "latent channels",
    }
)  # fmt: skip
#: Modes of unions by name, as their authors number them.
_SDXL_MODES = MappingProxyType(
    {
        "openpose": 0, "depth": 1, "scribble": 2, "softedge": 2, "canny": 3, "lineart": 3, "normal": 4, "segment": 5,
        "tile": 6, "repaint": 7,
    }
)  # fmt: skip
_FLUX_MODES = MappingProxyType({"canny": 0, "tile": 1, "depth": 2, "blur": 3, "pose": 4, "gray": 5, "low_quality": 6})


@dataclass(frozen=True, kw_only=True)
class ControlKind:
    """What is known of a class of control models.

    Attributes:
        families: Families of checkpoints that it is for.
        equal: Setting that must be that of the checkpoint's denoiser → what it counts, for messages.
        refused: Setting → value that it must have, and the reason.
        modes: Names of what an image shows → number, for unions.
        mode_count: Setting with the number of modes; the model is a union if it is set.
        several: Settings in which several models of a run must agree.
    """

    families: tuple[str, ...]
    equal: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    refused: Mapping[str, tuple[Any, str]] = field(default_factory=lambda: MappingProxyType({}))
    modes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    mode_count: str | None = None
    several: tuple[str, ...] = ()


#: Name of a control LoRA in a directory, as diffusers' training script writes it.
LORA_NAME = "pytorch_lora_weights.safetensors"
#: Value of a setting, and why another one is refused.
_MASKED = (0, "takes a mask beside the image (for inpainting), which is not supported")
#: Class of diffusers → what is known of it.
KINDS: Mapping[str, ControlKind] = MappingProxyType(
    {
        "ControlNetModel": ControlKind(families=("sd", "sdxl"), equal=_UNET),
        "ControlNetUnionModel": ControlKind(
            families=("sdxl",), equal=_UNET, modes=_SDXL_MODES, mode_count="num_control_type"
        ),
        "T2IAdapter": ControlKind(families=("sd", "sdxl"), equal={"channels": _WIDTH}),
        "SD3ControlNetModel": ControlKind(
            families=("sd3",),
            equal={**_TRANSFORMER, "pooled_projection_dim": "channels of pooled_prompt_embeds"},
            refused={"extra_conditioning_channels": _MASKED},
            several=("num_layers", "force_zeros_for_pooled_projection"),
        ),
        "FluxControlNetModel": ControlKind(
            families=("flux",), equal={**_TRANSFORMER, "pooled_projection_dim": "channels of pooled_prompt_embeds"},
            refused={
                "conditioning_embedding_channels": (None, "reads pixels instead of latents, which is not supported")
            },
            modes=_FLUX_MODES, mode_count="num_mode", several=("num_layers", "num_single_layers"),
        ),
        "QwenImageControlNetModel": ControlKind(
            families=("qwen_image",), equal=_TRANSFORMER, refused={"extra_condition_channels": _MASKED},
            several=("num_layers",),
        ),
        "ZImageControlNetModel": ControlKind(families=("z_image",), equal={"dim": "channels", "n_heads": "heads"}),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ControlModel:
    """A control model that fits its checkpoint.

    Attributes:
        component: Where it is, its class and its settings.
        mode: Number of what the image shows, for a union; None for others.
        lora: The layers that it changes, for a control LoRA; None for others.
    """

    component: Component
    mode: int | None = None
    lora: LoraFit | None = None

    @property
    def fingerprint(self) -> str:
        """Commit at the hub, or a hash of the local files."""
        return self.component.commit or directory_fingerprint(self.component.folder)

    @property
    def files(self) -> list[Path]:
        """Weights files that exist here; none before a download."""
        return [file for file in weight_files(self.component.folder, self.component.location.variant) if file.is_file()]


def find_control(key: str, spec: ControlSpec, checkpoint: Checkpoint) -> ControlModel:
    """Find a control model, and refuse one that is for other checkpoints.

    Args:
        key: Config key that names it, for errors.
        spec: Its settings.
        checkpoint: The checkpoint of the run.

    Returns:
        The model.

    Raises:
        ComposerError: There is none, its files are damaged, or it is for other checkpoints.
    """
    file = _file_of(key, spec)
    if file is not None:
        return _from_file(key, spec, file, checkpoint)
    location = replace(parse_location(key, spec.model), revision=spec.revision, variant=spec.variant)
    component = find_component("controlnet", location, key=key)
    if spec.variant is not None and component.commit is None and spec.variant not in variants([component.folder]):
        reason = "it has no weights of this variant"
        raise ComposerError(f"{key}.variant", spec.variant, reason, sorted(variants([component.folder])))
    kind = KINDS.get(component.cls)
    if kind is None:
        raise ComposerError(key, spec.model, f"is a {component.cls}, which controls nothing", sorted(KINDS))
    _check_fit(key, spec.model, component, kind, checkpoint)
    return ControlModel(component=component, mode=_mode(key, spec, component, kind))


def _file_of(key: str, spec: ControlSpec) -> Path | None:
    """The single file that a control model is; None for a directory or a repository."""
    path = expand_user(spec.model)
    if path.is_dir() and not (path / "config.json").is_file() and (path / LORA_NAME).is_file():
        return path / LORA_NAME
    if path.is_file():
        return path
    if not path.exists() and spec.model.endswith(SAFETENSORS):
        return locate(AdapterSource(key=key, file=spec.model, revision=spec.revision))
    return None


def _from_file(key: str, spec: ControlSpec, file: Path, checkpoint: Checkpoint) -> ControlModel:
    """A control LoRA, or a ControlNet in a single file."""
    for setting in ("mode", "variant"):
        if (value := getattr(spec, setting)) is not None:
            raise ComposerError(f"{key}.{setting}", value, "is for other models than single files: leave it out")
    lora = find_control_lora(key, file, checkpoint)
    if lora is None:
        return ControlModel(component=find_control_file(key, spec.model, file, checkpoint))
    if (spec.start, spec.end) != (0, 1):
        setting, value = ("start", spec.start) if spec.start != 0 else ("end", spec.end)
        reason = "a control LoRA widens the model for all steps: leave it out"
        raise ComposerError(f"{key}.{setting}", value, reason)
    component = Component(
        location=ComponentLocation(source=spec.model), folder=file, subfolder="", library="diffusers",
        cls=CONTROL_LORA, config={}, commit=None,
    )  # fmt: skip
    return ControlModel(component=component, lora=lora)


def check_together(found: Mapping[str, ControlModel]) -> None:
    """Refuse control models whose results can't be added.

    Args:
        found: Control models of a run by config key.

    Raises:
        ComposerError: Two of one class differ in a setting that must be equal.
    """
    loras = {key: model for key, model in found.items() if model.lora is not None}
    if len(loras) > 1:
        first_key, key = list(loras)[:2]
        reason = f"and {first_key} are control LoRA, and a model can be widened once: choose one of them"
        raise ComposerError(key, loras[key].component.location.source, reason)
    for key, model in found.items():
        if model.lora is not None:
            continue
        first_key, first = next(item for item in found.items() if item[1].component.cls == model.component.cls)
        for setting in KINDS[model.component.cls].several:
            one, other = first.component.config.get(setting), model.component.config.get(setting)
            if one != other:
                reason = f"has {setting} {other} and {first_key} {one}: they can't be together"
                raise ComposerError(key, model.component.location.source, reason)


def _check_fit(key: str, source: str, component: Component, kind: ControlKind, checkpoint: Checkpoint) -> None:
    if checkpoint.family not in kind.families:
        able = " and ".join(kind.families)
        reason = f"is a {component.cls} for {able} models, and this model is of the family {checkpoint.family}"
        raise ComposerError(key, source, reason)
    for setting, (value, reason) in kind.refused.items():
        if component.config.get(setting, value) != value:
            raise ComposerError(key, source, reason)
    for setting, words in kind.equal.items():
        its, expected = component.config.get(setting), checkpoint.denoiser.get(setting)
        expected = checkpoint.denoiser.get("block_out_channels") if setting == "channels" else expected
        if setting == "in_channels":  # those of inpainting and depth models take more than latents
            its = its if its is None else its // checkpoint.family_info.pack_factor
            vae = checkpoint.configs.get("vae", {})
            expected = vae.get("latent_channels", vae.get("z_dim", its))
        known = setting == "channels" or setting in checkpoint.denoiser
        no_text = setting == "joint_attention_dim" and its is None  # as those of SD 3.5 large
        if setting in component.config and known and its != expected and not no_text:
            reason = f"has {_short(its)} {words}, and this model {_short(expected)}: it is for another base model"
            raise ComposerError(key, source, reason)
    _check_adapter(key, source, component, checkpoint)
    if component.config.get("guidance_embeds") and not checkpoint.denoiser.get("guidance_embeds"):
        raise ComposerError(key, source, "takes the guidance scale as an input, and this model has none")


def _check_adapter(key: str, source: str, component: Component, checkpoint: Checkpoint) -> None:
    """Refuse a T2I-Adapter whose features are of other sizes than what the blocks of the UNet take."""
    kind, blocks = component.config.get("adapter_type", ""), checkpoint.denoiser.get("down_block_types", ())
    plain = [index for index, block in enumerate(blocks) if block == "DownBlock2D"]
    fits = plain == [0] if kind == "full_adapter_xl" else plain in ([], [len(blocks) - 1])
    if component.cls == "T2IAdapter" and not fits:
        raise ComposerError(key, source, f"is a {kind}, whose features don't fit the blocks of this model's UNet")


def _mode(key: str, spec: ControlSpec, component: Component, kind: ControlKind) -> int | None:
    count = component.config.get(kind.mode_count) if kind.mode_count else None
    if count is None:
        if spec.mode is not None:
            raise ComposerError(f"{key}.mode", spec.mode, "is for unions of several control models: leave it out")
        return None
    names = {name: number for name, number in kind.modes.items() if number < count}
    if spec.mode is None:
        reason = f"is a union of {count} control models: say what the image shows, {key}.mode=canny"
        raise ComposerError(key, spec.model, reason, names)
    number = names.get(spec.mode, -1) if isinstance(spec.mode, str) else spec.mode
    if not 0 <= number < count or isinstance(spec.mode, bool):
        near = suggest(str(spec.mode), names)
        raise ComposerError(f"{key}.mode", spec.mode, f"is no mode of this union.{near}", (*names, f"0-{count - 1}"))
    return number


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else "none" if value is None else str(value)
