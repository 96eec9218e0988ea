"""Videos of CogVideoX, Mochi, Sana and others, and those of Stable Diffusion's time."""

from __future__ import annotations

from typing import Any

import diffusers as d

from composer.testing import parts, pipelines
from zoo.dit_images import kandinsky5_transformer
from zoo.entry import arguments, of, video
from zoo.flow_images import FlowEuler
from zoo.hunyuan import hunyuan_parts
from zoo.inputs import SMALL, TEXT, clip, photo
from zoo.text import gemma2, qwen2_vl, qwen_tokenizer, qwen_vl, qwen_vl_processor
from zoo.unet_images import PROMPT, SIZE, changed, processor, vision
from zoo.wan import wan, wan_transformer, wan_vae

SANA = {"complex_human_instruction": None, "use_resolution_binning": False}


def text2video_sd(cls: type = d.TextToVideoSDPipeline) -> Any:
    """The text to video of Stable Diffusion's time."""
    unet = d.UNet3DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=parts.WIDTH,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    return of(cls, pipelines.sd(), unet=unet)


def mochi() -> d.MochiPipeline:
    return d.MochiPipeline(
        scheduler=FlowEuler(), text_encoder=parts.t5(32), tokenizer=parts.t5_tokenizer(),
        vae=d.AutoencoderKLMochi(
            latent_channels=12, encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4,
            layers_per_block=(1,) * 5
        ),
        transformer=d.MochiTransformer3DModel(
            num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16, in_channels=12,
            text_embed_dim=32, time_embed_dim=4, max_sequence_length=16,
        ),
    )  # fmt: skip


def cogvideo(cls: type = d.CogVideoXPipeline, in_channels: int = 4, **more: Any) -> Any:
    return cls(
        scheduler=d.CogVideoXDPMScheduler(), text_encoder=parts.t5(32), tokenizer=parts.t5_tokenizer(),
        vae=d.AutoencoderKLCogVideoX(
            latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=2,
            temporal_compression_ratio=4,
            down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        ),
        transformer=d.CogVideoXTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, in_channels=in_channels, out_channels=4, time_embed_dim=4,
            text_embed_dim=32, num_layers=2, sample_width=4, sample_height=4, sample_frames=9, max_text_seq_length=16,
            use_rotary_positional_embeddings=True, **more,
        ),
    )  # fmt: skip


def allegro() -> d.AllegroPipeline:
    """Its VAE decodes in tiles alone, which is switched on after loading: it is no part of a checkpoint."""
    vae = d.AutoencoderKLAllegro(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4,
        down_block_types=("AllegroDownBlock3D",) * 4, up_block_types=("AllegroUpBlock3D",) * 4,
    )  # fmt: skip
    vae.enable_tiling()
    vae.kernel, vae.stride = (8, 32, 32), (4, 16, 16)
    return d.AllegroPipeline(
        scheduler=d.DDIMScheduler(), vae=vae, text_encoder=parts.t5(24), tokenizer=parts.t5_tokenizer(),
        transformer=d.AllegroTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, num_layers=1,
            cross_attention_dim=24, sample_width=8, sample_height=8, sample_frames=8, caption_channels=24,
        ),
    )  # fmt: skip


def latte() -> d.LattePipeline:
    return d.LattePipeline(
        scheduler=d.DDIMScheduler(), vae=parts.vae(4, (8, 8, 8, 8)), text_encoder=parts.t5(32),
        tokenizer=parts.t5_tokenizer(),
        transformer=d.LatteTransformer3DModel(
            sample_size=8, video_length=2, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2,
            caption_channels=32, in_channels=4, cross_attention_dim=16, out_channels=8, attention_bias=True,
            activation_fn="gelu-approximate", num_embeds_ada_norm=1000, norm_type="ada_norm_single",
            norm_elementwise_affine=False, norm_eps=1e-6,
        ),
    )  # fmt: skip


def animatediff(cls: type = d.AnimateDiffPipeline, **more: Any) -> Any:
    base = pipelines.sd()
    unet = changed(
        base.unet,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    adapter = d.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_norm_num_groups=4, motion_num_attention_heads=4
    )
    return of(cls, base, unet=unet, motion_adapter=adapter, **more)


def svd() -> d.StableVideoDiffusionPipeline:
    return d.StableVideoDiffusionPipeline(
        image_encoder=vision(224), feature_extractor=processor(224),
        scheduler=d.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
            sigma_max=700.0, sigma_min=0.002, steps_offset=1, timestep_spacing="leading", timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        vae=d.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4,
            layers_per_block=1
        ),
        unet=d.UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 32), layers_per_block=1, sample_size=16, cross_attention_dim=32,
            num_attention_heads=4,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            projection_class_embeddings_input_dim=96,
            addition_time_embed_dim=32,
        ),
    )  # fmt: skip


def sana_video(cls: type = d.SanaVideoPipeline) -> Any:
    flow = d.DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return cls(
        scheduler=flow if cls is d.SanaVideoPipeline else FlowEuler(), tokenizer=qwen_tokenizer(),
        text_encoder=gemma2(), vae=wan_vae(),
        transformer=d.SanaVideoTransformer3DModel(
            in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=12, num_layers=2,
            num_cross_attention_heads=2, cross_attention_head_dim=12, cross_attention_dim=24, caption_channels=16,
            sample_size=8, rope_max_seq_len=32,
        ),
    )  # fmt: skip


def skyreels(cls: type = d.SkyReelsV2Pipeline) -> Any:
    return wan(
        cls, transformer=wan_transformer(d.SkyReelsV2Transformer3DModel, in_channels=16, out_channels=16),
        scheduler=d.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0),
    )  # fmt: skip


def easyanimate() -> d.EasyAnimatePipeline:
    return d.EasyAnimatePipeline(
        scheduler=FlowEuler(), tokenizer=qwen_tokenizer(), text_encoder=qwen2_vl(),
        vae=d.AutoencoderKLMagvit(
            latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=2,
            spatial_group_norm=False,
            down_block_types=("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
            up_block_types=("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
        ),
        transformer=d.EasyAnimateTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=4,
            text_embed_dim=16, num_layers=1, sample_width=16, sample_height=16, patch_size=2,
        ),
    )  # fmt: skip


def kandinsky5_video() -> d.Kandinsky5T2VPipeline:
    base = hunyuan_parts()
    return d.Kandinsky5T2VPipeline(
        vae=changed(base["vae"], latent_channels=16), text_encoder=qwen_vl(), tokenizer=qwen_vl_processor(),
        text_encoder_2=parts.clip(), tokenizer_2=parts.clip_tokenizer(), scheduler=FlowEuler(shift=3.0),
        transformer=kandinsky5_transformer(),
    )  # fmt: skip


ENTRIES = {
    "video": video(text2video_sd, arguments(**PROMPT, **SIZE, num_frames=3)),
    "video2video_sd": video(
        lambda: text2video_sd(d.VideoToVideoSDPipeline),
        arguments(one_generator=True, **PROMPT, video=clip(3, 64), strength=0.8),
    ),
    "mochi": video(mochi, arguments(**TEXT, **SMALL, num_frames=7)),
    "cogvideox": video(cogvideo, arguments(**TEXT, **SMALL, num_frames=9)),
    "cogvideox_image2video": video(
        lambda: cogvideo(d.CogVideoXImageToVideoPipeline, in_channels=8, use_learned_positional_embeddings=True),
        arguments(**TEXT, **SMALL, num_frames=9, image=photo(32)),
    ),
    "cogvideox_video2video": video(
        lambda: cogvideo(d.CogVideoXVideoToVideoPipeline), arguments(**TEXT, **SMALL, video=clip(9), strength=0.8)
    ),
    "allegro": video(allegro, arguments(**TEXT, **SMALL, num_frames=8, clean_caption=False), loads=False),
    "latte": video(latte, arguments(**PROMPT, **SMALL, video_length=2, clean_caption=False)),
    "animatediff": video(animatediff, arguments(**PROMPT, **SIZE, num_frames=2)),
    "animatediff_video2video": video(
        lambda: animatediff(d.AnimateDiffVideoToVideoPipeline), arguments(**PROMPT, video=clip(2, 64), strength=0.8)
    ),
    "svd": video(svd, arguments(**SMALL, image=photo(32), num_frames=2, output_type="np")),
    "sana_video": video(sana_video, arguments(**TEXT, **SMALL, **SANA, frames=5)),
    "sana_image2video": video(
        lambda: sana_video(d.SanaImageToVideoPipeline), arguments(**TEXT, **SMALL, **SANA, frames=5, image=photo(32))
    ),
    "skyreels": video(skyreels, arguments(**TEXT, **SMALL, num_frames=5), needs="ftfy"),
    "skyreels_forcing": video(
        lambda: skyreels(d.SkyReelsV2DiffusionForcingPipeline), arguments(**TEXT, **SMALL, num_frames=9), needs="ftfy"
    ),
    "easyanimate": video(easyanimate, arguments(**PROMPT, **SMALL, num_frames=5, negative_prompt="bad")),
    "kandinsky5_video": video(kandinsky5_video, arguments(**TEXT, **SIZE, num_frames=5)),
}
