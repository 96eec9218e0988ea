"""A Qwen tokenizer of some 1,100 tokens: one for every word of the two grammars, bytes for everything else.

Byte-level BPE in the file format of Qwen. The chat template is the shortest there can be, a prompt and the mark of its
end, in lower case since the grammars know no other.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Tokenizer

from composer.tiny import captions, instructions
from composer.tiny.tokenizer import bytes_to_unicode, learn_merges

#: Tokens a prompt may have, the mark of its end included. Longest text of the grammars: 36.
LENGTH = 48
#: Qwen's marks of a text's end (which pads prompts) and of a message's begin and end.
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = "{% for message in messages %} {{ message.content | lower }}<|im_end|>{% endfor %}"
_SPACE = "Ġ"  # as byte-level BPE spells it; every word of a prompt follows one


def build_tokenizer() -> Qwen2Tokenizer:
    """Learn merges until each word of the grammars is a single token.

    Returns:
        The tokenizer.
    """
    phrases = [*captions.vocabulary(), *instructions.vocabulary()]
    words = Counter(_SPACE + word for phrase in phrases for word in re.findall("[a-z]+", phrase.lower()))
    merges = learn_merges({word: [*word] for word in words}, words)
    tokens = dict.fromkeys((*MARKS, *bytes_to_unicode(), *("".join(pair) for pair in merges)))
    make: Any = Qwen2Tokenizer  # annotated with paths alone, though it takes what they would hold
    return make(
        vocab={token: i for i, token in enumerate(tokens)}, merges=merges, chat_template=TEMPLATE,
        extra_special_tokens=list(MARKS[1:]), model_max_length=LENGTH,
    )  # fmt: skip


def save_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """Write the tokenizer and load it back, so that the result is what users will get.

    Args:
        folder: Directory of the files.

    Returns:
        The tokenizer.
    """
    build_tokenizer().save_pretrained(folder)
    return Qwen2Tokenizer.from_pretrained(folder)


def encode(tokenizer: Qwen2Tokenizer, texts: list[str]) -> Tensor:
    """Tokenize texts as the pipeline does: in the chat template, padded to `LENGTH`.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.

    Returns:
        Token ids, (len(texts), LENGTH) int64.
    """
    chats: Any = [tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False) for text in texts]
    return torch.tensor(tokenizer(chats, padding="max_length", max_length=LENGTH, truncation=True)["input_ids"])
