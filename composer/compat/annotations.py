"""diffusers' models and pipelines, where annotations are narrower than what they take or wider than what they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
    from diffusers.models.modeling_outputs import AutoencoderKLOutput
    from torch import FloatTensor, Tensor

T = TypeVar("T")


def untyped(constructor: Callable[..., T]) -> Callable[..., T]:
    """Return a constructor as one that takes any arguments; type checkers still know what it returns.

    diffusers annotates tuples of any length as ``tuple[int]``, components that can be None as if they could not, and
    schedulers as ``KarrasDiffusionSchedulers``, an enumeration of names and not a class of schedulers.

    Args:
        constructor: The class.
    """
    return constructor


def latent_distribution(vae: AutoencoderKL, pixels: Tensor) -> DiagonalGaussianDistribution:
    """Encode images. diffusers annotates the result as a tuple as well, which only ``return_dict=False`` gives.

    Args:
        vae: The autoencoder.
        pixels: `(B, 3, H, W)`, in `[-1, 1]`.

    Returns:
        Distribution of latents `(B, C, H/f, W/f)` in the scale of the VAE.
    """
    return cast("AutoencoderKLOutput", vae.encode(pixels)).latent_dist


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode latents. diffusers annotates latents as a ``FloatTensor``, a class that no tensor is of, and so the
    result.

    Args:
        vae: The autoencoder.
        latents: `(B, C, H/f, W/f)`, in the scale of the VAE.

    Returns:
        Images `(B, 3, H, W)`, in `[-1, 1]` where the VAE is exact.
    """
    decoded = vae.decode(cast("FloatTensor", latents))
    return cast("DecoderOutput", decoded).sample
