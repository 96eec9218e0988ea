"""diffusers' own guiders as guidance: several opinions of one model, each a forward of its own.
https://huggingface.co/docs/diffusers/api/guiders

Their separate forwards differ from one of twice the batch by about 3e-5, so plain classifier-free guidance stays ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from diffusers import guiders
from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.hooks.layer_skip import LayerSkipConfig
from diffusers.hooks.smoothed_energy_guidance_utils import SmoothedEnergyGuidanceConfig
from diffusers.utils import logging

from composer.callbacks.base import Conditioning, Step
from composer.compat.guiders import Magnitudes, Skipping, Smoothed, uses_negative
from composer.errors import ComposerError, suggest
from composer.sampling.guidance import Branches, Guidance, Scale
from composer.system.constraints import MinLen, check_arguments
from composer.system.signatures import check_keywords, keywords_of

if TYPE_CHECKING:
    from torch import Tensor, nn


#: Our own readings of diffusers' classes.
PATCHED = {"MagnitudeAwareGuidance": Magnitudes, "SmoothedEnergyGuidance": Smoothed, "SkipLayerGuidance": Skipping}
#: Guiders that look at weakened layers → the keyword for these, and how each is weakened.
LAYER_CONFIGS: dict[str, tuple[str, Callable[..., Any], dict[str, bool]]] = {
    "PerturbedAttentionGuidance": (
        "perturbed_guidance_config", LayerSkipConfig, {"skip_attention": False, "skip_attention_scores": True,
            "skip_ff": False},
    ),
    "SkipLayerGuidance": ("skip_layer_config", LayerSkipConfig, {}),
    "SmoothedEnergyGuidance": ("seg_guidance_config", SmoothedEnergyGuidanceConfig, {}),
    "AutoGuidance": ("auto_guidance_config", LayerSkipConfig, {}),
}  # fmt: skip


#: Guiders of diffusers that have no single scale of one prediction → why, and what does the same.
UNABLE = {
    "FrequencyDecoupledGuidance": "has a scale for each frequency, where a run here has one: use apg",
    "LTX2Guidance": "guides the clip and the sound of LTX-2, whose own pipeline does it: use cfg",
}


class Guider(Guidance):
    """One of diffusers' guiders.

    Args:
        guider: its class.
        scale: its `guidance_scale`.
        layers: of the model, that a guider weakens: `auto` for the middle of it, or names such as
            `mid_block.attentions.0.transformer_blocks.0`. Guiders that weaken none take None.
        settings: its other keywords.
    """

    def __init__(
        self,
        guider: str,
        scale: Scale = 7.5,
        layers: Literal["auto"] | Annotated[list[str], MinLen(1)] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.guider, self.scale, self.layers, self.settings = guider, float(scale), layers, dict(settings or {})
        cls = getattr(guiders, guider, None)
        if not (isinstance(cls, type) and issubclass(cls, BaseGuidance)):
            known = [name for name in dir(guiders) if name.endswith("Guidance")]
            raise ComposerError("guidance.guider", guider, f"diffusers has no such guider.{suggest(guider, known)}")
        if guider in UNABLE:
            raise ComposerError("guidance.guider", guider, UNABLE[guider])
        check_keywords("guidance.settings", self.settings, keywords_of(cls.__init__) - {"guidance_scale", "enabled"})
        check_arguments("guidance.settings", cls, self.settings)
        if layers is not None and guider not in LAYER_CONFIGS:
            raise ComposerError("guidance.layers", layers, f"{guider} weakens no layers, so it would do nothing")
        self._made(
            {LAYER_CONFIGS[guider][0]: [self._layer_config("blocks", [0])]} if guider in LAYER_CONFIGS else {}
        )  # refuse settings out of range now

    @property
    def cls(self) -> Any:
        return PATCHED.get(self.guider) or getattr(guiders, self.guider)

    @property
    def support(self) -> str | None:
        return self.guider if self.guider in LAYER_CONFIGS else None

    @property
    def batch_safe(self) -> bool:
        return self.guider != "AutoGuidance"  # whose dropout samples once for the complete batch

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self.scale != 1 and uses_negative(self.cls)

    def for_run(self, denoiser: nn.Module) -> Guidance:
        if self.guider not in LAYER_CONFIGS:
            return BoundGuider(self.scale, self._made({}), denoiser)
        layers = resolve_layers(denoiser, self.layers or "auto")
        return BoundGuider(
            self.scale,
            self._made({LAYER_CONFIGS[self.guider][0]: [self._layer_config(*entry) for entry in layers.items()]}),
            denoiser,
        )

    def _made(self, layers: Mapping[str, Any]) -> Any:
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # diffusers warns that guiders are experimental whenever one is created
        try:
            return self.cls(guidance_scale=self.scale, **layers, **self.settings)
        except (TypeError, ValueError, ImportError) as error:
            raise ComposerError("guidance.settings", None, f"{self.guider} refuses them: {error}") from None
        finally:
            logging.set_verbosity(level)

    def _layer_config(self, stack: str, indices: list[int]) -> Any:
        _, config, how = LAYER_CONFIGS[self.guider]
        return config(indices=indices, fqn=stack, **how)


class BoundGuider(Guidance):
    """A guider in one run: it keeps state, and puts hooks on the model for some of its forwards."""

    def __init__(self, scale: float, guider: Any, denoiser: nn.Module) -> None:
        self.scale, self.guider, self.denoiser = scale, guider, denoiser

    def prediction(self, step: Step, predict: Callable[[Step], Branches]) -> Tensor:
        guider: Any = self.guider  # diffusers annotates tensors where it passes on whatever it got
        if isinstance(self.guider, Smoothed) and step.latents.shape[-1] != step.latents.shape[-2]:
            raise ComposerError("guidance", "seg", "blurs as if every image were square: give height and width alike")
        positive, negative = step.conditioning.positive, step.conditioning.negative
        guider.guidance_scale = step.guidance_scale if negative is not None else 1.0
        guider.set_state(step=step.index, num_inference_steps=step.total, timestep=step.timestep)
        batches = guider.prepare_inputs({"embedding": (positive, negative)})
        for batch in batches:
            guider.prepare_models(self.denoiser)
            try:
                batch.noise_pred = predict(replace(step, conditioning=Conditioning(positive=batch.embedding))).positive
            finally:
                guider.cleanup_models(self.denoiser)
        return guider(batches).pred


def resolve_layers(denoiser: nn.Module, layers: str | Sequence[str]) -> dict[str, list[int]]:
    """Group transformer blocks by the module list that holds them.

    Args:
        denoiser: UNet or transformer.
        layers: Names of blocks; `auto` for those of a UNet's middle block, or the middle one of a transformer.

    Returns:
        Name of a module list → indices in it.

    Raises:
        ComposerError: The model has no such block.
    """
    modules = {name for name, _ in denoiser.named_modules()}
    blocks = sorted(
        (name for name in modules if _is_block(name)),
        key=lambda name: [(not p.isdigit(), p.zfill(4)) for p in name.split(".")],
    )
    if layers == "auto":
        middle = [name for name in blocks if name.startswith("mid_block.")]
        transformer = [name for name in blocks if name.startswith("transformer_blocks.")]
        layers = middle or transformer[len(transformer) // 2 : len(transformer) // 2 + 1]
    indices: dict[str, list[int]] = {}
    for name in layers:
        if name not in blocks:
            raise ComposerError(
                "guidance.layers",
                name,
                f"the model has no such transformer block.{suggest(str(name), blocks)}",
                blocks[:6],
            )
        stack, _, index = name.rpartition(".")
        indices.setdefault(stack, []).append(int(index))
    return indices


def _is_block(name: str) -> bool:
    stack, _, index = name.rpartition(".")
    return index.isdigit() and stack.rpartition(".")[2].endswith("transformer_blocks")
