"""What a checkpoint says of itself, read from its json files: no weights, no torch.

A source is `embedded:NAME`, a folder in diffusers' format, a single .safetensors file, or a hub id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.families import LAYOUTS, Layout, recognise
from composer.spec import ModelSpec

EMBEDDED = Path(__file__).parent / "tiny" / "checkpoint"
INDEX = "model_index.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: Keys by which a single file in the original layout is known.
_ORIGINAL_KEYS = {
    "flux": "double_blocks.0.img_attn.norm.key_norm.scale",
    "sdxl": "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
    "sd": "model.diffusion_model.input_blocks.0.0.weight",
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found and understood.

    path: its folder, or the single file. classes: component → class name. configs: component → its json.
    commit: the hub's, None elsewhere. described_by: the folder that a single file's configs come from, if given.
    """

    source: str
    path: Path
    family: str
    classes: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]]
    commit: str | None = None
    described_by: Path | None = None

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.family]

    @property
    def single_file(self) -> bool:
        return self.path.is_file()

    @property
    def denoiser(self) -> Mapping[str, Any]:
        """Config of the UNet or transformer."""
        return self.configs.get(self.layout.denoiser[0], {})

    @property
    def embeds_scale(self) -> bool | None:
        """Whether the model takes the guidance scale as an input; None where only the weights can tell."""
        if not self.denoiser:
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
        sample = self.denoiser.get("sample_size", 128 if self.family == "flux" else 64)
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return height * self.factor, width * self.factor

    @property
    def scheduler(self) -> Mapping[str, Any]:
        return self.configs.get("scheduler", {})

    @property
    def kind(self) -> str:
        """What schedulers suit it: flow, edm or diffusion."""
        name = self.classes.get("scheduler", "")
        if name.startswith("FlowMatch") or self.scheduler.get("use_flow_sigmas") or self.family == "flux":
            return "flow"
        return "edm" if name.startswith("EDM") else "diffusion"


def find(model: ModelSpec) -> Checkpoint:
    """Locate a checkpoint and read its json files; at the hub these are all that is fetched.

    Raises:
        ComposerError: nothing is there, or nothing that composer knows.
    """
    path, commit = _locate(model)
    if path.is_file():
        return _from_file(model, path)
    index = _json(path / INDEX)
    listed = {name: entry[1] for name, entry in index.items() if isinstance(entry, list) and entry[1]}
    configs = {name: config for name in listed if (config := _component_json(path / name)) is not None}
    family = _family(model, listed, index.get("_class_name", "unknown"))
    if commit is None:  # at the hub only the json files are here yet
        for name in listed:
            _whole(model, path / name)
    return Checkpoint(source=model.source, path=path, family=family, classes=listed, configs=configs, commit=commit)


def _locate(model: ModelSpec) -> tuple[Path, str | None]:
    source = model.source
    path = EMBEDDED / source[len("embedded:") :] if source.startswith("embedded:") else Path(source).expanduser()
    if path.suffix in (".ckpt", ".bin", ".pt", ".pth"):
        raise ComposerError("model.source", source, "pickled weights can run code when they are loaded; use a .safetensors file")
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ComposerError("model.source", source, "a single file must be a .safetensors file")
        return path, None
    if (path / INDEX).is_file():
        return path, None
    if path.is_dir():
        raise ComposerError("model.source", source, f"there is no {INDEX} in this folder: it is no checkpoint in diffusers' format")
    if not _HUB_ID.fullmatch(source):
        raise ComposerError("model.source", source, "there is no such folder or file, and it is no hub id (owner/name)")
    return _fetch_json(source, model.revision)


def _whole(model: ModelSpec, folder: Path) -> None:
    """Refuse a component that is missing, empty, without weights or with a damaged file: half a download."""
    if not folder.is_dir() or not any(folder.iterdir()):
        reason = f"the folder {folder.name} named in {INDEX} is missing or empty: the checkpoint is incomplete"
        raise ComposerError("model.source", model.source, reason)
    weights = list(folder.glob("*.safetensors"))
    if (folder / "config.json").is_file() and not weights:
        raise ComposerError("model.source", model.source, f"there is no .safetensors file in {folder.name}; pickled weights are not loaded")
    for file in weights:
        header(file)


def _fetch_json(source: str, revision: str | None) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=["*.json", "*/*.json"]))
    except GatedRepoError:
        raise ComposerError(
            "model.source", source, "its owner wants you to accept terms first: do so at the hub, then `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise ComposerError("model.source", source, "there is no such folder here, and no such repository at the hub") from None
    except RevisionNotFoundError:
        raise ComposerError("model.revision", revision, f"{source} has no such branch, tag or commit") from None
    except (LocalEntryNotFoundError, OSError):
        raise ComposerError("model.source", source, "is not a folder here nor in the hub's cache, and the hub can't be reached") from None
    if not (folder / INDEX).is_file():
        raise ComposerError("model.source", source, f"this repository holds no {INDEX}, so no checkpoint in diffusers' format")
    return folder, folder.name


def _from_file(model: ModelSpec, path: Path) -> Checkpoint:
    keys = header(path).keys()
    name = next((family for family, key in _ORIGINAL_KEYS.items() if key in keys), None)
    if name not in LAYOUTS:
        raise ComposerError("model.source", model.source, "no family knows the layout of this file", sorted(LAYOUTS))
    if model.config is None:
        return Checkpoint(source=model.source, path=path, family=name, classes={"vae": "AutoencoderKL"}, configs={})
    described = find(replace(model, source=model.config, config=None))
    return replace(described, source=model.source, path=path, family=name, described_by=described.path)


def _family(model: ModelSpec, classes: Mapping[str, str], pipeline: str) -> str:
    if model.family != "auto":
        if model.family not in LAYOUTS:
            raise ComposerError("model.family", model.family, "is not known", ("auto", *LAYOUTS))
        return model.family
    family = recognise(classes)
    if family is None:
        raise ComposerError("model.source", model.source, f"no family knows this kind of checkpoint, {pipeline}", sorted(LAYOUTS))
    return family


def header(path: Path) -> dict[str, Any]:
    """The table of a safetensors file: tensor name → dtype, shape and place. https://huggingface.co/docs/safetensors"""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("it is cut short")
            table = json.loads(file.read(length))
        table.pop("__metadata__", None)
        if 8 + length + max(entry["data_offsets"][1] for entry in table.values()) != path.stat().st_size:
            raise ValueError("it is cut short")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ComposerError("model.source", path, f"is damaged, download it again: {error}") from None
    return table


def _component_json(folder: Path) -> dict[str, Any] | None:
    for name in ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            return _json(folder / name)
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ComposerError("model.source", path, f"can't be read: {error}") from None
