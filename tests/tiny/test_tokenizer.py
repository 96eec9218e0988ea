from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.tiny.captions import vocabulary
from composer.tiny.data import captions, scenes
from composer.tiny.tokenizer import LENGTH, build_tokenizer, save_tokenizer

TOKENIZER = build_tokenizer()


def test_every_word_of_the_grammar_is_one_token():
    words = {word for phrase in vocabulary() for word in phrase.lower().split() if word.isalpha()}
    assert len(words) > 100
    assert not [word for word in words if len(TOKENIZER(word)["input_ids"]) != 3]


def test_no_caption_is_cut():
    longest = max(len(TOKENIZER(text)["input_ids"]) for ways in captions(scenes(500, 5, "any"), 5) for text, _ in ways)
    assert 25 < longest <= LENGTH


@settings(deadline=None, max_examples=80)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), max_size=12))
def test_any_text_becomes_known_tokens(text):
    ids = TOKENIZER(text)["input_ids"]
    assert (
        all(0 <= i < len(TOKENIZER) for i in ids)
        and ids[0] == TOKENIZER.bos_token_id
        and ids[-1] == TOKENIZER.eos_token_id
    )


@pytest.mark.parametrize("text", ["a red sphere", "ünïcødé 東京 🎉", ""])
def test_what_is_saved_is_what_is_loaded(tmp_path, text):
    assert (
        save_tokenizer(tmp_path)(text, padding="max_length")["input_ids"]
        == TOKENIZER(text, padding="max_length")["input_ids"]
    )
