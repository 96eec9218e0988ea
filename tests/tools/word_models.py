"""Tiny models with random weights that transformers saves: for masks by words, captions and prompts."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    SwinConfig,
    ViTImageProcessor,
)

from composer.testing.parts import clip_tokenizer, t5_tokenizer

TEXT = {
    "vocab_size": 514, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4,
    "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
#: Answers with what the user wrote; the system's part is before it.
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}</s>{% endfor %}"

#: The same for messages with images.
CHAT = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}</s>{% endfor %}"
)


def clipseg(folder: Path) -> Path:
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config={**TEXT, "max_position_embeddings": 77}, vision_config=VISION, projection_dim=32,
        extract_layers=[1], reduce_dim=16, decoder_intermediate_size=37, decoder_num_attention_heads=4,
        initializer_factor=20.0,
    )  # fmt: skip
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPSegProcessor(ViTImageProcessor(size=size), clip_tokenizer()).save_pretrained(folder)
    return folder


def owlv2(folder: Path) -> Path:
    torch.manual_seed(0)
    text = {**TEXT, "max_position_embeddings": 16}
    config = Owlv2Config(text_config=text, vision_config=VISION, projection_dim=32)
    model = Owlv2ForObjectDetection(config)
    for weight in model.box_head.dense2.parameters():
        weight.data.zero_()  # boxes are the squares of a grid
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    Owlv2Processor(Owlv2ImageProcessor(size=size), clip_tokenizer(16)).save_pretrained(folder)
    return folder


def grounding_dino(folder: Path) -> Path:
    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    bert = {
        "model_type": "bert", "vocab_size": 130, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1,
        "num_attention_heads": 4, "max_position_embeddings": 64,
    }  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=64, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=37,
        decoder_ffn_dim=37, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=6, max_text_len=64,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    letters = [*map(chr, range(33, 127)), *(f"##{chr(letter)}" for letter in range(97, 123))]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(tokens)})
    size = {"height": 64, "width": 64}
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    torch.manual_seed(0)
    text = {
        "vocab_size": 98, "hidden_size": 32, "encoder_hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 64, "bos_token_id": 5, "eos_token_id": 1,
        "sep_token_id": 1, "pad_token_id": 0, "initializer_range": 0.5,
    }  # fmt: skip
    config = BlipConfig(text_config=text, vision_config={**VISION, "initializer_range": 0.5}, projection_dim=32)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BlipProcessor(BlipImageProcessor(size=size), t5_tokenizer()).save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    """A model that follows instructions about images."""
    torch.manual_seed(0)
    tokenizer = t5_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.model_max_length = 512
    text = {
        "model_type": "llama", "vocab_size": 99, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1,
        "num_attention_heads": 4, "max_position_embeddings": 512, "bos_token_id": 5, "eos_token_id": 1,
        "pad_token_id": 0, "initializer_range": 0.5,
    }  # fmt: skip
    config = LlavaConfig(
        vision_config={**VISION, "model_type": "clip_vision_model"}, text_config=text, vision_feature_layer=-1,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}), tokenizer, patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=CHAT,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def llama(folder: Path, template: str | None = TEMPLATE) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=98, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, bos_token_id=5, eos_token_id=1, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = t5_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder
