"""What is known of a training before weights are loaded, and what is refused then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.fingerprints import checkpoint_fingerprint
from composer.checks.compatibility import Checked, check
from composer.checks.embeddings import ENCODERS
from composer.config.read import read
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.training.buckets import bucket_sizes, nearest_bucket
from composer.training.data import Dataset, read_dataset
from composer.training.first_file import write_first_file
from composer.training.settings import Requested
from composer.training.spec import FREE, InversionTraining, TrainSpec
from composer.version import __version__

#: Method → families that it was tested with.
FAMILIES = {"lora": ("sd", "sdxl", "sd3", "flux"), "textual_inversion": tuple(ENCODERS)}
#: Dtypes that the base computes in while its changes learn in fp32.
DTYPES = ("fp32", "bf16")
#: Sizes of a square's side that buckets are spaced by, at most.
_SPACING = 8
#: Captions that sample images are made for, where no prompt is typed.
_SAMPLED_CAPTIONS = 4
#: Directory of trainings whose folder is not typed.
ROOT = Path("outputs/trainings")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that can begin.

    Attributes:
        requested: The command line.
        dataset: The images.
        sizes: Height and width that each image is trained in.
        checked: The run that makes sample images, with the base model.
        folder: Directory of all files of the training.
        settings: All that the weights depend on, as plain data.
    """

    requested: Requested
    dataset: Dataset
    sizes: tuple[tuple[int, int], ...]
    checked: Checked
    folder: Path
    settings: Mapping[str, Any]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the data for the user."""
        enlarged = [
            example.path.name for example, size in zip(self.dataset.examples, self.sizes, strict=True)
            if max(size[0] / example.size[1], size[1] / example.size[0]) > 1
        ]  # fmt: skip
        named = ", ".join(enlarged[:3]) + (", …" if len(enlarged) > 3 else "")
        notes = [f"data: {len(enlarged)} images are smaller than they are trained in, and enlarged: {named}"]
        return tuple(notes * bool(enlarged))

    def describe(self) -> dict[str, Any]:
        """Describe the training as plain data, for the file beside its result."""
        images = [
            {"file": str(example.path.relative_to(self.dataset.folder)), "caption": example.caption,
             "sha256": example.sha256, "height": height, "width": width}
            for example, (height, width) in zip(self.dataset.examples, self.sizes, strict=True)
        ]  # fmt: skip
        spec = vars(self.requested.spec)
        return {
            "composer": __version__, "method": self.requested.method, "training": dict(spec),
            "settings": dict(self.settings), "run": dict(self.checked.spec.config), "images": images,
        }  # fmt: skip


def plan_training(requested: Requested, scratch: Path) -> Plan:
    """Check a training: its data, its model, and what they have to do with each other.

    Args:
        requested: The command line.
        scratch: Directory for files that the method needs while it runs.

    Returns:
        The plan.

    Raises:
        ComposerError: Something can't work.
    """
    spec = requested.spec
    if requested.method == "lora" and find_spec("peft") is None:
        raise ComposerError("train", "lora", "needs the package peft: pip install 'diffusion-composer[train]'")
    if isinstance(spec, InversionTraining) and spec.word is None:
        raise ComposerError("word", None, "a new word is needed: word=zorb")
    if isinstance(spec, InversionTraining) and spec.caption_dropout:
        reason = "is for a LoRA: empty captions do not hold the word, so they teach it nothing"
        raise ComposerError("caption_dropout", spec.caption_dropout, reason)
    dataset = read_dataset(spec.data, spec.caption, spec.word)
    config = _sampling(requested, dataset)
    run = read(config)
    checkpoint = find_checkpoint(run.model)
    _refuse_models(requested.method, run, checkpoint)
    spec = _with_resolution(spec, checkpoint)
    requested = replace(requested, spec=spec)
    if isinstance(spec, InversionTraining):
        config["embedding"] = {"file": str(write_first_file(scratch, spec, checkpoint)), "word": spec.word}
        run = read(config)
    checked = check(run, lambda model: checkpoint)
    sizes = tuple(_sizes(spec, dataset, checked.checkpoint.size_multiple))
    settings = _settings(requested, dataset, checked)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    folder = requested.folder or (ROOT / f"{dataset.folder.resolve().name}-{digest[:8]}").absolute()
    return Plan(
        requested=requested, dataset=dataset, sizes=sizes, checked=checked, folder=folder, settings=settings
    )  # fmt: skip


def _sampling(requested: Requested, dataset: Dataset) -> dict[str, Any]:
    """Config of the run that makes sample images."""
    spec, config = requested.spec, dict(requested.config)
    config |= {"steps": spec.sample_steps, "seed": spec.seed, "images": 1}
    if "prompt" not in requested.typed:
        captions = list(dict.fromkeys(example.caption for example in dataset.examples))
        with_word = [text for text in captions if spec.word is None or spec.word.lower() in text.lower()]
        config["prompt"] = with_word[:_SAMPLED_CAPTIONS]
    if spec.resolution is not None:
        config |= {side: spec.resolution for side in ("height", "width") if side not in requested.typed}
    return config


def _with_resolution(spec: TrainSpec, checkpoint: Checkpoint) -> TrainSpec:
    """The model's own resolution, where none is typed; a typed one must suit the model."""
    multiple = checkpoint.size_multiple
    if spec.resolution is None:
        return replace(spec, resolution=min(checkpoint.size))
    if spec.resolution % multiple:
        raise ComposerError("resolution", spec.resolution, f"must be a multiple of {multiple}, for this model")
    return spec


def _refuse_models(method: str, spec: RunSpec, checkpoint: Checkpoint) -> None:
    if checkpoint.family not in FAMILIES[method]:
        families = FAMILIES[method]
        reason = f"{method} is trained on {', '.join(families)}, and this model is of the family {checkpoint.family}"
        raise ComposerError("model", spec.model.name, f"{reason}: docs/guides/training.md names other trainers")
    if spec.model.refiner is not None:
        raise ComposerError("model.refiner", spec.model.refiner.source, "does not learn: leave it out")
    if spec.precision.storage or checkpoint.quantised:
        reason = "keeps weights in fewer bits than a training computes in"
        raise ComposerError("precision", spec.precision.storage or "gguf", reason, DTYPES)
    denoiser = checkpoint.family_info.denoiser[0]
    dtype = spec.precision.components.get(denoiser, spec.precision.dtype)
    if dtype not in DTYPES:
        reason = "is no dtype to train in: small gradients are 0 in fp16, and auto may choose it"
        raise ComposerError("precision", dtype, reason, DTYPES)


def _sizes(spec: TrainSpec, dataset: Dataset, multiple: int) -> Sequence[tuple[int, int]]:
    """Height and width that each image is trained in."""
    resolution = spec.resolution or multiple
    spacing = -(-resolution // _SPACING // multiple) * multiple
    sizes = bucket_sizes(resolution, spacing) if spec.buckets else []
    square = (resolution, resolution)
    return [nearest_bucket(example.size, [square, *sizes]) for example in dataset.examples]


def _settings(requested: Requested, dataset: Dataset, checked: Checked) -> dict[str, Any]:
    """All that the weights depend on, as plain data."""
    spec = requested.spec
    typed = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name not in FREE}
    precision = {"dtype": checked.spec.precision.dtype, **checked.spec.precision.components}
    settings = {
        "train": requested.method, **typed, "data": dataset.sha256, "precision": precision,
        "model": checkpoint_fingerprint(checked.checkpoint),
    }  # fmt: skip
    return json.loads(json.dumps(settings, default=str))
