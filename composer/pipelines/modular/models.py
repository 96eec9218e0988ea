"""The models of a modular pipeline, with the interface of a family as far as composer calls it."""

from __future__ import annotations

from typing import Any

from composer.pipelines.hosted.models import HostedModels


class ModularModels(HostedModels):
    """Models of a pipeline that consists of blocks."""

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        """The last of its tokenizers, which reads furthest, with the limit of its blocks."""
        components = self.pipe.components.items()
        parts = [part for name, part in components if name.startswith("tokenizer") and part is not None]
        tokenizers = [getattr(part, "tokenizer", part) for part in parts]  # a processor has one inside
        inputs = {entry.name: entry.default for entry in self.pipe.blocks.inputs}
        length = inputs.get("max_sequence_length")
        if not tokenizers or not isinstance(length, int) or not hasattr(tokenizers[-1], "model_max_length"):
            return super().prompt_tokenizer
        return tokenizers[-1], min(length, tokenizers[-1].model_max_length)
