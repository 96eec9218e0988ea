"""Videos: Wan and its kin, LTX, Hunyuan, CogVideoX, and those of Stable Diffusion's time."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers as d
from transformers import (
    ByT5Tokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaModel,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from composer.testing import parts, pipelines
from zoo.dit_images import kandinsky5_transformer
from zoo.entry import arguments, of, video
from zoo.flow_images import FlowEuler
from zoo.inputs import clip, masks, photo
from zoo.text import QWEN, gemma2, qwen2_vl, qwen_tokenizer, qwen_vl, qwen_vl_processor, umt5
from zoo.unet_images import PROMPT, SIZE, changed, processor, vision

#: Without the long instruction that real prompts go into.
PLAIN = {"template": "{}", "crop_start": 0}
SANA = {"complex_human_instruction": None, "use_resolution_binning": False}
SMALL = {"height": 32, "width": 32}
TEXT = {"prompt": "a cat", "output_type": "np", "max_sequence_length": 16}


def wan_vae(**more: Any) -> d.AutoencoderKLWan:
    return d.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, **more)


def wan_transformer(cls: type = d.WanTransformer3DModel, **more: Any) -> Any:
    plain = {
        "num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32,
        "num_layers": 2, "rope_max_seq_len": 32,
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


def wan_5b() -> d.WanPipeline:
    """Wan 2.2 of 5B, which takes a timestep for each token."""
    return wan(expand_timesteps=True)


def wan_image(**more: Any) -> d.WanImageToVideoPipeline:
    """Wan 2.1 from a first and a last frame, which a CLIP reads too."""
    transformer = wan_transformer(in_channels=36, out_channels=16, image_dim=parts.WIDTH, **more)
    return wan(d.WanImageToVideoPipeline, transformer=transformer, image_encoder=vision(), image_processor=processor())


def wan_image_two_experts() -> d.WanImageToVideoPipeline:
    """Wan 2.2 from a frame, without a CLIP."""
    experts = {name: wan_transformer(in_channels=36, out_channels=16) for name in ("transformer", "transformer_2")}
    return wan(d.WanImageToVideoPipeline, **experts, boundary_ratio=0.9, image_encoder=None, image_processor=None)


def lucy_edit() -> d.LucyEditPipeline:
    """Edits a video; its transformer looks like Wan's with twice the channels."""
    return wan(d.LucyEditPipeline, transformer=wan_transformer(in_channels=32, out_channels=16))


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


def wan_vace() -> d.WanVACEPipeline:
    return wan(
        d.WanVACEPipeline,
        transformer=wan_transformer(d.WanVACETransformer3DModel, vace_layers=[0, 1], vace_in_channels=96),
    )


def text2video_sd(cls: type = d.TextToVideoSDPipeline) -> Any:
    """The text to video of Stable Diffusion's time."""
    unet = d.UNet3DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=parts.WIDTH,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    return of(cls, pipelines.sd(), unet=unet)


def ltx(cls: type = d.LTXPipeline, **more: Any) -> Any:
    """LTX-Video; `timestep_conditioning=True` makes its later VAEs, which denoise too."""
    vae = d.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, spatio_temporal_scaling=(True, True, False, False), patch_size=1,
        patch_size_t=1,
        decoder_spatio_temporal_scaling=(True, True, False, False), decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4, encoder_causal=True, decoder_causal=False, **more,
    )  # fmt: skip
    vae.latents_mean.normal_(0.0, 0.5)
    vae.latents_std.uniform_(0.5, 1.5)
    return cls(
        scheduler=FlowEuler(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1), vae=vae,
        text_encoder=parts.t5(32), tokenizer=parts.t5_tokenizer(),
        transformer=d.LTXVideoTransformer3DModel(
            in_channels=8, out_channels=8, num_attention_heads=4, attention_head_dim=8, cross_attention_dim=32,
            num_layers=1, caption_channels=32,
        ),
    )  # fmt: skip


def ltx2() -> d.LTX2Pipeline:
    """Videos with sound: its transformer denoises both, each with a scheduler."""
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder

    text = QWEN | {"num_hidden_layers": 2, "head_dim": 8, "pad_token_id": 0}
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    gemma = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))
    heads = {
        f"{kind}_connector_{name}": value
        for kind in ("video", "audio")
        for name, value in {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_layers": 1,
            "num_learnable_registers": None,
        }.items()
    }
    rope = {"rope_double_precision": False, "rope_type": "split"}
    return d.LTX2Pipeline(
        scheduler=FlowEuler(), text_encoder=gemma, tokenizer=qwen_tokenizer(padding_side="left"),
        transformer=d.LTX2VideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
            audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2, audio_attention_head_dim=4,
            audio_cross_attention_dim=8, num_layers=2, caption_channels=16, **rope,
        ),
        connectors=LTX2TextConnectors(
            caption_channels=16, text_proj_in_factor=3, connector_rope_base_seq_len=32,
            causal_temporal_positioning=False, **heads, **rope,
        ),
        vae=d.AutoencoderKLLTX2Video(
            latent_channels=4, block_out_channels=(8,), decoder_block_out_channels=(8,), layers_per_block=(1,),
            patch_size=1,
            decoder_layers_per_block=(1, 1), spatio_temporal_scaling=(True,), decoder_spatio_temporal_scaling=(True,),
            patch_size_t=1,
            decoder_inject_noise=(False, False), downsample_type=("spatial",), upsample_residual=(False,),
            upsample_factor=(1,),
            decoder_causal=False,
        ),
        audio_vae=d.AutoencoderKLLTX2Audio(
            base_channels=4, output_channels=2, ch_mult=(1,), num_res_blocks=1, in_channels=2, resolution=32,
            latent_channels=2,
            norm_type="pixel", causality_axis="height", sample_rate=16000, mel_hop_length=160, mel_bins=8,
        ),
        vocoder=LTX2Vocoder(
            in_channels=16, hidden_channels=32, out_channels=2, upsample_kernel_sizes=[4, 4], upsample_factors=[2, 2],
            resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]], output_sampling_rate=16000,
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
    "wan": video(wan, arguments(**TEXT, **SMALL, num_frames=5, negative_prompt="bad")),
    "wan_two_experts": video(wan_two_experts, arguments(**TEXT, **SMALL, num_frames=5, guidance_scale_2=3.0)),
    "wan_5b": video(wan_5b, arguments(**TEXT, **SMALL, num_frames=5)),
    "wan_vace": video(
        wan_vace,
        arguments(one_generator=True, **TEXT, **SMALL, num_frames=5, video=clip(5), mask=masks(5)),
        needs="ftfy",
    ),
    "wan_image2video": video(wan_image, arguments(**TEXT, **SMALL, num_frames=5, image=photo(32)), needs="ftfy"),
    "wan_first_last": video(
        lambda: wan_image(pos_embed_seq_len=2 * 17),
        arguments(**TEXT, **SMALL, num_frames=5, image=photo(32), last_image=photo(32, seed=1)),
        needs="ftfy",
    ),
    "wan_image_two_experts": video(
        wan_image_two_experts, arguments(**TEXT, **SMALL, num_frames=5, image=photo(32)), needs="ftfy"
    ),
    "lucy_edit": video(lucy_edit, arguments(**TEXT, **SMALL, num_frames=5, video=clip(5)), needs="ftfy"),
    "hunyuan15": video(hunyuan15, arguments(**PROMPT, **SMALL, num_frames=5)),
    "wan_video2video": video(
        lambda: wan(d.WanVideoToVideoPipeline), arguments(**TEXT, **SMALL, video=clip(5), strength=0.8), needs="ftfy"
    ),
    "video": video(text2video_sd, arguments(**PROMPT, **SIZE, num_frames=3)),
    "video2video_sd": video(
        lambda: text2video_sd(d.VideoToVideoSDPipeline),
        arguments(one_generator=True, **PROMPT, video=clip(3, 64), strength=0.8),
    ),
    "ltx": video(ltx, arguments(**TEXT, **SMALL, num_frames=9)),
    "ltx_image2video": video(
        lambda: ltx(d.LTXImageToVideoPipeline), arguments(**TEXT, **SMALL, num_frames=9, image=photo(32))
    ),
    "ltx2": video(
        ltx2, arguments(**TEXT, **SMALL, num_frames=5, spatio_temporal_guidance_blocks=[0], use_cross_timestep=False)
    ),
    "hunyuan_video": video(hunyuan, arguments(**TEXT, **SMALL, num_frames=5, prompt_template=dict(PLAIN))),
    "hunyuan_skyreels_image2video": video(
        skyreels_image, arguments(**TEXT, **SMALL, num_frames=5, prompt_template=dict(PLAIN), image=photo(32))
    ),
    "framepack": video(
        framepack,
        arguments(**TEXT, **SMALL, num_frames=9, latent_window_size=3, prompt_template=dict(PLAIN), image=photo(32)),
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
