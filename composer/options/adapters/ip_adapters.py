"""``ip_adapter=FILE``: images that condition a run beside the prompt. https://arxiv.org/abs/2308.06721"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request
from composer.checkpoints.fingerprints import directory_fingerprint, file_sha256, image_fingerprint
from composer.checkpoints.ip_adapter_names import diffusers_name
from composer.checks.ip_adapters import ImagePrompt, blocks_of
from composer.compat.ip_adapter import load_into_unet
from composer.config.adapter_nodes import IP_ADAPTER
from composer.errors import ComposerError
from composer.families.image_embeds import IMAGE_EMBEDS
from composer.options.accel.hooking import patched_forward
from composer.options.base import ModelOption, OptionContext
from composer.sampling.embedding_cache import cached

_ABSENT = object()


class IpAdapters(ModelOption):
    """All IP-Adapters of a run, for UNets.

    Args:
        prompts: IP-Adapters with their images, by name.

    Attributes:
        denoiser: Component that they are loaded into.
    """

    group, name = "ip_adapter", "ip_adapter"
    denoiser: ClassVar[str] = "unet"
    base_only = True
    #: Options that set other processors of attention, or convert the denoiser to programs of other inputs.
    excludes: ClassVar[frozenset[str]] = frozenset(
        {"memory.attention_slicing", "accel.xformers", "accel.fused_qkv", "accel.onnx", "accel.openvino"}
    )

    def __init__(self, prompts: Mapping[str, ImagePrompt]) -> None:
        self.prompts = dict(prompts)

    def refuse(self, reason: str, allowed: Any = ()) -> None:
        name, prompt = next(iter(self.prompts.items()))
        raise ComposerError(IP_ADAPTER.key_of(name), prompt.path.name, reason, allowed)

    def expand(self, context: OptionContext) -> tuple[Mapping[str, ModelOption], str | None]:
        refined = context.checked.refiner is not None
        note = "ip_adapter: conditions the base model, and the refiner runs without it" if refined else None
        return {"ip_adapter.ip_adapter": self}, note

    def attach_key(self) -> Any:
        return [(file_sha256(of.path), directory_fingerprint(of.encoder)) for of in self.prompts.values()]

    def embedding_key(self) -> Any:
        return None  # text encoders are as they are

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        """Load all files; diffusers' own unloading would leave other processors than there were."""
        model = getattr(pipe, self.denoiser)
        parts = {name: vars(pipe).get(name) for name in ("image_encoder", "feature_extractor")}
        processors = dict(model.attn_processors)
        former = [(of, name, getattr(of, name, _ABSENT)) for of, name in self.changed(model)]
        try:
            self._load(model)
            for name, processor in model.attn_processors.items():
                if name in processors and not hasattr(processor, "to_k_ip"):
                    model.get_submodule(name.removesuffix(".processor")).set_processor(processors[name])
            # past diffusers' setter, which would write to the shared config
            vars(pipe).update(self.encoder(pipe, model))
            yield
        finally:
            vars(pipe).update(parts)
            for of, name, value in former:  # first: the projection of some files has processors of its own
                _put_back(of, name, value)
            model.set_attn_processor(dict(processors))

    def changed(self, model: Any) -> list[tuple[Any, str]]:
        """Attributes of a denoiser that loading sets: the object, and the name."""
        return [(model, "encoder_hid_proj"), (model.config, "encoder_hid_dim_type")]

    def add_layers(self, model: Any, files: list[dict[str, dict[str, Tensor]]]) -> None:
        """Add the layers of all files to a denoiser."""
        load_into_unet(model, files)

    def encoder(self, pipe: Any, model: Any) -> dict[str, Any]:
        """The image encoder in the dtype of the denoiser, and what prepares its input, as diffusers makes them."""
        return clip_encoder(pipe, model, next(iter(self.prompts.values())))

    @contextmanager
    def active_for(self, pipe: Any, request: Request) -> Iterator[None]:
        pipe.set_ip_adapter_scale([_scales(of, pipe.unet.config) for of in self.prompts.values()])
        if not any(of.masks for of in self.prompts.values()):
            yield
            return
        masks = [_masks(of, request, pipe) for of in self.prompts.values()]

        def masked(forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **given: Any) -> Any:
                more = {**(given.pop("cross_attention_kwargs", None) or {}), "ip_adapter_masks": masks}
                return forward(*args, **given, cross_attention_kwargs=more)

            return run

        with patched_forward(pipe.unet, masked):
            yield

    def condition(self, pipe: Any, conditioning: Conditioning, request: Request) -> Conditioning:
        images = [list(of.images) for of in self.prompts.values()]

        def key() -> Any:
            return "ip_adapter", *(tuple(map(image_fingerprint, of)) for of in images), request.batch

        def embed() -> dict[str, Tensor]:
            pairs = pipe.prepare_ip_adapter_image_embeds(images, None, pipe.unet.device, request.batch, True)
            return {f"{IMAGE_EMBEDS}.{index}": pair for index, pair in enumerate(pairs)}

        pairs = cached(pipe.image_encoder, key, embed)
        negative, positive = ({name: pair.chunk(2)[half] for name, pair in pairs.items()} for half in (0, 1))
        return replace(
            conditioning,
            positive=with_images(conditioning.require_positive(), positive),
            negative=conditioning.negative and with_images(conditioning.negative, negative),
        )

    def _load(self, model: Any) -> None:
        """Load all files, and refuse one that has weights for other layers than the model has."""
        try:
            self.add_layers(model, [_tensors(of) for of in self.prompts.values()])
        except Exception as error:  # of many kinds: missing tensors, wrong shapes
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            self.refuse(f"can't be applied to this model, or lacks tensors: {why}")
        count = sum(hasattr(processor, "to_k_ip") for processor in model.attn_processors.values())
        for name, of in self.prompts.items():
            if count != of.layers:
                reason = f"has weights for {of.layers} layers of cross-attention, and the model has {count}"
                raise ComposerError(IP_ADAPTER.key_of(name), of.path.name, f"{reason}: it is for another model")

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe all IP-Adapters for the record: name → settings, SHA-256 and fingerprints of images."""
        return {
            name or "ip_adapter": {
                "file": of.spec.file,
                "revision": of.spec.revision,
                "sha256": file_sha256(of.path),
                "encoder": directory_fingerprint(of.encoder),
                "images": [image_fingerprint(image) for image in of.images],
                "masks": [image_fingerprint(mask) for mask in of.masks],
                "scale": of.spec.scale,
                "scales": dict(of.spec.scales),
            }
            for name, of in self.prompts.items()
        }


def with_images(embedding: Embedding, images: Mapping[str, Tensor]) -> Embedding:
    """Return an embedding with those of images beside it.

    Args:
        embedding: Embedding of the texts of a branch.
        images: Embeddings of images by name.
    """
    moved = {name: tensor.to(embedding.hidden) for name, tensor in images.items()}
    return replace(embedding, extra={**embedding.extra, **moved})


def _tensors(prompt: ImagePrompt) -> dict[str, dict[str, Tensor]]:
    """Tensors of a file by their kind, as diffusers takes them."""
    kinds: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_file(prompt.path).items():
        part, rest = diffusers_name(name)
        kinds[str(part)][rest] = tensor
    return kinds


def clip_encoder(pipe: Any, model: Any, prompt: ImagePrompt) -> dict[str, Any]:
    """Load a CLIP image encoder.

    Args:
        pipe: The pipeline, whose processor of images is used if it has one.
        model: The denoiser, whose dtype and device it is given.
        prompt: The IP-Adapter that it is for.

    Returns:
        ``image_encoder`` and ``feature_extractor``.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    loaded = CLIPVisionModelWithProjection.from_pretrained(prompt.encoder, dtype=model.dtype)
    encoder: Any = loaded
    encoder.to(model.device)
    size = encoder.config.image_size
    processor = pipe.feature_extractor or CLIPImageProcessor(size=size, crop_size=size)
    return {"image_encoder": encoder.eval(), "feature_extractor": processor}


def _put_back(of: Any, name: str, value: Any) -> None:
    """Set an attribute to what it was; deleted first, as a module keeps None apart from modules."""
    if hasattr(of, name):
        delattr(of, name)
    if value is not _ABSENT:
        setattr(of, name, value)


def _scales(prompt: ImagePrompt, unet: Mapping[str, Any]) -> Any:
    """Scale of an IP-Adapter as diffusers takes it: one number, or one for each block."""
    spec, scales = prompt.spec, prompt.spec.scales
    if not scales:
        return spec.scale
    parts: dict[str, Any] = {"mid": scales.get("mid", spec.scale)}
    for part in ("down", "up"):
        of_part = scales.get(part, spec.scale)
        named = of_part if isinstance(of_part, Mapping) else dict.fromkeys(blocks_of(unet, part), of_part)
        parts[part] = {block: named.get(block, spec.scale) for block in blocks_of(unet, part)}
    return parts


def _masks(prompt: ImagePrompt, request: Request, pipe: Any) -> Tensor | None:
    """Masks `(1, images, H, W)` at the size of the result."""
    from diffusers.image_processor import IPAdapterMaskProcessor

    if not prompt.masks:
        return None
    masks = IPAdapterMaskProcessor().preprocess(list(prompt.masks), height=request.height, width=request.width)
    return masks.reshape(1, len(prompt.masks), *masks.shape[-2:])
