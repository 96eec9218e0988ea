"""memory=[layerwise_casting]: the denoiser's layers wait in 8 bits and are cast one by one when they compute; as
precision=fp8 does.

https://huggingface.co/docs/diffusers/optimization/memory#layerwise-casting. Norms and embeddings stay as they are.
"""

from __future__ import annotations

from composer.options.base import ModelOption, OptionContext


class LayerwiseCasting(ModelOption):
    """Half or a quarter of the weights' memory, and a little time for each layer of each step."""

    group, name, component = "memory", "layerwise_casting", "denoiser"
    storage = "fp8"

    def check(self, context: OptionContext) -> None:
        super().check(context)
        storage = context.checked.spec.precision.storage
        if storage is not None:
            self.refuse_no_effect(f"precision.storage={storage} keeps fewer bits already, so it would do nothing")
