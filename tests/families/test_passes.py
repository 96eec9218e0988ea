"""Embeddings of both branches in one batch, and of repeated texts."""

from __future__ import annotations

import torch

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request
from composer.families.distinct import encode_distinct
from composer.families.passes import concat_embeddings

HIDDEN, MASK = torch.randn(2, 5, 4), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)


def test_masks_are_concatenated_as_the_hidden_states_are():
    both = concat_embeddings(Embedding(hidden=HIDDEN, mask=MASK), Embedding(hidden=-HIDDEN, mask=~MASK))
    assert torch.equal(both.hidden, torch.cat([HIDDEN, -HIDDEN])) and torch.equal(both.mask, torch.cat([MASK, ~MASK]))


def test_without_masks_there_is_none():
    assert concat_embeddings(Embedding(hidden=HIDDEN), Embedding(hidden=HIDDEN)).mask is None


def test_each_image_of_a_repeated_prompt_has_its_row_of_the_mask():
    request = Request(
        prompts=("a", "b", "a"), negative_prompts=(None,) * 3, seeds=(0, 1, 2), steps=1, height=8, width=8, inputs={}
    )
    encoded = Conditioning(positive=Embedding(hidden=HIDDEN, mask=MASK))
    positive = encode_distinct(lambda distinct, flag: encoded, request, False, frozenset()).require_positive()
    assert torch.equal(positive.mask, MASK[[0, 1, 0]]) and torch.equal(positive.hidden, HIDDEN[[0, 1, 0]])
