"""Texts that models of transformers write: captions of images, and longer prompts."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from composer.errors import ComposerError
from composer.loading.tool_models import on_device
from composer.system.run_lock import in_turn

#: What is requested of a model that follows instructions.
DESCRIBE = "Describe this image in one sentence."
ENHANCE = (
    "Rewrite the user's prompt for an image generator: keep what it shows, add details of light, colours, materials "
    "and composition, in one sentence. Answer with the prompt alone."
)


@in_turn
def caption(image: Image.Image, processor: Any, model: Any, instruction: str | None, most: int) -> str:
    """Describe an image.

    Args:
        image: An RGB image.
        processor: What prepares the model's inputs.
        model: A model that writes about images.
        instruction: What is requested of a model with a chat template, or how the text of another one begins; None for
            `DESCRIBE`, or nothing.
        most: Largest number of tokens.

    Returns:
        The text, always the same one.
    """
    if getattr(processor, "chat_template", None):
        content = [{"type": "image", "image": image}, {"type": "text", "text": instruction or DESCRIBE}]
        inputs = _chat(processor, [{"role": "user", "content": content}])
        return _written(processor, model, inputs, most, inputs["input_ids"].shape[1])
    text = {} if instruction is None else {"text": instruction}
    return _written(processor, model, processor(images=image, return_tensors="pt", **text), most, 0)


@in_turn
def enhance(
    prompt: str, tokenizer: Any, model: Any, instruction: str | None, most: int, temperature: float, seed: int
) -> str:
    """Write a longer prompt.

    Args:
        prompt: The prompt.
        tokenizer: Tokenizer of the model.
        model: A language model.
        instruction: What is requested of a model with a chat template; None for `ENHANCE`.
        most: Largest number of tokens that are added.
        temperature: How far it may deviate from the likeliest tokens; 0 for those alone.
        seed: Seed of what it chooses at a temperature above 0.

    Returns:
        Its answer; of a model without a chat template, the prompt with what follows.
    """
    if tokenizer.chat_template:
        messages = [{"role": "system", "content": instruction or ENHANCE}, {"role": "user", "content": prompt}]
        inputs = _chat(tokenizer, messages)
        start = inputs["input_ids"].shape[1]
    else:
        inputs, start = tokenizer(prompt, return_tensors="pt"), 0
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        return _written(tokenizer, model, inputs, most, start, temperature)


def requires_template(key: str, instruction: str | None, tokenizer: Any) -> None:
    """Refuse an instruction that a model would not get.

    Args:
        key: Config key of the instruction, for the error.
        instruction: The instruction.
        tokenizer: Tokenizer of the model.

    Raises:
        ComposerError: There is one, and the tokenizer has no chat template.
    """
    if instruction is not None and not tokenizer.chat_template:
        reason = "is for models with a chat template, and this one continues the prompt: leave it out"
        raise ComposerError(key, instruction, reason)


def _chat(processor: Any, messages: list[dict[str, Any]]) -> Any:
    return processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def _written(processor: Any, model: Any, inputs: Any, most: int, start: int, temperature: float = 0.0) -> str:
    """The text from a token on, without blanks at its ends or in rows."""
    chosen = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False, "num_beams": 1}
    with torch.inference_mode():
        tokens = model.generate(**on_device(inputs, model), max_new_tokens=most, **chosen)
    text = " ".join(processor.batch_decode(tokens[:, start:], skip_special_tokens=True)[0].split())
    if not text:
        raise ComposerError("tool.source", None, "the model wrote nothing")
    return text
