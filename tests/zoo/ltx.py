"""Videos of LTX."""

from __future__ import annotations

from typing import Any

import diffusers as d
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from composer.testing import parts
from zoo.entry import arguments, video
from zoo.flow_images import FlowEuler
from zoo.inputs import SMALL, TEXT, photo
from zoo.text import QWEN, qwen_tokenizer


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
            num_layers=2, caption_channels=32,
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


ENTRIES = {
    "ltx": video(ltx, arguments(**TEXT, **SMALL, num_frames=9)),
    "ltx_image2video": video(
        lambda: ltx(d.LTXImageToVideoPipeline), arguments(**TEXT, **SMALL, num_frames=9, image=photo(32))
    ),
    "ltx2": video(
        ltx2, arguments(**TEXT, **SMALL, num_frames=5, spatio_temporal_guidance_blocks=[0], use_cross_timestep=False)
    ),
}
