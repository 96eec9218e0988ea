"""Components of the tiny pipelines with random weights: text encoders, tokenizers, VAEs, a safety checker."""

from __future__ import annotations

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from composer.compat.annotations import untyped

WIDTH = 32  # of hidden states


def clip_tokenizer(length: int = 77) -> CLIPTokenizer:
    """Create a byte-level tokenizer without merges, in which every letter is a token.

    Args:
        length: Maximum number of tokens of a prompt.

    Returns:
        The tokenizer, with 514 tokens.
    """
    from composer.tiny.tokenizer import bytes_to_unicode

    alphabet = bytes_to_unicode()
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=length)


def clip() -> CLIPTextModel:
    """Create a text encoder as SD's.

    Returns:
        A model with hidden states of `WIDTH`.
    """
    return CLIPTextModel(_clip_config()).eval()


def projecting_clip() -> CLIPTextModelWithProjection:
    """Create a text encoder with a pooled output, as SDXL's second and both of SD3's.

    Returns:
        A model with hidden states and a projection of `WIDTH`.
    """
    return CLIPTextModelWithProjection(_clip_config()).eval()


def _clip_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, projection_dim=WIDTH, bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip


def t5(width: int) -> T5EncoderModel:
    """Create a T5 encoder.

    Args:
        width: Width of its hidden states.

    Returns:
        The model, with one layer.
    """
    return T5EncoderModel(T5Config(vocab_size=300, d_model=width, d_kv=8, d_ff=37, num_layers=1, num_heads=4)).eval()


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """Create a tokenizer over single letters that ends prompts with `</s>`, as T5's does.

    Returns:
        The tokenizer, for at most 48 tokens.
    """
    tokens = ["<pad>", "</s>", "<unk>", *(chr(i) for i in range(32, 127))]
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=48
    )


def vae(latent_channels: int, channels: tuple[int, ...], **more: object) -> AutoencoderKL:
    """Create a VAE that halves the size between its levels.

    Args:
        latent_channels: Number of channels of the latents.
        channels: Number of channels of each level.
        more: Further arguments of `AutoencoderKL`.

    Returns:
        The model.
    """
    levels = len(channels)
    model = untyped(AutoencoderKL)(
        in_channels=3, out_channels=3, latent_channels=latent_channels, block_out_channels=channels, layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, **more,
    )  # fmt: skip
    return model.eval()


def safety_checker_of() -> StableDiffusionSafetyChecker:
    """Create a safety checker with random weights: what it flags is meaningless, but its use can be observed.

    Returns:
        The model, for images of 32 × 32 pixels.
    """
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    return StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=WIDTH)).eval()
