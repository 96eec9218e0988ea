"""Creation of models without initial weights, and conversion of one component of a single file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def without_weights() -> Iterator[None]:
    """Create models on the meta device within the context, without initial weights. Buffers are computed.

    transformers 5 moved ``no_init_weights`` from ``modeling_utils`` to ``initialization``. Both are undocumented;
    without it, models of transformers get random weights that are thrown away.
    """
    from accelerate import init_empty_weights
    from transformers.initialization import no_init_weights

    with no_init_weights(), init_empty_weights(include_buffers=False):
        yield


def single_file_component(
    library: str, cls: str, name: str, tensors: dict[str, Tensor], config: str, dtype: Any
) -> nn.Module:
    """Load one component from the tensors of a single file; public loaders read the file for each component anew.

    Args:
        library: Library of the component's class.
        cls: Name of the component's class.
        name: Name of the component.
        tensors: Tensors by their name in the file.
        config: Directory with the configs of the components.
        dtype: Dtype of the component.
    """
    from diffusers import pipelines
    from diffusers.loaders.single_file import load_single_file_sub_model

    component = load_single_file_sub_model(library, cls, name, tensors, pipelines, False, config, torch_dtype=dtype)
    return cast("nn.Module", component)  # without annotations there
