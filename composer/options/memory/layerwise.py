"""``memory=[layerwise_casting]``: the denoiser's layers are stored in 8 bits and cast one by one for computing.

Norms and embeddings keep their dtype.
See https://huggingface.co/docs/diffusers/optimization/memory#layerwise-casting.
"""

from __future__ import annotations

from composer.options.base import ModelOption, OptionContext


class LayerwiseCasting(ModelOption):
    """Store the denoiser's weights in fp8: a half or a quarter of their memory, for a little time per layer."""

    group, name, component = "memory", "layerwise_casting", "denoiser"
    storage = "fp8"

    def check(self, context: OptionContext) -> None:
        super().check(context)
        storage = context.checked.spec.precision.storage
        if storage is not None:
            self.refuse_no_effect(f"precision.storage={storage} keeps fewer bits already, so it would do nothing")
