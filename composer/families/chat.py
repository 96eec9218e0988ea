"""Prompts in the chat template of a language model: their tokens, and how many of them a text encoder reads."""

from __future__ import annotations

from typing import Any


def chat_text(tokenizer: Any, prompt: str, system: str | None = None, **template: Any) -> str:
    """Write a prompt as the user's message of a chat.

    Args:
        tokenizer: A tokenizer or processor of transformers with a chat template.
        prompt: One text.
        system: Message before it, with which the assistant's answer is not opened; ``None`` for none.
        **template: Further arguments of the template, such as `enable_thinking`.

    Returns:
        The text that the encoder reads.
    """
    if system is None:
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **template)
    texts = {"system": system, "user": prompt}
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in texts.items()]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False, **template)


def plain_tokenizer(tokenizer: Any) -> Any:
    """Return the tokenizer of a processor, or a tokenizer itself."""
    return getattr(tokenizer, "tokenizer", tokenizer)


def chat_tokens(tokenizer: Any, prompt: str, length: int, **template: Any) -> list[str]:
    """Tokenize a prompt in its chat template, truncated and without padding.

    Args:
        tokenizer: A tokenizer of transformers with a chat template.
        prompt: One text.
        length: Most tokens, the template's included.
        **template: Further arguments of the template.

    Returns:
        At most `length` tokens as text.
    """
    text, plain = chat_text(tokenizer, prompt, **template), plain_tokenizer(tokenizer)
    return plain.convert_ids_to_tokens(plain(text, max_length=length, truncation=True).input_ids)


def chat_limit(tokenizer: Any, length: int, **template: Any) -> int:
    """Count the tokens that a template leaves to the prompt.

    Args:
        tokenizer: A tokenizer of transformers with a chat template.
        length: Most tokens, the template's included.
        **template: Further arguments of the template.

    Returns:
        The limit of a prompt in tokens, with the special tokens that the tokenizer adds to a text of its own.
    """
    plain = plain_tokenizer(tokenizer)
    return length - len(plain(chat_text(tokenizer, "", **template)).input_ids) + plain.num_special_tokens_to_add()
