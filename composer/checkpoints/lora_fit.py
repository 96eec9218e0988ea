"""The layers of a LoRA file, found in a model: by the headers of its files before loading, or in the loaded model.

Every tensor of a file must be used. A file that would be applied in part is refused, with the keys named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from composer.checkpoints.headers import SAFETENSORS, read_header
from composer.checkpoints.layouts import HOSTED
from composer.checkpoints.lora_file import LoraFile, LoraLayer
from composer.checkpoints.lora_names import PEFT_PREFIX, layer_key, model_key
from composer.errors import ComposerError

if TYPE_CHECKING:
    from composer.checkpoints.checkpoint import Checkpoint

#: Path of a layer in a component → shape of its weights.
Shapes = Mapping[str, tuple[int, ...]]
#: What tensors of other kinds of adapters are, by a part of their names.
_OTHER_KINDS = {
    "oft_": "OFT", "boft_": "BOFT", "ia3": "IA³", "bundle_emb": "a bundled embedding", "w_norm": "trained norms",
    "b_norm": "trained norms", "on_input": "IA³", ".a1.": "GLoRA", "proj_lora": "a LoRA of attention processors",
}  # fmt: skip


class LayerMatch(NamedTuple):
    """A layer of a model that a layer of a file changes.

    Attributes:
        component: Name of the component.
        module: Path of the layer in it.
        shape: Shape of its weights.
        layer: The layer of the file.
    """

    component: str
    module: str
    shape: tuple[int, ...]
    layer: LoraLayer


@dataclass(frozen=True, kw_only=True)
class Widening:
    """What a control LoRA changes beside adding to layers.

    Attributes:
        layer: Path of the first layer of the transformer.
        channels: Channels that it reads then.
        norms: Path of a norm → the file's key of the weights that replace its own.
        original_norms: Keys of such weights in the names of the model's authors, which diffusers converts.
    """

    layer: str
    channels: int
    norms: Mapping[str, str] = field(default_factory=dict)
    original_norms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoraFit:
    """A file whose layers were looked for in a model.

    Attributes:
        file: The file.
        matches: The layers that were found.
        open: Layers that only diffusers' loading can match: of models whose headers do not have its names.
        widening: What else a control LoRA changes; None for other files.
    """

    file: LoraFile
    matches: tuple[LayerMatch, ...]
    open: tuple[LoraLayer, ...] = ()
    widening: Widening | None = None

    @property
    def components(self) -> frozenset[str]:
        """Components that the file changes, as far as they are known."""
        return frozenset(match.component for match in self.matches)

    @property
    def why_not_peft(self) -> str | None:
        """What diffusers would leave out or refuse; None if it applies the file completely."""
        for match in self.matches:
            layer = match.layer
            if layer.format != "LoRA":
                return f"holds {layer.format} ({next(iter(layer.tensors.values()))})"
            kohya_transformer = layer.name.underscored and match.component == "transformer"
            if layer.name.prefix in ("", PEFT_PREFIX) or match.component == "text_encoder_3" or kohya_transformer:
                return f"does not name its layers as diffusers reads them ({next(iter(layer.tensors.values()))})"
            if len(layer.shapes["down"]) != len(match.shape):
                return f"has factors of a convolution for a matrix ({next(iter(layer.tensors.values()))})"
        return None


def fit_lora(
    key: str,
    file: LoraFile,
    checkpoint: Checkpoint,
    shapes: Mapping[str, Shapes] | None = None,
    widening: Widening | None = None,
) -> LoraFit:
    """Find all layers of a file in a model.

    Args:
        key: Config key of the LoRA, for errors.
        file: The file.
        checkpoint: The checkpoint.
        shapes: Component → layers of the loaded model; None for those in the headers of the checkpoint's files.
        widening: What else the file changes, if it is a control LoRA.

    Returns:
        The layers with their matches.

    Raises:
        ComposerError: The file is for another base, or holds tensors that would not be used.
    """
    _check_base(key, file, checkpoint)
    _check_tensors(key, file)
    if widening is not None and widening.original_norms:  # its layers are joined in the authors' names
        return LoraFit(file=file, matches=(), open=file.layers, widening=widening)
    finder = _Finder(checkpoint, checkpoint_shapes(checkpoint) if shapes is None else shapes)
    matches, open_layers, lost = [], [], []
    for layer in file.layers:
        match = finder.find(layer)
        if match is not None:
            matches.append(match)
        elif finder.is_open(layer):
            open_layers.append(layer)
        else:
            lost.append(layer)
    if lost:
        raise _lost(key, file, lost)
    for match in matches:
        _check_shape(key, file, match)
    _check_twice(key, file, matches)
    return LoraFit(file=file, matches=tuple(matches), open=tuple(open_layers), widening=widening)


def checkpoint_shapes(checkpoint: Checkpoint) -> dict[str, Shapes]:
    """Read the layers of a checkpoint's components from the headers of their files.

    Args:
        checkpoint: The checkpoint.

    Returns:
        Component → layers; without those whose files are absent, or not in diffusers' names.
    """
    shapes = {}
    for name in checkpoint.classes:
        files = () if checkpoint.folder(name).is_file() else tuple(checkpoint.files(name))
        if files and all(file.suffix == SAFETENSORS for file in files):
            shapes[name] = _shapes_of(files, tuple(file.stat().st_mtime_ns for file in files))
    return shapes


@lru_cache(maxsize=16)
def _shapes_of(files: tuple[Path, ...], written: tuple[int, ...]) -> Shapes:
    tables = (read_header(file) for file in files)
    return {
        name.removesuffix(".weight"): tuple(entry["shape"])
        for table in tables
        for name, entry in table.items()
        if name.endswith(".weight")
    }


class _Finder:
    """Looks layers up in a model's components.

    Args:
        checkpoint: The checkpoint.
        shapes: Component → its layers.
    """

    def __init__(self, checkpoint: Checkpoint, shapes: Mapping[str, Shapes]) -> None:
        self.checkpoint, self.shapes = checkpoint, shapes
        self.denoiser = checkpoint.family_info.denoiser[0]
        self.layers_per_block = checkpoint.denoiser.get("layers_per_block", 2)
        self.tables: dict[tuple[str, bool], dict[str, str]] = {}

    def find(self, layer: LoraLayer) -> LayerMatch | None:
        name = layer.name
        for component in self._components(layer):
            blocks = self.layers_per_block if isinstance(self.layers_per_block, int) else 2
            module = self._table(component, name.underscored).get(
                layer_key(name, component.startswith("text_encoder"), blocks)
            )
            if module is not None:
                return LayerMatch(component, module, self.shapes[component][module], layer)
        return None

    def is_open(self, layer: LoraLayer) -> bool:
        """Whether a layer that was not found may be one that diffusers renames when it loads the file."""
        components = [name for name in self._components(layer) if name in self.checkpoint.classes]
        if any(name not in self.shapes for name in components):
            return True
        foreign = layer.name.original or self.checkpoint.family == HOSTED
        return bool(components) and layer.name.prefix != "" and foreign and self.denoiser != "unet"

    def _components(self, layer: LoraLayer) -> Iterable[str]:
        if layer.name.component == "":
            return (self.denoiser, *(name for name in sorted(self.shapes) if name.startswith("text_encoder")))
        return (layer.name.component or self.denoiser,)

    def _table(self, component: str, underscored: bool) -> dict[str, str]:
        if (component, underscored) not in self.tables:
            paths = self.shapes.get(component, {})
            self.tables[component, underscored] = {model_key(path, underscored): path for path in paths}
        return self.tables[component, underscored]


def _check_base(key: str, file: LoraFile, checkpoint: Checkpoint) -> None:
    if file.family is not None and checkpoint.family != HOSTED and file.family != checkpoint.family:
        reason = f"was trained on a {file.family} model ({file.base}), and this one is of the family"
        raise ComposerError(key, file.path.name, f"{reason} {checkpoint.family}")


def _check_tensors(key: str, file: LoraFile) -> None:
    """Refuse tensors that no format has, and layers of which a part is missing."""
    if file.unknown:
        kinds = (kind for name in file.unknown for part, kind in _OTHER_KINDS.items() if part in name)
        kind = next(kinds, "no format that composer knows")
        reason = f"holds {len(file.unknown)} tensors of {kind}, which would be left out: {_some(file.unknown)}"
        raise ComposerError(key, file.path.name, reason)
    if file.incomplete:
        reason = f"is incomplete: layers lack a tensor, or have factors of different ranks: {_some(file.incomplete)}"
        raise ComposerError(key, file.path.name, reason)


def _lost(key: str, file: LoraFile, lost: list[LoraLayer]) -> ComposerError:
    names = [next(iter(layer.tensors.values())) for layer in lost]
    count = (
        "none of its layers is"
        if len(lost) == len(file.layers)
        else f"{len(lost)} of {len(file.layers)} layers are not"
    )
    return ComposerError(key, file.path.name, f"is for another model: {count} in this one, such as {_some(names)}")


def _check_shape(key: str, file: LoraFile, match: LayerMatch) -> None:
    rows, columns = match.layer.change
    size = match.shape[0], prod(match.shape[1:])
    if (rows, columns or size[1]) != size:
        where = f"{match.component}.{match.module}"
        sizes = f"changes {rows} x {columns} weights of {where}, which has {size[0]} x {size[1]}"
        raise ComposerError(key, file.path.name, f"is for another model: it {sizes}")


def _check_twice(key: str, file: LoraFile, matches: list[LayerMatch]) -> None:
    """Refuse two layers of a file at the same match, of which one would be dropped."""
    seen: dict[tuple[str, str], LoraLayer] = {}
    for match in matches:
        other = seen.setdefault((match.component, match.module), match.layer)
        if other is not match.layer:
            names = _some([next(iter(layer.tensors.values())) for layer in (other, match.layer)])
            raise ComposerError(key, file.path.name, f"changes {match.component}.{match.module} twice: {names}")


def _some(names: Iterable[str]) -> str:
    """The first keys of several, in words."""
    first = list(names)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")


def iter_matches(fits: Mapping[str, LoraFit]) -> Iterator[LayerMatch]:
    """Iterate over all matches that several files change.

    Args:
        fits: Files by name.
    """
    for fit in fits.values():
        yield from fit.matches
