"""LoRA files, described from their headers alone: layers, format, base model, rank and trigger words. No torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from composer.checkpoints.headers import SAFETENSORS, read_header, read_metadata
from composer.checkpoints.lora_names import LayerName, parse_layer, split_tensor
from composer.errors import ComposerError

#: Sets of roles that are a complete layer, beside alpha and DoRA's magnitudes, and the format that they are of.
_COMPLETE = (
    ({"down", "up"}, "LoRA"), ({"down", "up", "bias"}, "LoRA"), ({"down", "up", "mid"}, "LoCon"),
    ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, "LoHa"),
    ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}, "LoHa"),
    *((one | two, "LoKr") for one in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
      for two in ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"}, {"lokr_t2", "lokr_w2_a", "lokr_w2_b"})),
    ({"diff"}, "full difference"), ({"diff", "diff_b"}, "full difference"), ({"diff_b"}, "full difference"),
)  # fmt: skip
#: Words of `ss_base_model_version` and `modelspec.architecture` → family.
_BASES = {
    "stable-diffusion-xl": "sdxl", "sdxl": "sdxl", "stable-diffusion-3": "sd3", "sd3": "sd3", "flux": "flux",
    "stable-diffusion-v1": "sd", "stable-diffusion-v2": "sd", "sd_v1": "sd", "sd_v2": "sd", "sd_1": "sd", "sd_2": "sd",
}  # fmt: skip
#: Metadata keys that hold trigger words as they are.
_TRIGGERS = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_word", "instance_prompt")
#: diffusers' key of a LoRA's PEFT config in the metadata of a file.
ADAPTER_CONFIG = "lora_adapter_metadata"


@dataclass(frozen=True, kw_only=True)
class LoraLayer:
    """A layer that a file changes.

    Attributes:
        name: The layer as the file names it.
        tensors: Role → key in the file.
        shapes: Role → shape.
        format: ``LoRA``, ``LoCon``, ``LoHa``, ``LoKr``, or ``full difference``; with ``DoRA`` before it, if so.
    """

    name: LayerName
    tensors: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    format: str

    @property
    def rank(self) -> int | None:
        """Rank of the change; None for one that is not factored."""
        for role, axis in {"down": 0, "hada_w1_b": 0, "lokr_w2_b": 0, "lokr_w1_b": 0}.items():
            if role in self.shapes:
                return self.shapes[role][axis]
        return None

    @property
    def change(self) -> tuple[int, int]:
        """Rows and columns of the change of the layer's weights, flattened behind the first axis."""
        shapes = self.shapes
        if "down" in shapes:
            columns = shapes["down"][1] * prod(shapes["mid"][2:]) if "mid" in shapes else prod(shapes["down"][1:])
            return shapes["up"][0], columns
        if "hada_t1" in shapes:
            return shapes["hada_w1_a"][1], shapes["hada_w1_b"][1] * prod(shapes["hada_t1"][2:])
        if "hada_w1_a" in shapes:
            return shapes["hada_w1_a"][0], prod(shapes["hada_w1_b"][1:])
        if "diff" in shapes:
            return shapes["diff"][0], prod(shapes["diff"][1:])
        if "diff_b" in shapes:
            return shapes["diff_b"][0], 0
        return self._kronecker()

    def _kronecker(self) -> tuple[int, int]:
        shapes = self.shapes
        one = shapes.get("lokr_w1") or (shapes["lokr_w1_a"][0], shapes["lokr_w1_b"][1])
        if "lokr_t2" in shapes:
            two = (shapes["lokr_w2_a"][1], shapes["lokr_w2_b"][1], *shapes["lokr_t2"][2:])
        else:
            two = shapes.get("lokr_w2") or (shapes["lokr_w2_a"][0], *shapes["lokr_w2_b"][1:])
        return one[0] * two[0], one[1] * prod(two[1:])


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A LoRA file by its header.

    Attributes:
        path: The file.
        layers: The layers that it changes, in its order.
        unknown: Keys that no format has.
        incomplete: Keys of layers of which a tensor is missing.
        metadata: Text metadata of the file.
        config: PEFT's settings, from the metadata or from ``adapter_config.json`` beside the file.
    """

    path: Path
    layers: tuple[LoraLayer, ...]
    unknown: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats of its layers, the most frequent first."""
        return tuple(name for name, _ in Counter(layer.format for layer in self.layers).most_common())

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks of its layers, ascending."""
        return tuple(sorted({layer.rank for layer in self.layers if layer.rank is not None}))

    @property
    def base(self) -> str | None:
        """Base model as the metadata names it."""
        keys = ("ss_base_model_version", "modelspec.architecture", "ss_sd_model_name")
        return next((self.metadata[key] for key in keys if self.metadata.get(key)), None)

    @property
    def family(self) -> str | None:
        """Family of the base model according to the metadata; None if it is unknown."""
        text = (self.base or "").lower()
        return next((family for words, family in _BASES.items() if words in text), None)

    @property
    def trigger_words(self) -> tuple[str, ...]:
        """Words that the metadata says were trained on, the most frequent first; at most 10 tags of a training set."""
        phrases = [self.metadata[key] for key in _TRIGGERS if self.metadata.get(key)]
        try:
            sets = json.loads(self.metadata.get("ss_tag_frequency") or "{}").values()
            tags = sum((Counter(tags) for tags in sets), Counter())
        except (ValueError, AttributeError, TypeError):
            tags = Counter()
        return tuple(dict.fromkeys([*phrases, *(tag.strip() for tag, _ in tags.most_common(10))]))


def is_lora(path: Path) -> bool:
    """Test whether a safetensors file is a LoRA: whether most of its tensors are named as a LoRA's.

    Args:
        path: The file.

    Raises:
        ComposerError: The file is damaged.
    """
    table = read_header(path, "info")
    return 2 * sum(split_tensor(name) is not None for name in table) > len(table)


def read_lora(path: Path, key: str = "lora") -> LoraFile:
    """Describe a LoRA file by its header.

    Args:
        path: The file.
        key: Config key that named it, for errors.

    Returns:
        The description; nothing of it is compared with a model yet.

    Raises:
        ComposerError: The file is damaged, of another kind, or holds no LoRA.
    """
    if path.suffix != SAFETENSORS:
        raise ComposerError(key, path, "a LoRA must be a .safetensors file: pickled weights can run code when loaded")
    read_header(path, key)  # refuses what is damaged, by the key
    state, beside = path.stat(), path.parent / "adapter_config.json"
    config_time = beside.stat().st_mtime_ns if beside.is_file() else 0
    file = _read(path, state.st_size, state.st_mtime_ns, config_time)
    if not file.layers and not file.incomplete:
        reason = "is no LoRA: no tensor in it is named as one's"
        raise ComposerError(key, path, f"{reason}, the first is {file.unknown[0]}")
    return file


@lru_cache(maxsize=64)  # each job of a sweep reads it
def _read(path: Path, size: int, written: int, config_written: int) -> LoraFile:
    table, unknown = read_header(path), []
    grouped: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    for name, entry in table.items():
        parts = split_tensor(name)
        if parts is None:
            unknown.append(name)
        else:
            grouped.setdefault(parts[0], {})[parts[1]] = (name, tuple(entry["shape"]))
    layers, incomplete = [], []
    for written_name, roles in grouped.items():
        kind = _format(roles.keys(), {role: shape for role, (_, shape) in roles.items()})
        if kind is None:
            incomplete += [name for name, _ in roles.values()]
            continue
        layers.append(
            LoraLayer(
                name=parse_layer(written_name),
                tensors={role: name for role, (name, _) in roles.items()},
                shapes={role: shape for role, (_, shape) in roles.items()},
                format=kind,
            )
        )
    metadata = read_metadata(path)
    return LoraFile(
        path=path, layers=tuple(layers), unknown=tuple(unknown), incomplete=tuple(incomplete), metadata=metadata,
        config=_config(path, metadata),
    )  # fmt: skip


def _format(roles: Any, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Format of a layer; None if a tensor is missing or their shapes do not belong together."""
    kind = next((kind for complete, kind in _COMPLETE if set(roles) - {"alpha", "dora"} == complete), None)
    if kind is None or not _consistent(shapes):
        return None
    if kind == "LoRA" and prod(shapes["down"][2:]) > 1:
        kind = "LoCon"
    return f"DoRA of {kind}" if "dora" in roles else kind


def _consistent(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether factors are matrices and have the same rank."""
    factors = [shape for role, shape in shapes.items() if role not in ("alpha", "dora", "diff", "diff_b", "bias")]
    if any(len(shape) < 2 or 0 in shape for shape in factors):
        return False
    if prod(shapes.get("alpha", ())) != 1:
        return False
    pairs = [("up", "down"), ("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b"), ("lokr_w1_a", "lokr_w1_b")]
    pairs += [("lokr_w2_a", "lokr_w2_b")] * ("lokr_t2" not in shapes)
    axis = 0 if "hada_t1" in shapes else 1
    return all(shapes[one][axis] == shapes[two][0] for one, two in pairs if one in shapes and two in shapes)


def _config(path: Path, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """PEFT's settings of a file, by component as diffusers stores them, or as PEFT's own file beside it has them."""
    try:
        if ADAPTER_CONFIG in metadata:
            return json.loads(metadata[ADAPTER_CONFIG])
        beside = path.parent / "adapter_config.json"
        return json.loads(beside.read_text()) if beside.is_file() and path.name.startswith("adapter_") else {}
    except (ValueError, OSError):
        return {}


def configured_scaling(config: Mapping[str, Any], component: str, module: str, rank: int | None) -> float | None:
    """Return the factor that PEFT's settings give the change of a layer.

    Args:
        config: Settings, with or without the component before each key.
        component: Component of the layer.
        module: Path of the layer in it.
        rank: Rank of the layer's factors; None for factors that are no products, whose rank is in the settings.

    Returns:
        Alpha divided by the rank, or by its root; None if the settings do not say.
    """
    settings = {key.removeprefix(f"{component}."): value for key, value in config.items()}
    alpha = _of_layer(settings, module, "alpha_pattern", settings.get("lora_alpha", settings.get("alpha")))
    rank = rank or _of_layer(settings, module, "rank_pattern", settings.get("r"))
    if not isinstance(alpha, (int, float)) or not rank:
        return None
    return float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)


def _of_layer(settings: Mapping[str, Any], module: str, pattern: str, usual: Any) -> Any:
    """A setting that some layers have of their own."""
    for key, value in (settings.get(pattern) or {}).items():
        if re.fullmatch(rf"(?:.*\.)?{key.removeprefix('^')}", module):
            return value
    return usual
