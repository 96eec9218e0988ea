"""A checkpoint's description, read from its JSON files: no weights, no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from composer.checkpoints.component_folder import weight_files
from composer.checkpoints.components import Component
from composer.checkpoints.detection import role
from composer.checkpoints.headers import QUANTISED
from composer.checkpoints.latent_scale import temporal_factor, vae_scale_factor
from composer.checkpoints.layouts import HOSTED, HOSTED_MODELS, MODULAR_MODELS, FamilyInfo, LastImage, families, hosted
from composer.checkpoints.pipeline_defaults import PipelineDefaults

#: Components that a depth model can do without when depth maps are given.
OPTIONAL_COMPONENTS = ("depth_estimator", "feature_extractor")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose files were found and described.

    Attributes:
        source: The ``model.source`` that named it.
        path: Directory in diffusers' format, or the single file.
        family: Native family such as ``sdxl``, or ``hosted`` if the checkpoint's own diffusers pipeline runs it.
        pipeline: diffusers pipeline class that the checkpoint names.
        classes: Component name → class name.
        configs: Component name → its JSON settings.
        commit: Commit at the hub; None for local checkpoints.
        config_source: Directory whose JSON files describe a single file; None for directories.
        component_overrides: Components that come from elsewhere, by name.
        missing_components: Components that the checkpoint was saved without.
        hashes: File name → SHA-256 that the file must have, in hexadecimal. The empty name is a single file itself.
        allow_pickle: Whether pickled weights may be loaded.
        variant: Variant of the weights files, such as ``fp16``; None for the default files.
        defaults: Default settings of the hosted pipeline class; None for native families, and before it is chosen.
        blocks: Class of the blocks of a checkpoint that exists only for Modular Diffusers; empty for others.
        references: Components that its index finds elsewhere, as values of ``model.components``.
        workflow: Workflow of the blocks that does the task; empty before it is chosen, and for blocks with one alone.
        settings: Settings of its pipeline class that its index states, such as ``is_distilled``.
        best_size: ``model.size``: side in pixels that it generates best; None for what its files or its pipeline say.
    """

    source: str
    path: Path
    family: str
    pipeline: str = ""
    classes: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]]
    commit: str | None = None
    config_source: Path | None = None
    component_overrides: Mapping[str, Component] = field(default_factory=dict)
    missing_components: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    allow_pickle: bool = False
    variant: str | None = None
    defaults: PipelineDefaults | None = None
    blocks: str = ""
    references: Mapping[str, Any] = field(default_factory=dict)
    workflow: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    best_size: int | None = None

    @property
    def engine(self) -> str:
        """What runs it: a ``native`` family, or its ``hosted`` pipeline or ``modular`` blocks of diffusers."""
        return "native" if self.family != HOSTED else "modular" if self.blocks else "hosted"

    @property
    def family_info(self) -> FamilyInfo:
        """Facts about the family, such as its denoiser, its default settings and the options that it supports."""
        if self.family != HOSTED:
            return families()[self.family]
        info = hosted(self.pipeline, self.classes, MODULAR_MODELS if self.blocks else HOSTED_MODELS)
        return replace(info, rounds_strength_up=self.defaults.rounds_strength_up) if self.defaults else info

    @property
    def single_file(self) -> bool:
        """Whether the checkpoint is a single file."""
        return self.path.is_file()

    @property
    def denoiser(self) -> Mapping[str, Any]:
        """Settings of the UNet or transformer."""
        return self.configs.get(self.family_info.denoiser[0], {})

    @property
    def quantised(self) -> bool:
        """Whether the denoiser comes from a GGUF file."""
        return self.folder(self.family_info.denoiser[0]).suffix == QUANTISED

    @property
    def takes_guidance_scale(self) -> bool:
        """Whether the denoiser takes the guidance scale as an input."""
        return bool(self.denoiser.get("guidance_embeds")) or self.denoiser.get("time_cond_proj_dim") is not None

    @property
    def distilled(self) -> bool:
        """Whether it is distilled to few steps without guidance."""
        return bool(self.settings.get(self.family_info.distilled_setting))

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent along a side; 1 without a VAE."""
        return vae_scale_factor(self.configs, self.classes)

    @property
    def size_multiple(self) -> int:
        """Number of pixels of which heights and widths must be multiples."""
        if self.defaults is not None:
            return self.defaults.multiple
        return self.vae_scale_factor * self.family_info.size_multiple

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was trained at; an estimate where only a run knows."""
        if self.best_size is not None:
            return self.best_size, self.best_size
        if self.defaults is not None and self.defaults.size is not None:
            return self.defaults.size
        if self.family_info.size is not None:
            return self.family_info.size
        sample = self.denoiser.get("sample_size") or self.family_info.sample_size
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return height * self.vae_scale_factor, width * self.vae_scale_factor

    @property
    def frames(self) -> int | None:
        """Default frames of a clip; None for other media, or where only a run knows."""
        return self.defaults.frames if self.defaults is not None else self.family_info.frames

    @property
    def frame_multiple(self) -> int:
        """Clips have one frame more than a multiple of this; 1 for any number."""
        return (
            self.defaults.frame_multiple if self.defaults is not None else temporal_factor(self.configs.get("vae", {}))
        )

    def latent_frames(self, frames: int) -> int:
        """Count the latent frames of a clip.

        Args:
            frames: Frames of the clip, >= 1.
        """
        return (frames - 1) // self.frame_multiple + 1

    @property
    def fps(self) -> float | None:
        """Frames per second of clips; None for other media."""
        return self.defaults.fps if self.defaults is not None else self.family_info.fps

    @property
    def scheduler(self) -> Mapping[str, Any]:
        """Settings of the checkpoint's own scheduler."""
        return self.configs.get("scheduler", {})

    @property
    def scheduler_type(self) -> str:
        """Type of schedulers that suit the model: ``flow``, ``edm`` or ``diffusion``."""
        name = self.classes.get("scheduler", "")
        if name.startswith("FlowMatch") or self.scheduler.get("use_flow_sigmas"):
            return "flow"
        return "edm" if name.startswith("EDM") else self.family_info.scheduler_type

    @property
    def prediction(self) -> str:
        """Prediction of the denoiser: ``epsilon``, ``v_prediction``, ``sample`` or ``flow``."""
        return "flow" if self.scheduler_type == "flow" else self.scheduler.get("prediction_type", "epsilon")

    @property
    def role(self) -> str:
        """Input of the denoiser besides noisy latents.

        ``plain`` for none, ``inpaint`` for a mask with masked latents, ``depth`` for depth maps, and ``any`` if the
        checkpoint's own diffusers pipeline runs it. Tasks name the roles that they can use.
        """
        return "any" if self.family == HOSTED else role(self.family_info, self.configs) or "plain"

    def does(self, roles: Collection[str]) -> bool:
        """Return whether the checkpoint has one of the roles that a task names.

        Models of some pipelines also edit images, and some of those that make clips also begin them with an image.
        """
        edits = self.pipeline in self.family_info.reference_pipelines
        also = {"edit"} if edits else {"image2video"} if self.role == "video" and self._begins_with_image else set()
        return self.role in roles or self.role == "any" or not also.isdisjoint(roles)

    @property
    def takes_one_reference(self) -> bool:
        """Whether a model that edits looks at one image."""
        return self.pipeline in self.family_info.one_reference_pipelines

    @property
    def last_image(self) -> LastImage:
        """What a native model that begins clips with an image does with another one, of the last frame."""
        decide = self.family_info.last_image
        return "none" if decide is None or self.role == "video" else decide(self.denoiser)

    @property
    def _begins_with_image(self) -> bool:
        begins = self.family_info.begins_with_image
        return bool(self.settings.get(begins)) if isinstance(begins, str) else begins

    @property
    def pipe(self) -> str:
        """Name of the diffusers pipeline class that holds the components."""
        info = self.family_info
        return (
            self.pipeline if self.pipeline in info.own_pipelines else info.role_pipelines.get(self.role, info.pipeline)
        )

    def folder(self, name: str) -> Path:
        """Return the directory or the file of a component.

        Args:
            name: Name of the component.

        Returns:
            The path; for a hub repository, a path in the local cache.
        """
        return self.component_overrides[name].folder if name in self.component_overrides else self.path / name

    def files(self, name: str) -> list[Path]:
        """List the weights files of a component.

        Args:
            name: Name of the component.

        Returns:
            The files that exist here: none for a component without weights, or before a download.
        """
        variant = self.component_overrides[name].location.variant if name in self.component_overrides else self.variant
        return [file for file in weight_files(self.folder(name), variant, self.allow_pickle) if file.is_file()]

    @property
    def safety_checker(self) -> bool:
        """Whether the checkpoint has a safety checker that is kept."""
        return "safety_checker" in self.classes
