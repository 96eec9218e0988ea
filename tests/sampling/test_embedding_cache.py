"""What is remembered of a model is used again only where the model would make the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from composer.sampling.embedding_cache import EmbeddingCache, cached, options_scope, use_embedding_cache


class Layer(nn.Linear):
    """Call it with ones."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.calls = 0

    @torch.no_grad()
    def answer(self) -> torch.Tensor:
        self.calls += 1
        return self(torch.ones(1, 1))


def hooked(layer: Layer) -> None:
    layer.register_forward_hook(lambda module, given, made: made * 2)


def hooked_before(layer: Layer) -> None:
    layer.register_forward_pre_hook(lambda module, given: (given[0] * 2,))


@torch.no_grad()
def written_to(layer: Layer) -> None:
    layer.weight.add_(1)


def replaced(layer: Layer) -> None:
    layer.forward = lambda given: given * 3


@pytest.mark.parametrize("change", [hooked, hooked_before, written_to, replaced])
def test_a_model_modified_inplace_is_called_again(change):
    layer = Layer()
    with use_embedding_cache(EmbeddingCache()) as cache:
        for _ in range(2):
            first = cached(layer, lambda: "key", layer.answer)
        assert layer.calls == 1
        change(layer)
        again = cached(layer, lambda: "key", layer.answer)
    assert layer.calls == 2 and not torch.equal(first, again) and cache.hits == 1


def test_options_of_a_run_keep_results_apart():
    layer = Layer()
    with use_embedding_cache(EmbeddingCache()):
        for options in ("", "tiling", "", "tiling"):
            with options_scope(options):
                cached(layer, lambda: "key", layer.answer)
    assert layer.calls == 2


def test_ids_of_models_are_not_used_twice():
    from composer.sampling.embedding_cache import model_id

    seen = set()
    for _ in range(20):
        layer = Layer()
        seen.add(model_id(layer))
        assert model_id(layer) in seen
        del layer
    assert len(seen) == 20


def test_a_sweep_over_tiling_encodes_for_each(compose):
    words = ["task=img2img", "image=sample:scene", "height=256", "width=256", "steps=2", "callbacks=[]", "strength=0.5"]
    done = compose("-m", *words, "memory=[],[vae_tiling]", "sweep.batch=1", "output.folder=sweep")
    assert done.code == 0, done.err
    from composer.testing.image_files import pixels

    assert compose(*words, "memory=[vae_tiling]", "output.folder=alone").code == 0
    assert pixels("sweep/0001/000.png") == pixels("alone/000.png") != pixels("sweep/0000/000.png")
