"""LoRA merged into weights by reference: the layers get new weights, and the former tensors are put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from composer.checkpoints.lora_file import configured_scaling
from composer.checkpoints.lora_fit import LayerMatch, LoraFit
from composer.options.adapters.lora_change import changed_weight

#: Component → factor of a file's changes there.
Scales = Mapping[str, float]
#: Denoiser → files that are merged into the models of its pipeline, so that another scale reads nothing again.
_merged: WeakKeyDictionary[nn.Module, MergedLoras] = WeakKeyDictionary()


class MergedLoras:
    """Files merged into the models of a pipeline.

    Args:
        models: Component → model.
        fits: Name → file with the layers that it changes.
        tensors: Name → tensors of the file.
    """

    def __init__(
        self, models: Mapping[str, nn.Module], fits: Mapping[str, LoraFit], tensors: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.models, self.fits, self.tensors = models, fits, tensors
        self.originals: dict[tuple[str, str], tuple[Any, nn.Parameter, nn.Parameter | None]] = {}
        self.scales: Mapping[str, Scales] = {}

    @torch.no_grad()
    def set_scales(self, scales: Mapping[str, Scales], component: str | None = None) -> None:
        """Compute the weights of all changed layers from the original ones.

        Args:
            scales: Name → factor of each component; layers whose factors are all 0 get their original weights back.
            component: Only layers of this component; None for all.
        """
        if scales == self.scales:
            return
        self.scales = scales
        matches: dict[tuple[str, str], list[tuple[str, LayerMatch]]] = {}
        for name, fit in self.fits.items():
            for match in fit.matches:
                if component in (None, match.component):
                    matches.setdefault((match.component, match.module), []).append((name, match))
        for where, changes in matches.items():
            layer: Any = self.models[where[0]].get_submodule(where[1])
            original = self.originals.setdefault(where, (layer, layer.weight, getattr(layer, "bias", None)))
            layer.weight, layer.bias = original[1:]
            for name, match in changes:
                self._change(layer, match, self.tensors[name], self.fits[name], scales[name][match.component])

    def restore(self) -> None:
        """Put the original tensors back."""
        for layer, weight, bias in self.originals.values():
            layer.weight, layer.bias = weight, bias
        self.originals.clear()

    def _change(self, layer: Any, match: LayerMatch, tensors: Mapping[str, Tensor], fit: LoraFit, scale: float) -> None:
        if scale == 0:
            return
        weight = layer.weight
        factors = {role: tensors[key].to(weight.device) for role, key in match.layer.tensors.items()}
        alpha, rank = factors.pop("alpha", None), match.layer.rank
        if alpha is not None:
            scaling = float(alpha) / rank if rank else 1.0
        else:
            scaling = configured_scaling(fit.file.config, match.component, match.module, rank) or 1.0
        bias = factors.pop("diff_b", factors.pop("bias", None))
        if bias is not None:
            former = torch.zeros_like(weight[:, 0].flatten()) if layer.bias is None else layer.bias
            layer.bias = _parameter(former + scale * bias.to(former.dtype))
        if set(factors) - {"dora"}:
            layer.weight = _parameter(changed_weight(weight, factors, scaling, scale))


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


@contextmanager
def merged_loras(
    pipe: Any, denoiser: nn.Module, fits: Mapping[str, LoraFit], scales: Mapping[str, Scales]
) -> Iterator[None]:
    """Merge files into the models of a pipeline; the original weights are put back when the context exits.

    Args:
        pipe: The diffusers pipeline.
        denoiser: Its UNet or transformer.
        fits: Name → file with the layers that it changes.
        scales: Name → factor of each component.

    Yields:
        Nothing.
    """
    from safetensors.torch import load_file

    models = {name: model for name, model in pipe.components.items() if isinstance(model, nn.Module)}
    merged = MergedLoras(models, fits, {name: load_file(fit.file.path) for name, fit in fits.items()})
    try:
        merged.set_scales(scales)
        _merged[denoiser] = merged
        yield
    finally:
        _merged.pop(denoiser, None)
        merged.restore()


def set_merged_scales(denoiser: nn.Module, scales: Mapping[str, Scales], component: str | None = None) -> None:
    """Set the factors of files that are merged into the models of a pipeline.

    Args:
        denoiser: The pipeline's UNet or transformer.
        scales: Name → factor of each component.
        component: Only layers of this component; None for all.
    """
    if denoiser in _merged:
        _merged[denoiser].set_scales(scales, component)
