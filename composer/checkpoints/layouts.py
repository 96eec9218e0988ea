"""What a model family is known by, and which families there are. No torch: this is read before any weights are loaded.

Each family describes itself in a `FamilyInfo`. Those of composer are in `composer/families/<name>/info.py`, those of
plugins behind entry points of the group `composer.families`. No family is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from composer.config.plugins import Plugin, plugins
from composer.errors import ComposerError

#: The package of composer's own families.
OWN = "composer.families"
#: The name of no family: a checkpoint's own diffusers pipeline is called as it is.
HOSTED = "hosted"
#: Classes of the models of these, by what runs them.
HOSTED_MODELS = "composer.pipelines.hosted.models:HostedModels"
MODULAR_MODELS = "composer.pipelines.modular.models:ModularModels"
#: Former names of families, which records and configs may still have → their present names.
FORMER_NAMES = {"classic": HOSTED}
#: diffusers' guiders that change layers of the model for some of its forwards.
LAYER_GUIDERS = frozenset({"AutoGuidance", "PerturbedAttentionGuidance", "SkipLayerGuidance", "SmoothedEnergyGuidance"})
#: What a model that begins clips with an image does with another one, of the last frame.
LastImage = Literal["none", "optional", "required"]
#: Components that may be a pipeline's denoiser, the likeliest first.
DENOISERS = ("unet", "transformer", "prior", "decoder")


@dataclass(frozen=True, kw_only=True)
class Supports:
    """What may reach into the models of a family; all that is not named is refused with a line.

    Attributes:
        guiders: Guidance that changes the model's layers, by its `Guidance.support`, such as
            `PerturbedAttentionGuidance`.
        attention_backends: Whether diffusers dispatches the denoiser's attention (`accel=[attention]`).
        caches: Options among diffusers' caches whose hooks know the denoiser's blocks, such as `first_block_cache`.
        channels_last: Whether the denoiser consists of convolutions.
        deepcache: Whether the denoiser is a UNet with blocks down and up.
        fused_qkv: Whether diffusers can fuse the denoiser's attention projections.
        unfused_settings: Settings of the denoiser that diffusers ignores when it fuses: models with them are refused.
        onnx: Whether torch can export the denoiser as ONNX.
        openvino: Whether OpenVINO can convert the denoiser.
        tome: Whether the denoiser's tokens can be merged.
        attention_slicing: Whether the denoiser's attention can be computed in slices.
        xformers: Whether the denoiser's attention takes xformers' processor.
    """

    guiders: frozenset[str] = frozenset()
    attention_backends: bool = False
    caches: frozenset[str] = frozenset()
    channels_last: bool = False
    deepcache: bool = False
    fused_qkv: bool = False
    unfused_settings: tuple[str, ...] = ()
    onnx: bool = False
    openvino: bool = False
    tome: bool = False
    attention_slicing: bool = False
    xformers: bool = False


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A number that runs of a family take beside the keys of the task, as `arguments.NAME`.

    Attributes:
        component: Component without which it has no effect.
        setting: Setting of this component that must be true for it to have one; empty for any.
        most: Largest value, None without a limit; the least is 0.
    """

    component: str
    setting: str = ""
    most: float | None = None

    def lacking(self, classes: Mapping[str, str], configs: Mapping[str, Mapping[str, Any]]) -> str:
        """Say which models have what it needs, if a checkpoint does not; nothing if it does.

        Args:
            classes: Component → class name of the checkpoint.
            configs: Component → its settings.
        """
        if self.component not in classes:
            return f"models with a {self.component}"
        if self.setting and not configs.get(self.component, {}).get(self.setting):
            return f"models whose {self.component} has {self.setting}"
        return ""


@dataclass(frozen=True, kw_only=True)
class FamilyInfo:
    """How a family's checkpoints are recognised, and what follows from that before any weights are loaded.

    Attributes:
        name: The family's name, as in `model.family=NAME` and in its entry point.
        family: Its class, `module:Class`; imported when a run needs it.
        denoiser: Component and class of the model that predicts.
        pipeline: The diffusers pipeline class that holds its components.
        role_pipelines: Pipeline classes by role (`depth`, `inpaint`) where another one holds them.
        other_pipelines: Pipelines of diffusers that do what the family does with the same components. A checkpoint that
            names any other one, such as for edits or control, is that pipeline's own, however alike its weights are.
        own_pipelines: Those of them whose class itself must hold the components of its checkpoints, since it encodes
            prompts in another way.
        pipeline_defaults: Default steps and guidance scale of those of them that have others than the family.
        pixel_masks: Whether its inpainting models take the pixels of the mask as channels, and no resized mask.
        reference_pipelines: Those of them whose checkpoints look at reference images beside the text, so that they
            edit.
        one_reference_pipelines: Those of them whose checkpoints look at one image.
        reference_area: Fewest and most pixels of a result whose size follows from its first reference.
        requires: Components that distinguish it from other families with the same denoiser.
        excludes: Components that its checkpoints do not have.
        optional_components: Components that it can do without, though its pipeline has a parameter for them.
        single_file_kinds: diffusers' names for the kinds of single files that hold its weights.
        conditioned_on: `text`, None for an unconditional model, or a plugin's own word that its tasks share.
        size_multiple: Heights and widths are multiples of the VAE's factor times this.
        pack_factor: Latents that one position of the denoiser's input holds.
        sample_size: Latents along a side where the denoiser's config is silent.
        size: Default height and width in pixels where they do not follow from latents.
        positions: Most rows and columns of its input that the denoiser has positions for, by its settings; None
            without a limit.
        frames: Default frames of a clip; None for families of images.
        fps: Frames per second of its clips.
        begins_with_image: Whether its models for text to video also make clips that begin with an image; or the setting
            of the pipeline class that is true for those that do.
        frame_marks: Input channels of the denoiser that mark which frames are given, in models that take latents of
            the first frame as further channels.
        last_image: What these models do with an image of the last frame, by the denoiser's settings; None if none
            takes one.
        arguments: Further arguments that its runs take, by name.
        timestep_scale: Factor from the denoiser's timestep input to 0-1000; negative where the input grows from
            noise to image, so that 1000 is added.
        scheduler_type: `diffusion`, `flow` or `edm`, used if the checkpoint's scheduler does not determine it.
        rounds_strength_up: Whether a step that `strength` only begins counts as a complete one.
        steps: Default number of steps of its pipeline.
        guidance_scale: Default guidance scale of its pipeline.
        distilled_scale: Whether that scale is only for checkpoints that take it as an input.
        distilled_setting: Setting of the pipeline class that is true for checkpoints distilled to few steps without
            guidance.
        distilled_steps: Default number of steps of these.
        has_refiner: Whether a second checkpoint can finish what the first began.
        supports: What may reach into its models.
    """

    name: str
    family: str
    denoiser: tuple[str, str]
    pipeline: str
    role_pipelines: Mapping[str, str] = field(default_factory=dict)
    other_pipelines: tuple[str, ...] = ()
    own_pipelines: tuple[str, ...] = ()
    pipeline_defaults: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    pixel_masks: bool = False
    reference_pipelines: tuple[str, ...] = ()
    one_reference_pipelines: tuple[str, ...] = ()
    reference_area: tuple[int, int] = (0, 1024 * 1024)
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    optional_components: tuple[str, ...] = ()
    single_file_kinds: tuple[str, ...] = ()
    conditioned_on: str | None = "text"
    size_multiple: int = 1
    pack_factor: int = 1
    sample_size: int = 64
    size: tuple[int, int] | None = None
    positions: Callable[[Mapping[str, Any]], tuple[int, int]] | None = None
    frames: int | None = None
    fps: float | None = None
    begins_with_image: bool | str = False
    frame_marks: int = 0
    last_image: Callable[[Mapping[str, Any]], LastImage] | None = None
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    timestep_scale: float = 1
    scheduler_type: str = "diffusion"
    rounds_strength_up: bool = False
    steps: int = 50
    guidance_scale: float = 7.5
    distilled_scale: bool = False
    distilled_setting: str = ""
    distilled_steps: int = 4
    has_refiner: bool = False
    supports: Supports = field(default_factory=Supports)

    @property
    def takes_prompt(self) -> bool:
        """Whether the model is conditioned on text."""
        return self.conditioned_on == "text"

    @property
    def pipelines(self) -> tuple[str, ...]:
        """All diffusers pipelines whose checkpoints the family runs."""
        return (self.pipeline, *self.role_pipelines.values(), *self.other_pipelines)

    def size_like(self, height: int, width: int, multiple: int) -> tuple[int, int]:
        """Return the height and width of a result in the shape of its first reference.

        Args:
            height: Height of the reference in pixels.
            width: Width of the reference in pixels.
            multiple: Pixels of which both sides must be multiples.
        """
        least, most = self.reference_area
        scale = (min(max(height * width, least), most) / (height * width)) ** 0.5
        tall, wide = (max(int(side * scale) // multiple, 1) * multiple for side in (height, width))
        return tall, wide

    def steps_to_skip(self, steps: int, strength: float) -> int:
        """Count the steps that are left out at the start, rounded as the family's diffusers pipelines do it.

        Args:
            steps: Steps of the schedule.
            strength: How much of it is run, [0, 1].

        Returns:
            Steps to skip, from 0 to `steps`.
        """
        if self.rounds_strength_up:
            return int(max(steps - min(steps * strength, steps), 0))
        return max(steps - min(int(steps * strength), steps), 0)

    def conditioning_input(self, in_channels: int, latent_channels: int, vae_scale_factor: int = 8) -> str | None:
        """Determine what the denoiser takes beside noisy latents.

        Args:
            in_channels: Input channels of the denoiser.
            latent_channels: Channels of the VAE's latents.
            vae_scale_factor: Pixels per latent along one side.

        Returns:
            `plain` for nothing, `inpaint` for a mask and masked latents, `depth` for depth; in a family of clips
            `video` for nothing, `image2video` for the first frame and marks of it; None for anything else.
        """
        more = in_channels // self.pack_factor - latent_channels
        if self.frames is not None:
            return "video" if not more else "image2video" if more == latent_channels + self.frame_marks else None
        mask = vae_scale_factor**2 if self.pixel_masks else 1
        return {0: "plain", 1: "depth", latent_channels + mask: "inpaint"}.get(more)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A family, and who brings it.

    Attributes:
        info: The family.
        provider: Its plugin; None for composer's own.
    """

    info: FamilyInfo
    provider: Plugin | None = None

    def __str__(self) -> str:
        return f"{self.info.name} of {self.provider or 'composer'}"


def families() -> Mapping[str, FamilyInfo]:
    """Collect the families by name: composer's own, then those of plugins."""
    return _by_name(plugins())


@lru_cache(maxsize=8)  # a job of a sweep asks twenty times
def _by_name(installed: tuple[Plugin, ...]) -> Mapping[str, FamilyInfo]:
    infos: dict[str, FamilyInfo] = {}
    for entry in _of_plugins(installed)[0]:
        infos.setdefault(entry.info.name, entry.info)
    return MappingProxyType(infos)


def registrations() -> tuple[Registration, ...]:
    """Collect all families that can be loaded, composer's own first; two plugins may bring one of the same name."""
    return _of_plugins(plugins())[0]


def broken_families() -> dict[str, str]:
    """Collect the families of plugins that can't be loaded: name → why, in a line that names the plugin."""
    return dict(_of_plugins(plugins())[1])


def hosted(pipeline: str, classes: Mapping[str, str], models: str = HOSTED_MODELS) -> FamilyInfo:
    """Describe a checkpoint of no family, which its own diffusers pipeline runs.

    Args:
        pipeline: That pipeline's class.
        classes: Component → class name.
        models: Class of its models.

    Returns:
        The info. What may reach into its denoiser is what may reach into a family's with the same class.
    """
    denoiser = next((name for name in DENOISERS if name in classes), "unet")
    cls = classes.get(denoiser, "")
    alike = next((entry.info for entry in registrations() if entry.info.denoiser == (denoiser, cls)), None)
    return FamilyInfo(
        name=HOSTED,
        family=models,
        denoiser=(denoiser, cls),
        pipeline=pipeline,
        conditioned_on="text" if any(name.startswith("text_encoder") for name in classes) else None,
        timestep_scale=alike.timestep_scale if alike else 1,
        supports=replace(alike.supports, guiders=frozenset()) if alike else Supports(fused_qkv=True),  # tried later
    )


@lru_cache(maxsize=8)
def _of_plugins(installed: tuple[Plugin, ...]) -> tuple[tuple[Registration, ...], tuple[tuple[str, str], ...]]:
    """All families with these plugins, and why others can't be loaded."""
    working, broken = [*_own()], []
    for plugin in installed:
        for name, path in plugin.families:
            try:
                working.append(Registration(info=_load(name, path, plugin), provider=plugin))
            except ComposerError as error:
                broken.append((name, error.reason))
    return tuple(working), tuple(broken)


@cache
def _own() -> tuple[Registration, ...]:
    """Composer's own, from their folder: an older installation's metadata would lack the newest."""
    spec = find_spec(OWN)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    names = sorted(file.parent.name for folder in folders for file in folder.glob("*/info.py"))
    return tuple(Registration(info=import_module(f"{OWN}.{name}.info").INFO) for name in names)


def _load(name: str, path: str, plugin: Plugin) -> FamilyInfo:
    """The info behind a plugin's entry point, which may fail in any way."""
    module, _, attribute = path.partition(":")
    try:
        info: FamilyInfo = getattr(import_module(module), attribute)  # `_problems` checks that it is one
    except (Exception, SystemExit) as error:
        why = next(iter(str(error).splitlines()), "")
        raise ComposerError(
            "model.family", name, f"can't be loaded from {plugin}: {type(error).__name__}: {why}"
        ) from None
    problem = next(_problems(name, info), None)
    if problem:
        raise ComposerError("model.family", name, f"can't be loaded from {plugin}: {problem}")
    return info


def _problems(name: str, info: object) -> Iterator[str]:
    if not isinstance(info, FamilyInfo):
        yield f"its entry point names a {type(info).__name__}, not a FamilyInfo"
    elif info.name != name:
        yield f"its entry point is called {name} and its FamilyInfo {info.name}"
    elif name in (HOSTED, *FORMER_NAMES) or name in {entry.info.name for entry in _own()}:
        yield f"{name} is a name of composer's own"
