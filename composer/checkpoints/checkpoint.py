"""What a checkpoint says of itself, read from its json files: no weights, no torch.

A source is `embedded:NAME`, a folder in diffusers' format, a single .safetensors file, or a hub id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from composer.checkpoints.component_folder import check_component, variants, weight_files
from composer.checkpoints.components import Component, Part, check_fit, find_component, read_part
from composer.checkpoints.detection import UNNAMED, detect_family, fits, made_of, only, role
from composer.checkpoints.headers import PICKLED, QUANTISED, header
from composer.checkpoints.index import component_json, components_of, has_pipeline, left_out, read_index
from composer.checkpoints.layouts import CLASSIC, FamilyInfo, broken_families, classic, families, registrations
from composer.checkpoints.single_file import check_complete, check_described, kind_of
from composer.checkpoints.single_file_keys import kinds, repository
from composer.checkpoints.sources import locate
from composer.config.spec import ModelSpec
from composer.errors import ComposerError


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found and understood.

    path: its folder, or the single file. pipeline: the class that diffusers would load it with.
    classes: component → class name. configs: component → its json.
    commit: the hub's, None elsewhere. described_by: the folder that a single file's configs come from. variant: of the
    weights.
    swapped: components that come from elsewhere. absent: components that it was saved without. sums: SHA-256 that files
    must have.
    pickles: whether pickled weights may be loaded.
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
    sums: Mapping[str, str] = field(default_factory=dict)
    allow_pickle: bool = False
    variant: str | None = None

    @property
    def family_info(self) -> FamilyInfo:
        """Its family: defaults, and what may reach into its models."""
        return classic(self.pipeline, self.classes) if self.family == CLASSIC else families()[self.family]

    @property
    def single_file(self) -> bool:
        return self.path.is_file()

    @property
    def denoiser(self) -> Mapping[str, Any]:
        """Config of the UNet or transformer."""
        return self.configs.get(self.family_info.denoiser[0], {})

    @property
    def quantised(self) -> bool:
        """Whether the denoiser comes from a GGUF file."""
        return self.folder(self.family_info.denoiser[0]).suffix == QUANTISED

    @property
    def takes_guidance_scale(self) -> bool:
        """Whether the model takes the guidance scale as an input."""
        return bool(self.denoiser.get("guidance_embeds")) or self.denoiser.get("time_cond_proj_dim") is not None

    @property
    def factor(self) -> int:
        """Pixels to a latent, along one side."""
        if "vae" not in self.classes:
            return 1
        channels = self.configs.get("vae", {}).get("block_out_channels", (0,) * 4)
        return 2 ** (len(channels) - 1)

    @property
    def multiple(self) -> int:
        """Heights and widths are multiples of this."""
        return self.factor * self.family_info.size_multiple

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was trained at."""
        sample = self.denoiser.get("sample_size", self.family_info.sample_size)
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return height * self.factor, width * self.factor

    @property
    def scheduler(self) -> Mapping[str, Any]:
        return self.configs.get("scheduler", {})

    @property
    def kind(self) -> str:
        """What schedulers suit it: flow, edm or diffusion."""
        name = self.classes.get("scheduler", "")
        if name.startswith("FlowMatch") or self.scheduler.get("use_flow_sigmas"):
            return "flow"
        return "edm" if name.startswith("EDM") else self.family_info.scheduler_type

    @property
    def prediction(self) -> str:
        """What the model predicts: epsilon, v_prediction, sample or flow."""
        return "flow" if self.kind == "flow" else self.scheduler.get("prediction_type", "epsilon")

    @property
    def role(self) -> str:
        """What it takes beside noisy latents: plain, inpaint or depth; any where its own pipeline is called. Tasks name
        theirs.
        """
        return "any" if self.family == CLASSIC else role(self.family_info, self.configs) or "plain"

    @property
    def pipe(self) -> str:
        """The diffusers pipeline that holds its components."""
        return self.family_info.role_pipelines.get(self.role, self.family_info.pipeline)

    def folder(self, name: str) -> Path:
        """Where a component lies."""
        return self.component_overrides[name].folder if name in self.component_overrides else self.path / name

    def files(self, name: str) -> list[Path]:
        """The weights files that a component is loaded from; none where it has none, or they are not here yet."""
        variant = self.component_overrides[name].part.variant if name in self.component_overrides else self.variant
        return [file for file in weight_files(self.folder(name), variant, self.allow_pickle) if file.is_file()]

    @property
    def safety_checker(self) -> bool:
        return "safety_checker" in self.classes


#: Components that a depth model can do without, where it is given depth maps.
OPTIONAL = ("depth_estimator", "feature_extractor")


def find(model: ModelSpec) -> Checkpoint:
    """Locate a checkpoint and read its json files and the headers of its weights; at the hub the json files are all
    that is fetched.

    Raises:
        ComposerError: nothing is there, nothing that composer knows, or not all of it.
    """
    path, commit = locate("model.source", model.source, model.revision, model.allow_pickle)
    found = _single_file(model, path) if path.is_file() else _folder(model, "model.source", path, commit)
    component_overrides = _swapped(model, found)
    check_fit(component_overrides, [*found.classes, *found.missing_components], found.configs)
    if path.is_file():
        _check_file(found, set(component_overrides))
    elif commit is None:  # at the hub only the json files are here yet
        _check_folder(model, found, set(component_overrides))
    found = replace(found, sums=model.sha256, allow_pickle=model.allow_pickle, variant=model.variant)
    found = _swap(
        replace(
            found,
            missing_components=tuple(name for name in found.missing_components if name not in component_overrides),
        ),
        component_overrides,
    )
    return replace(found, family=_family(model, found))


def _folder(model: ModelSpec, key: str, path: Path, commit: str | None) -> Checkpoint:
    """A checkpoint in diffusers' format, by its json files. key: that named it."""
    source = model.source if key == "model.source" else model.config
    index = read_index(key, source, path, commit is not None)
    classes = {name: cls for name, (_, cls) in components_of(index).items()}
    if not model.safety_checker:
        classes.pop("safety_checker", None)
    configs = {name: config for name in classes if (config := component_json(path / name, key)) is not None}
    missing_components = tuple(name for name in sorted({*left_out(index), *OPTIONAL}) if name not in classes)
    pipeline = str(index.get("_class_name", UNNAMED))
    return Checkpoint(
        source=source, path=path, family="", pipeline=pipeline, classes=classes, configs=configs, commit=commit,
        missing_components=missing_components
    )  # fmt: skip


def _check_folder(model: ModelSpec, found: Checkpoint, given: set[str]) -> None:
    """Refuse half a download. given: components that come from elsewhere."""
    if model.config is not None:
        raise ComposerError(
            "model.config", model.config, f"is for a single file, and {found.path.name} is a folder: leave it out"
        )
    own = [name for name in found.classes if name not in given]
    there = variants(found.path / name for name in own) if model.variant else set()
    if model.variant and model.variant not in there:
        reason = "the checkpoint has no such variant" if there else "the checkpoint has no variants: leave it out"
        raise ComposerError("model.variant", model.variant, reason, sorted(there))
    for name in own:
        check_component(
            "model.source", model.source, found.path / name, found.classes[name], model.variant, model.allow_pickle
        )


def _swapped(model: ModelSpec, found: Checkpoint) -> dict[str, Component]:
    return {
        name: find_component(name, read_part(name, node), _own(found, name)) for name, node in model.components.items()
    }


def _own(found: Checkpoint, name: str) -> Component | None:
    """What a checkpoint has under a name, where its json files tell."""
    config, described = found.configs.get(name), found.config_source or found.path
    if config is None or not described.is_dir():
        return None
    part, cls = Part(source=found.source), found.classes[name]
    library = "diffusers" if "_class_name" in config else "transformers"
    return Component(
        part=part, folder=described, subfolder=name, library=library, cls=cls, config=config, commit=found.commit
    )


def _swap(found: Checkpoint, component_overrides: Mapping[str, Component]) -> Checkpoint:
    """The checkpoint with some of its components from elsewhere."""
    classes = {**found.classes, **{name: component.cls for name, component in component_overrides.items()}}
    configs = {**found.configs, **{name: component.config for name, component in component_overrides.items()}}
    return replace(found, classes=classes, configs=configs, component_overrides=component_overrides)


def _single_file(model: ModelSpec, path: Path) -> Checkpoint:
    """A file, and the json files that describe it: those of model.config, or those that diffusers takes for its kind."""
    if model.variant is not None:
        raise ComposerError("model.variant", model.variant, "a single file has no variants: leave it out")
    if path.suffix in PICKLED:  # nothing is read of it before diffusers does, so the user must say what it is
        if model.family not in families() or model.config is None:
            key, value = ("model.family", model.family) if model.family not in families() else ("model.config", None)
            reason = "a pickled file is not looked into: say its family, and model.config=FOLDER with its json files"
            raise ComposerError(key, value, reason, families())
        return _described(model, path, model.config)
    kind = kind_of("model.source", model.source, header(path))
    if model.family not in ("auto", CLASSIC, kinds()[kind]):
        raise ComposerError("model.family", model.family, f"{path.name} is of the family {kinds()[kind]}: leave it out")
    if model.config is not None:
        return _described(model, path, model.config)
    usual = repository(kind)
    try:
        return _described(replace(model, config=usual), path, usual)
    except ComposerError as error:
        if error.key != "model.config" or error.value != usual:
            raise
        reason = f"{path.name} is a single file, which does not tell its scheduler, sizes and tokenizer, and {usual} can't be had"
        raise ComposerError(
            "model.config", None, f"{reason}: name a folder with the json files of such a model"
        ) from None


def _described(model: ModelSpec, path: Path, config: str) -> Checkpoint:
    folder, commit = locate("model.config", config, model.revision, texts=True)
    if not folder.is_dir():
        raise ComposerError(
            "model.config",
            config,
            "is a file: a folder with the json files and the tokenizer of such a model is needed",
        )
    described = _folder(model, "model.config", folder, commit)
    for name, cls in described.classes.items():
        check_component("model.config", config, folder / name, cls, weights=False)
    return replace(described, source=model.source, path=path, config_source=folder, commit=None)


def _check_file(found: Checkpoint, given: set[str]) -> None:
    """Refuse a file that lacks a component, or is another model than its json files describe. given: components from
    elsewhere.
    """
    if found.path.suffix in PICKLED:
        return
    table, described = header(found.path), str(found.config_source)
    wanted = kinds()[kind_of("model.source", found.source, table)]
    family = _first_fit(found)
    if family not in (None, wanted):
        raise ComposerError(
            "model.config",
            described,
            f"describes a model of the family {family}, and {found.path.name} is one of {wanted}",
        )
    denoiser = families()[wanted].denoiser[0]
    if denoiser not in given:
        check_described(table, denoiser, found.configs.get(denoiser, {}), described)
    check_complete(found.path.name, table, found.classes, found.configs, given)


def _family(model: ModelSpec, found: Checkpoint) -> str:
    """The family that a checkpoint is of, or the one that was asked for if it can be that."""
    asked, names = model.family, ("auto", *families(), CLASSIC)
    if asked not in names:
        raise ComposerError("model.family", asked, broken_families().get(asked, "is not known"), names)
    if asked in families():
        only([entry for entry in registrations() if entry.info.name == asked], "model.family", asked)
        if not fits(families()[asked], found.classes, found.configs):
            raise ComposerError(
                "model.family", asked, f"the checkpoint is none of this family ({found.pipeline}): leave it out"
            )
        return asked
    _check_channels(model, found)
    known = _detected(found) if asked == "auto" else None
    if known is None and not has_pipeline(found.pipeline):
        alike = _first_fit(found)
        instead = f"; model.family={alike} takes its components for those of such a model" if alike else ""
        reason = f"no family knows this kind of checkpoint, and diffusers has no pipeline {found.pipeline}{instead}"
        raise ComposerError("model.source", model.source, reason, sorted(families()))
    return known or CLASSIC


def _detected(found: Checkpoint) -> str | None:
    return detect_family(found.pipeline, found.classes, found.configs, found.source)


def _first_fit(found: Checkpoint) -> str | None:
    """The first family whose components a checkpoint has, whatever pipeline it names."""
    return next((name for name, info in families().items() if fits(info, found.classes, found.configs)), None)


def _check_channels(model: ModelSpec, found: Checkpoint) -> None:
    """Refuse a denoiser and a VAE of which no pipeline of a family makes use together."""
    infos = families().values()
    info = next((info for info in infos if found.pipeline in info.pipelines and made_of(info, found.classes)), None)
    if info is not None and role(info, found.configs) is None:
        part = info.denoiser[0]
        channels = found.configs.get(part, {}).get("in_channels")
        latents = found.configs.get("vae", {}).get("latent_channels")
        reason = (
            f"its {part} takes {channels} channels and its VAE makes {latents}, with which {found.pipeline} can't work"
        )
        raise ComposerError("model.source", model.source, reason)
