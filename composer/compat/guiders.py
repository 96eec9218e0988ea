"""Private attributes of diffusers' guiders, and three guiders whose classes differ from their papers.

Two count their forwards in a private attribute, which the public interface has no way to set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diffusers.guiders.magnitude_aware_guidance import MagnitudeAwareGuidance
from diffusers.guiders.skip_layer_guidance import SkipLayerGuidance
from diffusers.guiders.smoothed_energy_guidance import SmoothedEnergyGuidance

if TYPE_CHECKING:
    from torch import Tensor, nn


def uses_negative(guider: type[Any]) -> bool:
    """Whether a guider has a prediction without the positive prompt; it names its inputs in a private attribute alone.

    Args:
        guider: Class of the guider.
    """
    return "pred_uncond" in guider._input_predictions


class Magnitudes(MagnitudeAwareGuidance):
    """For latents of any rank: torch's Frobenius norm, which diffusers 0.42 takes, is of two dimensions at most."""

    def forward(self, pred_cond: Tensor, pred_uncond: Tensor | None = None) -> Any:
        flat = None if pred_uncond is None else pred_uncond.flatten(1)
        output: Any = super().forward(pred_cond.flatten(1), flat)
        output.pred = output.pred.view(pred_cond.shape)
        return output


class Smoothed(SmoothedEnergyGuidance):
    """As its paper means it: diffusers 0.42 never counts the forwards, so it never weakens a layer and is plain
    guidance.
    """

    def prepare_models(self, denoiser: nn.Module) -> None:
        before = self._count_prepared
        self._count_prepared += 1
        super().prepare_models(denoiser)
        self._count_prepared = before + 1  # should diffusers count them one day


class Skipping(SkipLayerGuidance):
    """As its paper means it, for every model: diffusers' own hook mixes up what an SD3 or Flux block returns."""

    def prepare_models(self, denoiser: nn.Module) -> None:
        self._count_prepared += 1
        self.handles = []
        if self._is_slg_enabled() and self.is_conditional and self._count_prepared > 1:
            blocks = [
                denoiser.get_submodule(f"{config.fqn}.{i}") for config in self.skip_layer_config for i in config.indices
            ]
            self.handles = [block.register_forward_hook(pass_through, with_kwargs=True) for block in blocks]

    def cleanup_models(self, denoiser: nn.Module) -> None:
        for handle in self.handles:
            handle.remove()


def pass_through(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
    """Let a transformer block return what it was given."""
    hidden = args[0] if args else kwargs["hidden_states"]
    return (kwargs["encoder_hidden_states"], hidden) if isinstance(output, tuple) else hidden
