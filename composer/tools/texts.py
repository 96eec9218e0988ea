"""Tools that make texts: `caption` and `enhance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from composer.system.constraints import Ge, Interval
from composer.tools.model_tool import SOURCE, Dtype, ModelTool

Tokens = Annotated[int, Interval(ge=1, le=4096)]


class Caption(ModelTool):
    """Describe an image, always in the same words. https://huggingface.co/docs/transformers/tasks/image_captioning

    Args:
        source: A model that writes about images, such as BLIP, GIT, Qwen-VL or SmolVLM.
        revision: Branch, tag or commit at the hub.
        dtype: What it computes in.
        instruction: What is requested of a model with a chat template, or how the text of another one begins; None for
            a description in one sentence.
        tokens: Largest number of tokens of the text.
    """

    makes = "text"
    classes = ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",)
    example = "Salesforce/blip-image-captioning-base"

    def __init__(
        self,
        source: str | None = None,
        revision: str | None = None,
        dtype: Dtype = "fp32",
        instruction: str | None = None,
        tokens: Tokens = 60,
    ) -> None:
        super().__init__(source, revision, dtype)
        self.instruction, self.tokens = instruction, tokens

    def run(self, images: Mapping[str, Any], device: str) -> str:
        from composer.loading.writing import caption

        return caption(images["image"], *self.load(device), self.instruction, self.tokens)


class Enhance(ModelTool):
    """Write a longer prompt by a language model. https://huggingface.co/docs/transformers/llm_tutorial

    Args:
        source: A language model; one without a chat template continues the prompt.
        revision: Branch, tag or commit at the hub.
        dtype: What it computes in.
        instruction: What is requested of a model with a chat template; None for a rewritten prompt in one sentence.
        tokens: Largest number of tokens that are added.
        temperature: How far it may deviate from the likeliest tokens; 0 for those alone.
        seed: Seed of what it chooses at a temperature above 0.
    """

    inputs = ("prompt",)
    makes = "text"
    classes = ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",)
    processor = "AutoTokenizer"
    example = "Qwen/Qwen3-0.6B"

    def __init__(
        self,
        source: str | None = None,
        revision: str | None = None,
        dtype: Dtype = "fp32",
        instruction: str | None = None,
        tokens: Tokens = 100,
        temperature: Annotated[float, Ge(0)] = 0.0,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(source, revision, dtype)
        self.instruction, self.tokens, self.temperature, self.seed = instruction, tokens, temperature, seed

    def check(self) -> None:
        super().check()
        if self.instruction is not None and self._located.commit is None:
            from composer.loading.tool_models import load_processor
            from composer.loading.writing import requires_template

            tokenizer = load_processor(SOURCE, self._located, self.processor)
            requires_template("tool.instruction", self.instruction, tokenizer)

    def run(self, images: Mapping[str, Any], device: str) -> str:
        from composer.loading.writing import enhance, requires_template

        tokenizer, model = self.load(device)
        requires_template("tool.instruction", self.instruction, tokenizer)
        return enhance(images["prompt"], tokenizer, model, self.instruction, self.tokens, self.temperature, self.seed)
