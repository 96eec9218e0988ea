"""What a checkpoint says of itself, read from its json files: no weights, no torch.

A source is `embedded:NAME`, a folder in diffusers' format, a single .safetensors file, or a hub id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from composer.components import Component, Part, check_fit, find_component, read_part
from composer.errors import ComposerError
from composer.families import CLASSIC, LAYOUTS, Layout, classic, recognise, role
from composer.sources import INDEX, PICKLED, QUANTISED, check_libraries, component_json, header, locate, read_json, whole
from composer.spec import ModelSpec

#: Keys by which a single file in the original layout is known, and its family; the first that is there decides.
_ORIGINAL_UNET = "model.diffusion_model.input_blocks.0.0.weight"
_ORIGINAL_KEYS = {
    "double_blocks.0.img_attn.norm.key_norm.scale": "flux",
    "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias": "sd3",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": "sdxl",
    "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": "sdxl",  # its refiner
    _ORIGINAL_UNET: "sd",
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found and understood.

    path: its folder, or the single file. pipeline: the class that diffusers would load it with.
    classes: component → class name. configs: component → its json.
    commit: the hub's, None elsewhere. described_by: the folder that a single file's configs come from, if given.
    swapped: components that come from elsewhere. absent: components that it was saved without. sums: SHA-256 that files must have.
    pickles: whether pickled weights may be loaded.
    """

    source: str
    path: Path
    family: str
    pipeline: str = ""
    classes: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]]
    commit: str | None = None
    described_by: Path | None = None
    swapped: Mapping[str, Component] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    sums: Mapping[str, str] = field(default_factory=dict)
    pickles: bool = False

    @property
    def layout(self) -> Layout:
        return classic(self.pipeline, self.classes) if self.family == CLASSIC else LAYOUTS[self.family]

    @property
    def single_file(self) -> bool:
        return self.path.is_file()

    @property
    def denoiser(self) -> Mapping[str, Any]:
        """Config of the UNet or transformer."""
        return self.configs.get(self.layout.denoiser[0], {})

    @property
    def quantised(self) -> bool:
        """Whether the denoiser comes from a GGUF file."""
        return self.folder(self.layout.denoiser[0]).suffix == QUANTISED

    @property
    def embeds_scale(self) -> bool | None:
        """Whether the model takes the guidance scale as an input; None where only the weights can tell."""
        if self.single_file and self.described_by is None:
            return None
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
        return self.factor * self.layout.multiple

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was trained at."""
        sample = self.denoiser.get("sample_size", self.layout.sample_size)
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
        return "edm" if name.startswith("EDM") else self.layout.kind

    @property
    def prediction(self) -> str:
        """What the model predicts: epsilon, v_prediction, sample or flow."""
        return "flow" if self.kind == "flow" else self.scheduler.get("prediction_type", "epsilon")

    @property
    def role(self) -> str:
        """What it takes beside noisy latents: plain, inpaint or depth; any where its own pipeline is called. Tasks name theirs."""
        return "any" if self.family == CLASSIC else role(self.family, self.configs) or "plain"

    @property
    def holder(self) -> str:
        """The diffusers pipeline that holds its components."""
        return dict(self.layout.holders).get(self.role, self.layout.holder)

    def folder(self, name: str) -> Path:
        """Where a component lies."""
        return self.swapped[name].folder if name in self.swapped else self.path / name

    @property
    def safety_checker(self) -> bool:
        return "safety_checker" in self.classes


#: Components that a depth model can do without, where it is given depth maps.
OPTIONAL = ("depth_estimator", "feature_extractor")


def find(model: ModelSpec) -> Checkpoint:
    """Locate a checkpoint and read its json files; at the hub these are all that is fetched.

    Raises:
        ComposerError: nothing is there, or nothing that composer knows.
    """
    found = _find(model)
    return replace(found, sums=model.sha256, pickles=model.allow_pickle)


def _find(model: ModelSpec) -> Checkpoint:
    path, commit = locate("model.source", model.source, model.revision, model.allow_pickle)
    if path.is_file():
        found = _from_file(model, path)
        return _swap(found, _swapped(model, found))
    if not (path / INDEX).is_file():
        where = f"this repository holds no {INDEX}" if commit else f"there is no {INDEX} in this folder"
        raise ComposerError("model.source", model.source, f"{where}: it is no checkpoint in diffusers' format")
    index = read_json(path / INDEX)
    check_libraries(model.source, index)
    classes = {name: entry[1] for name, entry in index.items() if isinstance(entry, list) and entry[1]}
    if not model.safety_checker:
        classes.pop("safety_checker", None)
    configs = {name: config for name in classes if (config := component_json(path / name)) is not None}
    pipeline = index.get("_class_name", "unknown")
    found = Checkpoint(source=model.source, path=path, family="", pipeline=pipeline, classes=classes, configs=configs, commit=commit)
    swapped = _swapped(model, found)
    check_fit(swapped, [name for name in index if not name.startswith("_")], configs)
    if commit is None:  # at the hub only the json files are here yet
        for name in set(classes) - set(swapped):
            whole("model.source", model.source, path / name, model.allow_pickle)
    nulls = [name for name, entry in index.items() if isinstance(entry, list) and not entry[1]]
    absent = tuple(name for name in sorted({*nulls, *OPTIONAL}) if name not in {**classes, **swapped})
    found = _swap(replace(found, absent=absent), swapped)
    return replace(found, family=_family(model, found, pipeline))


def _swapped(model: ModelSpec, found: Checkpoint) -> dict[str, Component]:
    return {name: find_component(name, read_part(name, node), _own(found, name)) for name, node in model.components.items()}


def _own(found: Checkpoint, name: str) -> Component | None:
    """What a checkpoint has under a name, where its json files tell."""
    config, described = found.configs.get(name), found.described_by or found.path
    if config is None or not described.is_dir():
        return None
    part, cls = Part(source=found.source), found.classes[name]
    return Component(part=part, folder=described, subfolder=name, library="diffusers", cls=cls, config=config, commit=found.commit)


def _swap(found: Checkpoint, swapped: Mapping[str, Component]) -> Checkpoint:
    """The checkpoint with some of its components from elsewhere."""
    classes = {**found.classes, **{name: component.cls for name, component in swapped.items()}}
    configs = {**found.configs, **{name: component.config for name, component in swapped.items()}}
    return replace(found, classes=classes, configs=configs, swapped=swapped)


def _from_file(model: ModelSpec, path: Path) -> Checkpoint:
    if path.suffix in PICKLED:
        return _from_pickle(model, path)
    table = header(path)
    name = next((family for key, family in _ORIGINAL_KEYS.items() if key in table), None)
    if name not in LAYOUTS:
        raise ComposerError("model.source", model.source, "no family knows the layout of this file", sorted(LAYOUTS))
    if model.config is None:
        unet = table.get(_ORIGINAL_UNET)
        configs = {} if unet is None else {"unet": {"in_channels": unet["shape"][1], "out_channels": 4}}
        return Checkpoint(source=model.source, path=path, family=name, classes={"vae": "AutoencoderKL"}, configs=configs)
    return _described(model, path, name)


def _described(model: ModelSpec, path: Path, family: str) -> Checkpoint:
    described = _find(replace(model, source=model.config, config=None, components={}))
    return replace(described, source=model.source, path=path, family=family, described_by=described.path)


def _from_pickle(model: ModelSpec, path: Path) -> Checkpoint:
    """Nothing is read of it before diffusers does, so the user must say what it is."""
    if model.family not in LAYOUTS or model.config is None:
        key, value = ("model.family", model.family) if model.family not in LAYOUTS else ("model.config", None)
        raise ComposerError(
            key, value, "a pickled file is not looked into: say its family, and model.config=FOLDER with its json files", LAYOUTS
        )
    return _described(model, path, model.family)


def _family(model: ModelSpec, found: Checkpoint, pipeline: str) -> str:
    if model.family != "auto":
        if model.family not in (*LAYOUTS, CLASSIC):
            raise ComposerError("model.family", model.family, "is not known", ("auto", *LAYOUTS, CLASSIC))
        return model.family
    family = recognise(found.classes, found.configs)
    if family is None and pipeline.isidentifier() and pipeline.endswith("Pipeline"):
        return CLASSIC
    if family is None:
        raise ComposerError("model.source", model.source, f"no family knows this kind of checkpoint, {pipeline}", sorted(LAYOUTS))
    return family
