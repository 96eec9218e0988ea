"""Tokenizers, processors and text encoders that need no download; those of CLIP and T5 are in
`composer.testing.parts`.
"""

from __future__ import annotations

from typing import Any

from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma2Config,
    Gemma2Model,
    PaddleOCRVLProcessor,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3Config,
    UMT5Config,
    UMT5EncoderModel,
)

from composer.tiny.tokenizer import bytes_to_unicode

#: Special tokens of Qwen's tokenizers.
MARKS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|vision_start|>", "<|image_pad|>",
    "<|vision_end|>", "<|video_pad|>",
)  # fmt: skip
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% else %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
VOCABULARY = 256 + len(MARKS)
#: Of a transformers language model that is Qwen's in all but size.
QWEN: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # fmt: skip


def qwen_tokenizer(length: int | None = 131072, **more: Any) -> Qwen2Tokenizer:
    """Byte-level, without merges, and with a chat template. length: None where it does not say how long a prompt may
    be.
    """
    vocabulary = {token: i for i, token in enumerate((*MARKS, *bytes_to_unicode()))}
    if length is not None:
        more["model_max_length"] = length
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], chat_template=CHAT, extra_special_tokens=list(MARKS[1:]), **more)


def glm_tokenizer(side: str = "left") -> Qwen2Tokenizer:
    """Puts two tokens before each text, as that of GLM-4 does (Gemma's one): an empty text has tokens too."""
    tokenizer = qwen_tokenizer(padding_side=side)
    first = [(mark, MARKS.index(mark)) for mark in MARKS[1:3]]
    names = [mark for mark, _ in first]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=[*names, "$A"], special_tokens=first)
    return tokenizer


def qwen_vl(width: int = 16, layers: int = 2) -> Qwen2_5_VLForConditionalGeneration:
    text = {
        **QWEN, "hidden_size": width, "num_hidden_layers": layers,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2], "rope_type": "default"},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": width,
        "fullatt_block_indexes": [0],
    }  # fmt: skip
    ids = {f"{name}_token_id": MARKS.index(f"<|{mark}|>") for name, mark in (
        ("vision_start", "vision_start"), ("vision_end", "vision_end"), ("image", "image_pad"), ("video", "video_pad")
    )}  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen2_vl() -> Qwen2VLForConditionalGeneration:
    text = {
        **QWEN, "num_hidden_layers": 2,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2], "rope_type": "default"},
    }  # fmt: skip
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 1}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision))


def qwen_vl_processor() -> PaddleOCRVLProcessor:
    """Scales images to 28 × 28 pixels: one token. transformers makes Qwen's own processor only with torchvision, for
    its videos; this one does the same without them.
    """
    images = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=28 * 28)
    tokenizer = qwen_tokenizer(model_specific_special_tokens={"image_token": "<|image_pad|>"})
    return PaddleOCRVLProcessor(image_processor=images, tokenizer=tokenizer, chat_template=CHAT)


def qwen3(cls: type[PreTrainedModel], layers: int = 2, width: int = 16) -> Any:
    config = Qwen3Config(**QWEN | {"hidden_size": width}, num_hidden_layers=layers, head_dim=8)
    return cls(config)


def gemma2(width: int = 16) -> Gemma2Model:
    text = QWEN | {"hidden_size": width}
    return Gemma2Model(Gemma2Config(**text, num_hidden_layers=2, head_dim=8, pad_token_id=0))


def umt5(width: int = 32) -> UMT5EncoderModel:
    return UMT5EncoderModel(
        UMT5Config(vocab_size=VOCABULARY, d_model=width, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    )
