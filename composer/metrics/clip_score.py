"""The metric `clip_score`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.errors import ComposerError
from composer.metrics.base import Metric

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "metric.clip_score.model"


class ClipScore(Metric):
    """How well an image fits its prompt: 100 times the cosine of both embeddings by a CLIP model, at least 0.

    The model computes on the CPU in fp32, so that values do not depend on the device. Prompts are cut where its
    tokenizer ends. https://arxiv.org/abs/2104.08718

    Args:
        model: A directory in transformers' format, a name in a folder of `COMPOSER_MODELS`, or a hub id.
        revision: Branch, tag or commit at the hub.
    """

    def __init__(self, model: str | None = None, revision: str | None = None) -> None:
        self.model, self.revision = model, revision

    def check(self, size: tuple[int, int] | None, prompts: Sequence[str]) -> None:
        folder, commit = self._located()
        try:
            kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            raise ComposerError(KEY, self.model, "has no config.json of transformers: it is no CLIP model") from None
        if kind != "clip":
            raise ComposerError(KEY, self.model, f"is a model of the type {kind}, and clip_score needs one of clip")
        if commit is None and not any(folder.glob("model*.safetensors")):
            raise ComposerError(KEY, self.model, "has no weights: model.safetensors is missing")
        if not all(prompts):
            raise ComposerError("metric", "clip_score", "compares an image with its prompt, and here is an empty one")

    def fingerprint(self) -> str:
        from composer.checkpoints.fingerprints import directory_fingerprint

        folder, commit = self._located()
        return commit or directory_fingerprint(folder)

    def load(self) -> None:
        self._models()

    def measure(self, image: Image, prompt: str, device: str) -> float:
        import torch

        processor, model = self._models()
        most = model.config.text_config.max_position_embeddings
        inputs = processor(text=[prompt], images=[image], return_tensors="pt", truncation=True, max_length=most)
        with torch.no_grad():
            result = model(**inputs)
            cosine = torch.nn.functional.cosine_similarity(result.image_embeds, result.text_embeds)
        return max(100 * float(cosine), 0.0)

    def _models(self) -> tuple[Any, Any]:
        folder, commit = self._located()
        return _loaded(str(self.model) if commit else str(folder), commit, self.fingerprint())

    def _located(self) -> tuple[Path, str | None]:
        from composer.checkpoints.sources import locate

        if self.model is None:
            reason = f"a CLIP model is needed: {KEY}=FOLDER, or a hub id such as openai/clip-vit-large-patch14"
            raise ComposerError(KEY, None, reason)
        folder, commit = locate(KEY, self.model, self.revision, texts=True)
        if folder.is_file():
            raise ComposerError(KEY, self.model, "is a file: name the directory of the model")
        return folder, commit


@lru_cache(maxsize=1)
def _loaded(source: str, commit: str | None, content: str) -> tuple[Any, Any]:
    """Processor and model, on the CPU in fp32; loaded anew where the content of the files has changed."""
    from transformers import CLIPModel, CLIPProcessor

    try:
        processor = CLIPProcessor.from_pretrained(source, revision=commit or "main")
        model = CLIPModel.from_pretrained(source, revision=commit or "main", use_safetensors=True, dtype="float32")
    except Exception as error:  # files of any content
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ComposerError(KEY, source, f"can't be loaded: {why}") from error
    return processor, model.eval()
