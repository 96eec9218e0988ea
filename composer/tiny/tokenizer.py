"""A CLIP tokenizer of some 900 tokens: one for every word of the caption grammar, bytes for everything else.

Byte-level BPE (https://arxiv.org/abs/1508.07909 on bytes), in the file format of CLIP: any Unicode text survives the
round trip, it only takes more tokens than a word of the grammar.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from composer.tiny.captions import vocabulary

#: Tokens a prompt may have, start and end included. Longest caption of the grammar: 33.
LENGTH = 40


def build_tokenizer() -> CLIPTokenizer:
    """Learn merges until each word of the grammar is a single token.

    Returns:
        The tokenizer.
    """
    alphabet = list(bytes_to_unicode())
    words = Counter(
        word for phrase in vocabulary() for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", phrase.lower())
    )
    words.update({",": 50, ".": 50, "!": 1, "-": 1})
    merges = learn_merges({word: [*word[:-1], word[-1] + "</w>"] for word in words}, words)
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab: Any = {token: i for i, token in enumerate(tokens)}  # annotated as text, which it may also be
    pairs: Any = merges
    return CLIPTokenizer(vocab=vocab, merges=pairs, model_max_length=LENGTH)


def save_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the tokenizer and load it back, so that the result is what users will get.

    Args:
        folder: Directory of the files.

    Returns:
        The tokenizer.
    """
    build_tokenizer().save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def learn_merges(pieces: dict[str, list[str]], words: Counter[str]) -> list[tuple[str, str]]:
    """Learn byte pairs until each word is a single token.

    Args:
        pieces: The characters of each word, as the tokenizer's format spells them.
        words: How often each word occurs.

    Returns:
        The pairs, in the order in which they are merged.
    """
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        pieces = {word: _join(parts, best) for word, parts in pieces.items()}


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def bytes_to_unicode() -> list[str]:
    """List GPT-2's printable character for each byte (https://github.com/openai/gpt-2/blob/master/src/encoder.py).

    Returns:
        256 characters, in GPT-2's order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(hidden))]
