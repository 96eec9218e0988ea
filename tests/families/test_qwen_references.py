"""Qwen-Image-Edit's embeddings depend on its references: runs that share embeddings do not share those of other
images.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
from zoo import ZOO

from composer.families.qwen_image.model import QwenImage
from composer.sampling.embedding_cache import EmbeddingCache, use_embedding_cache
from composer.sampling.guidance import ClassifierFree
from composer.tasks.edit import Edit

sys.path.append(str(Path(__file__).parents[1] / "parity"))
from runs import image, ours

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def tiny():
    return ZOO["qwen_edit_plus"].make()


def edited(seed: int, batch: int = 1) -> list[bytes]:
    references = (image(64, seed),)
    _, images, _ = ours(
        QwenImage(tiny()), "default", ClassifierFree(4.0), batch, 64, Edit(), steps=2, references=(references,) * batch
    )
    return [result.tobytes() for result in images]


def test_embeddings_of_other_references_are_not_reused():
    alone = [edited(seed) for seed in (0, 1)]
    with use_embedding_cache(EmbeddingCache()) as shared:
        assert [edited(seed) for seed in (0, 1)] == alone
        before = shared.misses
        assert edited(1) == alone[1] and shared.misses == before


def test_two_prompts_edit_the_same_references_in_one_batch():
    assert len(set(edited(0, batch=2))) == 2
