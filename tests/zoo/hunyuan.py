"""Videos of HunyuanVideo and its kin."""

from __future__ import annotations

from typing import Any

import diffusers as d
from transformers import (
    ByT5Tokenizer,
    LlamaConfig,
    LlamaModel,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from composer.testing import parts
from zoo.entry import arguments, video
from zoo.flow_images import FlowEuler
from zoo.inputs import SMALL, TEXT, photo
from zoo.text import QWEN, qwen_tokenizer, qwen_vl
from zoo.unet_images import PROMPT, changed

#: Without the long instruction that real prompts go into.
PLAIN = {"template": "{}", "crop_start": 0}


def hunyuan15() -> d.HunyuanVideo15Pipeline:
    """With a guider of diffusers among its components."""
    qwen_text = qwen_vl(layers=4).model.language_model
    return d.HunyuanVideo15Pipeline(
        scheduler=FlowEuler(shift=7.0), text_encoder=qwen_text, tokenizer=qwen_tokenizer(), text_encoder_2=parts.t5(32),
        tokenizer_2=ByT5Tokenizer(), guider=d.ClassifierFreeGuidance(guidance_scale=3.0),
        vae=d.AutoencoderKLHunyuanVideo15(
            latent_channels=4, block_out_channels=(16, 16), layers_per_block=1, spatial_compression_ratio=4,
            temporal_compression_ratio=2,
            downsample_match_channel=False, upsample_match_channel=False,
        ),
        transformer=d.HunyuanVideo15Transformer3DModel(
            in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
            num_refiner_layers=1, mlp_ratio=2.0,
            text_embed_dim=16, text_embed_2_dim=32, image_embed_dim=12, rope_axes_dim=(2, 2, 4), target_size=16,
            task_type="t2v",
        ),
    )  # fmt: skip


def hunyuan_parts(cls: type = d.HunyuanVideoTransformer3DModel, **more: Any) -> dict[str, Any]:
    llama = LlamaConfig(**QWEN, num_hidden_layers=3, head_dim=8, pad_token_id=0)
    return {
        "scheduler": FlowEuler(shift=7.0), "text_encoder": LlamaModel(llama), "tokenizer": qwen_tokenizer(256),
        "text_encoder_2": parts.clip(), "tokenizer_2": parts.clip_tokenizer(),
        "vae": d.AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
            scaling_factor=0.476986,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4, up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        ),
        "transformer": cls(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1, guidance_embeds=True, text_embed_dim=16, pooled_projection_dim=parts.WIDTH,
            rope_axes_dim=(2, 4, 4),
            **{"patch_size": 1} | more,
        ),
    }  # fmt: skip


def hunyuan() -> d.HunyuanVideoPipeline:
    return d.HunyuanVideoPipeline(**hunyuan_parts())


def skyreels_image() -> d.HunyuanSkyreelsImageToVideoPipeline:
    base = hunyuan_parts()
    base["transformer"] = changed(base["transformer"], in_channels=8)
    return d.HunyuanSkyreelsImageToVideoPipeline(**base)


def framepack() -> d.HunyuanVideoFramepackPipeline:
    """Generates sections of frames in several loops, the last one first."""
    base = hunyuan_parts(
        d.HunyuanVideoFramepackTransformer3DModel,
        patch_size=2,
        has_image_proj=True,
        image_proj_dim=16,
        has_clean_x_embedder=True,
    )
    siglip = SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    return d.HunyuanVideoFramepackPipeline(
        **base,
        image_encoder=SiglipVisionModel(siglip),
        feature_extractor=SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    )


ENTRIES = {
    "hunyuan15": video(hunyuan15, arguments(**PROMPT, **SMALL, num_frames=5)),
    "hunyuan_video": video(hunyuan, arguments(**TEXT, **SMALL, num_frames=5, prompt_template=dict(PLAIN))),
    "hunyuan_skyreels_image2video": video(
        skyreels_image, arguments(**TEXT, **SMALL, num_frames=5, prompt_template=dict(PLAIN), image=photo(32))
    ),
    "framepack": video(
        framepack,
        arguments(**TEXT, **SMALL, num_frames=9, latent_window_size=3, prompt_template=dict(PLAIN), image=photo(32)),
    ),
}
