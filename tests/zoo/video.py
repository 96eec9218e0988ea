"""Videos: Wan and its kin, LTX, Hunyuan, CogVideoX, and those of Stable Diffusion's time."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers as d

from composer.testing import parts, pipelines
from zoo.entry import arguments, of, video
from zoo.inputs import clip, masks
from zoo.text import qwen_tokenizer, umt5
from zoo.unet_images import PROMPT, SIZE

SMALL = {"height": 32, "width": 32}
TEXT = {"prompt": "a cat", "output_type": "np", "max_sequence_length": 16}


def wan_vae(**more: Any) -> d.AutoencoderKLWan:
    return d.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, **more)


def wan_transformer(cls: type = d.WanTransformer3DModel, **more: Any) -> Any:
    plain = {
        "num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32, "num_layers": 2,
        "rope_max_seq_len": 32,
    }  # fmt: skip
    return cls(**plain | more)


def wan(cls: type = d.WanPipeline, **changes: Any) -> Any:
    """Wan, which makes videos."""
    plain = {
        "scheduler": d.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        "tokenizer": qwen_tokenizer(), "vae": wan_vae(), "text_encoder": umt5(),
    }  # fmt: skip
    changes.setdefault("transformer", wan_transformer())
    if "transformer_2" in inspect.signature(cls.__init__).parameters:
        changes.setdefault("transformer_2", None)
    return cls(**plain | changes)


def wan_two_experts() -> d.WanPipeline:
    """Wan 2.2: one transformer for the noisy half of the steps, another one for the rest."""
    return wan(transformer_2=wan_transformer(), boundary_ratio=0.875)


def wan_vace() -> d.WanVACEPipeline:
    return wan(
        d.WanVACEPipeline,
        transformer=wan_transformer(d.WanVACETransformer3DModel, vace_layers=[0, 1], vace_in_channels=96),
    )


def text2video_sd(cls: type = d.TextToVideoSDPipeline) -> Any:
    """The text to video of Stable Diffusion's time."""
    unet = d.UNet3DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=parts.WIDTH,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    return of(cls, pipelines.sd(), unet=unet)


ENTRIES = {
    "wan": video(wan, arguments(**TEXT, **SMALL, num_frames=5, negative_prompt="bad")),
    "wan_two_experts": video(wan_two_experts, arguments(**TEXT, **SMALL, num_frames=5, guidance_scale_2=3.0)),
    "wan_vace": video(
        wan_vace,
        arguments(one_generator=True, **TEXT, **SMALL, num_frames=5, video=clip(5), mask=masks(5)),
        needs="ftfy",
    ),
    "wan_video2video": video(
        lambda: wan(d.WanVideoToVideoPipeline), arguments(**TEXT, **SMALL, video=clip(5), strength=0.8), needs="ftfy"
    ),
    "video": video(text2video_sd, arguments(**PROMPT, **SIZE, num_frames=3)),
    "video2video_sd": video(
        lambda: text2video_sd(d.VideoToVideoSDPipeline),
        arguments(one_generator=True, **PROMPT, video=clip(3, 64), strength=0.8),
    ),
}
