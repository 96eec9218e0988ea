"""The interface between a model layout and everything else.

A family knows how its models encode a prompt, predict and decode. It knows no task, no guidance and no callback.
Latents are opaque outside of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.base import Conditioning, Step, StepCallback
from composer.callbacks.request import Request
from composer.families.settings import Decoded, FamilySettings
from composer.sampling.guidance import Branches

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import numpy as np
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

    from composer.families.given_frames import GivenFrames


class Family(ABC):
    """A model layout: how its models encode, predict and decode.

    Instances are frozen: nothing can be set on them after construction, so no run finds state of an earlier one.

    Args:
        pipe: The diffusers pipeline that owns the components, shared between runs.
        settings: Settings of the run; ``None`` for the defaults.

    Attributes:
        pipe: As passed. diffusers registers components at run time, so type checkers see none of them: ``Any``.
        settings: As passed, or the defaults.
        reads_long_prompts: Whether prompts of any length can be read, in windows.
        reads_weights: Whether words of prompts can have weights, which needs `token_positions`.
        inpaints_contiguous: Whether the latents of an image to inpaint are made contiguous, as in most of diffusers'
            inpainting pipelines; convolutions of the VAE sum in the order of the memory format.
        samples_image_first: Whether pipelines of inpainting models that take a mask sample the image's latents even
            where nothing of them remains, so that the noise is sampled after them.
    """

    reads_long_prompts: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = False
    inpaints_contiguous: ClassVar[bool] = True
    samples_image_first: ClassVar[bool] = False
    pipe: Any
    settings: FamilySettings

    def __init__(self, pipe: Any, settings: FamilySettings | None = None) -> None:
        vars(self).update(pipe=pipe, settings=settings or FamilySettings())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be set: pass FamilySettings to the constructor")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} can't be deleted")

    @property
    @abstractmethod
    def denoiser_name(self) -> str:
        """Component name of the model that predicts, such as ``"unet"``."""

    @property
    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """Component name → model, for all models of the checkpoint."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device that the models compute on."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Dtype that the denoiser computes in, and so the dtype of latents."""

    @property
    @abstractmethod
    def vae_scale_factor(self) -> int:
        """Pixels per latent along one side; 1 for models of pixels."""

    @property
    @abstractmethod
    def takes_guidance_scale(self) -> bool:
        """Whether the denoiser takes the guidance scale as an input, as distilled models do."""

    @property
    def takes_mask(self) -> bool:
        """Whether the denoiser takes `Step.mask` and `Step.masked_latents` as inputs, as inpainting models do."""
        return False

    def canvas(self, request: Request) -> tuple[int, ...]:
        """Size of a request's results in pixels, for `Step.canvas`.

        Args:
            request: The request.

        Returns:
            `(height, width)`; a family of videos puts the number of frames first.
        """
        return request.height, request.width

    def conditioned_by(self, request: Request) -> Hashable:
        """What embeddings depend on beside texts and size, such as images that the text encoder reads.

        Args:
            request: The request.

        Returns:
            A part of the key under which embeddings are reused.
        """
        return ()

    def callbacks(self, request: Request) -> Mapping[str, StepCallback]:
        """Callbacks that a request needs, before those of the user.

        Args:
            request: The request, with the further arguments that the family takes as `inputs["arguments"]`.

        Returns:
            Callbacks by name; the names contain a dot, which names in a config never do.
        """
        return {}

    @property
    def denoiser(self) -> nn.Module:
        """The model that predicts."""
        return self.modules[self.denoiser_name]

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        """Tokenizer of the text encoder that reads furthest, and its limit in tokens; ``None`` without a limit."""
        return None

    @property
    def token_positions(self) -> tuple[tuple[Any, int], ...]:
        """Tokenizers of the parts of `Embedding.hidden` along its positions, and their lengths.

        The tokenizer is ``None`` where a text encoder is omitted. Empty for families that do not read weights.
        """
        return ()

    @abstractmethod
    def tokens(self, prompt: str) -> list[str]:
        """Split a prompt into tokens.

        Args:
            prompt: One text.

        Returns:
            One string for each position of `Embedding.hidden`, padding included.
        """

    @classmethod
    @abstractmethod
    def set_timesteps(
        cls, scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str
    ) -> None:  # fmt: skip
        """Lay out the timesteps of a fresh scheduler. Needs no weights, so that a plan can show them.

        Args:
            scheduler: A diffusers scheduler; changed in place.
            request: Number of steps, and the size that some schedules depend on.
            vae_scale_factor: Pixels per latent along one side.
            device: Device of the timesteps.
        """

    @abstractmethod
    def encode(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        """Encode the texts of a request.

        Args:
            request: Prompts and negative prompts, one an image.
            do_classifier_free_guidance: Whether to encode the negative prompts too.

        Returns:
            Embeddings with one row for each image of the request.
        """

    @abstractmethod
    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Encode pixels to clean latents.

        Args:
            pixels: `(B, 3, H, W)`, float, in `[-1, 1]`.
            generators: One CPU generator an image, which samples the VAE's distribution.

        Returns:
            Latents in the model's layout and scale.
        """

    def encode_mode(self, pixels: Tensor) -> Tensor:
        """Encode pixels to their likeliest clean latents, for families whose models edit; nothing is sampled.

        Args:
            pixels: `(B, 3, H, W)`, float, in `[-1, 1]`.

        Returns:
            Latents in the model's layout and scale.

        Raises:
            NotImplementedError: The family has no editing models.
        """
        raise NotImplementedError(f"{type(self).__name__} has no editing models")

    @abstractmethod
    def scale_mask(self, mask: Tensor) -> Tensor:
        """Resize a mask to the latents.

        Args:
            mask: `(B or 1, 1, H, W)` over the pixels, in `[0, 1]`.

        Returns:
            The mask in a shape that broadcasts with the latents.
        """

    def mask_channels(self, mask: Tensor) -> Tensor:
        """Prepare a mask as a denoiser that takes one reads it; see `takes_mask`.

        Args:
            mask: `(B or 1, 1, H, W)` over the pixels, in `[0, 1]`.

        Returns:
            What `predict` finds as `Step.inputs["mask_channels"]`; the resized mask by default.
        """
        return self.scale_mask(mask)

    def depth(self, images: Sequence[Image], maps: Sequence[np.ndarray] | None) -> Tensor:
        """Prepare the depth input of a depth model.

        Args:
            images: RGB images, one for each row of the batch.
            maps: Depth maps `(H, W)`, larger is nearer; ``None`` to estimate them from `images`.

        Returns:
            Depth `(B, 1, H/f, W/f)` in `[-1, 1]`, with f pixels per latent.

        Raises:
            NotImplementedError: The family has no depth models.
        """
        raise NotImplementedError(f"{type(self).__name__} has no depth models")

    def references(self, rows: Sequence[Sequence[Image]]) -> Any:
        """Encode the reference images of an editing model.

        Args:
            rows: For each image of the batch its RGB references, of any sizes.

        Returns:
            What `predict` finds as `Step.inputs["references"]`.

        Raises:
            NotImplementedError: The family has no editing models.
        """
        raise NotImplementedError(f"{type(self).__name__} has no editing models")

    def given_frames(self, request: Request, generators: tuple[torch.Generator, ...]) -> GivenFrames:
        """Encode the images that clips begin and end with.

        Args:
            request: Size and frames, with one `inputs["image"]` for each clip, and one `inputs["last_image"]` if set.
            generators: One CPU generator a clip.

        Returns:
            What `predict` finds as `Step.inputs["given_frames"]`.

        Raises:
            NotImplementedError: The family has no models that begin with an image.
        """
        raise NotImplementedError(f"{type(self).__name__} has no models that begin with an image")

    @abstractmethod
    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Sample the first noise.

        Args:
            request: Size in pixels, and the number of images.
            generators: One CPU generator an image.

        Returns:
            Standard normal latents in the model's layout; row i comes from generator i.
        """

    @abstractmethod
    def predict(self, step: Step) -> Branches:
        """Evaluate the denoiser on `step.model_input`.

        Args:
            step: Latents, timestep and conditioning.

        Returns:
            Predictions in the shape of the latents, one for each branch with conditioning.
        """

    @abstractmethod
    def decode(self, latents: Tensor, request: Request) -> Decoded:
        """Decode latents to images. Keeps nothing.

        Args:
            latents: Latents in the model's layout and scale.
            request: Size in pixels.

        Returns:
            RGB images, flags of the safety checker, and notes.

        Raises:
            NonFinite: The pixels are not finite.
        """

    def decode_result(self, latents: Tensor, request: Request, generators: tuple[torch.Generator, ...]) -> Decoded:
        """Decode the last latents of a run; as `decode`, but for VAEs that denoise too and sample noise for that.

        Args:
            latents: Latents in the model's layout and scale.
            request: Size in pixels.
            generators: One CPU generator for each row, as the run left it.

        Returns:
            What `decode` returns.

        Raises:
            NonFinite: The pixels are not finite.
        """
        return self.decode(latents, request)
