"""A tiny CLIP model with random weights, with its processor, in transformers' format."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

from composer.testing.parts import clip_tokenizer


def save_clip(folder: Path) -> Path:
    """Save the model; images are 32 x 32 pixels, and every letter is a token."""
    text = dict(vocab_size=514, bos_token_id=512, eos_token_id=513, pad_token_id=513, max_position_embeddings=77)
    sides = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4)
    vision = {**sides, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPConfig(text_config={**sides, **text}, vision_config=vision, projection_dim=16)
        CLIPModel(config).save_pretrained(folder)
    size = {"shortest_edge": 32}
    images = CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=clip_tokenizer()).save_pretrained(folder)
    return folder
