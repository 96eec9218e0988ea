"""Images by flow matching, of the families with the most siblings: FLUX, SD3, Qwen-Image, Z-Image, Chroma."""

from __future__ import annotations

from typing import Any

import diffusers as d
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3ForCausalLM,
    Qwen3Model,
    Siglip2ImageProcessor,
    Siglip2VisionConfig,
    Siglip2VisionModel,
)

from composer.testing import parts, pipelines
from zoo.entry import arguments, image, of
from zoo.inputs import SMALL, TEXT, mask, photo
from zoo.text import VOCABULARY, gemma2, qwen3, qwen_tokenizer, qwen_vl
from zoo.unet_images import changed

FlowEuler = d.FlowMatchEulerDiscreteScheduler
#: For tokenizers of bytes, whose template alone has more tokens.
LONG = TEXT | {"max_sequence_length": 256}
SIZE = {"height": 64, "width": 64}
TRUE_CFG = {"negative_prompt": "bad", "true_cfg_scale": 4.0}


def flow_vae(latent_channels: int = 4, levels: int = 2, **more: Any) -> d.AutoencoderKL:
    plain = {"scaling_factor": 0.36, "shift_factor": 0.12, "use_quant_conv": False, "use_post_quant_conv": False}
    return parts.vae(latent_channels, (8,) * levels, **plain | more)


def zimage() -> d.ZImagePipeline:
    """Z-Image; sizes are multiples of 16."""
    return d.ZImagePipeline(
        scheduler=FlowEuler(shift=3.0), tokenizer=qwen_tokenizer(), vae=flow_vae(16, 4), text_encoder=qwen3(Qwen3Model),
        transformer=d.ZImageTransformer2DModel(
            dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        ),
    )  # fmt: skip


def zimage_omni() -> d.ZImageOmniPipeline:
    """Z-Image with reference images, which a SigLIP encoder reads too."""
    base = zimage()
    vision = Siglip2VisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=8, num_patches=16
    )
    return of(
        d.ZImageOmniPipeline, base, siglip=Siglip2VisionModel(vision),
        siglip_processor=Siglip2ImageProcessor(patch_size=8, max_num_patches=16),
        transformer=changed(base.transformer, siglip_feat_dim=16),
    )  # fmt: skip


def qwen(length: int | None = 131072) -> d.QwenImagePipeline:
    """Qwen-Image, with a `true_cfg_scale` beside a `guidance_scale`. length: of a prompt, as its tokenizer says it."""
    return d.QwenImagePipeline(
        scheduler=FlowEuler(shift=1.0, use_dynamic_shifting=True), tokenizer=qwen_tokenizer(length),
        text_encoder=qwen_vl(),
        vae=d.AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        transformer=d.QwenImageTransformer2DModel(
            num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(8, 4, 4)
        ),
    )  # fmt: skip


def flux2_parts(text_width: int) -> dict[str, Any]:
    return {
        "scheduler": FlowEuler(shift=3.0, use_dynamic_shifting=True),
        "vae": d.AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32,
        ),
        "transformer": d.Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=text_width,
            timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
        ),
    }  # fmt: skip


def klein(cls: type = d.Flux2KleinPipeline) -> Any:
    """FLUX.2 klein, which takes a reference image and no strength."""
    return cls(**flux2_parts(48), tokenizer=qwen_tokenizer(), text_encoder=qwen3(Qwen3ForCausalLM, layers=30))


def flux2() -> d.Flux2Pipeline:
    """FLUX.2 with Mistral's encoder, of which it reads three hidden layers; its processor is a Qwen tokenizer."""
    base = flux2_parts(48)
    text = {
        "model_type": "mistral", "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32,
        "num_attention_heads": 2, "num_hidden_layers": 31, "num_key_value_heads": 1, "head_dim": 8,
        "sliding_window": None,
    }  # fmt: skip
    vision = {
        "model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=vision, image_token_index=6)
    )
    base["transformer"] = changed(base["transformer"], guidance_embeds=True)
    return d.Flux2Pipeline(**base, tokenizer=qwen_tokenizer(), text_encoder=encoder)


def chroma(cls: type = d.ChromaPipeline) -> Any:
    """Chroma at 32 × 32 pixels, which lays out its own steps: its scheduler wants a `mu`."""
    return cls(
        scheduler=FlowEuler(use_dynamic_shifting=True, shift=3.0), text_encoder=parts.t5(32),
        tokenizer=parts.t5_tokenizer(),
        vae=flow_vae(),
        transformer=d.ChromaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32, axes_dims_rope=(4, 4, 8), approximator_hidden_dim=32, approximator_layers=1,
            approximator_num_channels=16,
        ),
    )  # fmt: skip


def lumina2() -> d.Lumina2Pipeline:
    """Lumina 2, whose pipeline lays out its own steps."""
    return d.Lumina2Pipeline(
        scheduler=FlowEuler(shift=6.0, use_dynamic_shifting=True), tokenizer=qwen_tokenizer(), text_encoder=gemma2(),
        vae=flow_vae(16, 4),
        transformer=d.Lumina2Transformer2DModel(
            sample_size=8, in_channels=16, hidden_size=32, num_layers=1, num_refiner_layers=1, num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16, axes_dim_rope=(8, 4, 4), axes_lens=(300, 32, 32), cap_feat_dim=16,
        ),
    )  # fmt: skip


def sana_vae() -> d.AutoencoderDC:
    return d.AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), downsample_block_type="conv", upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip


def sana(cls: type = d.SanaPipeline, **settings: Any) -> Any:
    sprint = cls in (d.SanaSprintPipeline, d.SanaSprintImg2ImgPipeline)
    flow = d.DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return cls(
        scheduler=d.SCMScheduler() if sprint else flow, tokenizer=qwen_tokenizer(), text_encoder=gemma2(),
        vae=sana_vae(),
        transformer=d.SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=8,
            sample_size=16, num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
            caption_channels=16, qk_norm="rms_norm_across_heads", guidance_embeds=sprint,
        ),
        **settings,
    )  # fmt: skip


SANA = TEXT | SMALL | {"complex_human_instruction": None, "use_resolution_binning": False}

ENTRIES = {
    "sd3": image(pipelines.sd3, arguments(**TEXT, **SIZE)),
    "sd3_img2img": image(
        lambda: of(d.StableDiffusion3Img2ImgPipeline, pipelines.sd3()),
        arguments(**TEXT, **SIZE, image=photo(), strength=0.8),
    ),
    "sd3_inpaint": image(
        lambda: of(d.StableDiffusion3InpaintPipeline, pipelines.sd3()),
        arguments(**TEXT, **SIZE, image=photo(), mask_image=mask(), strength=0.8),
    ),
    "sd3_pag": image(
        lambda: of(d.StableDiffusion3PAGPipeline, pipelines.sd3(), pag_applied_layers=["blocks.1"]),
        arguments(**TEXT, **SIZE),
    ),
    "flux": image(lambda: pipelines.flux(guidance_embeds=True), arguments(**TEXT, **SMALL)),
    "flux_img2img": image(
        lambda: of(d.FluxImg2ImgPipeline, pipelines.flux(guidance_embeds=True)),
        arguments(**TEXT, **SMALL, image=photo(32), strength=0.8),
    ),
    "flux_inpaint": image(
        lambda: of(d.FluxInpaintPipeline, pipelines.flux(guidance_embeds=True)),
        arguments(**TEXT, **SMALL, image=photo(32), mask_image=mask(32), strength=0.8),
    ),
    "flux_true_cfg": image(pipelines.flux, arguments(**TEXT, **SMALL, **TRUE_CFG)),
    "flux2": image(flux2, arguments(**TEXT, **SMALL)),
    "klein": image(klein, arguments(**TEXT, **SMALL)),
    "klein_kv": image(lambda: klein(d.Flux2KleinKVPipeline), arguments(**TEXT, **SMALL, image=photo())),
    "klein_inpaint": image(
        lambda: klein(d.Flux2KleinInpaintPipeline),
        arguments(**TEXT, **SMALL, image=photo(32), mask_image=mask(32), strength=0.8),
    ),
    "qwen": image(qwen, arguments(**LONG, **SMALL, **TRUE_CFG)),
    "qwen_img2img": image(
        lambda: of(d.QwenImageImg2ImgPipeline, qwen()),
        arguments(**LONG, **SMALL, **TRUE_CFG, image=photo(32), strength=0.8),
    ),
    "qwen_inpaint": image(
        lambda: of(d.QwenImageInpaintPipeline, qwen()),
        arguments(**LONG, **SMALL, **TRUE_CFG, image=photo(32), mask_image=mask(32), strength=0.8),
    ),
    "zimage": image(zimage, arguments(**TEXT, **SMALL)),
    "zimage_turbo": image(zimage, arguments(**TEXT, **SMALL, guidance_scale=0.0)),
    "zimage_img2img": image(
        lambda: of(d.ZImageImg2ImgPipeline, zimage()), arguments(**TEXT, **SMALL, image=photo(32), strength=0.8)
    ),
    "zimage_inpaint": image(
        lambda: of(d.ZImageInpaintPipeline, zimage()),
        arguments(**TEXT, **SMALL, image=photo(32), mask_image=mask(32), strength=0.8),
    ),
    "zimage_omni": image(zimage_omni, arguments(**TEXT, **SMALL)),  # its references are encoded in bfloat16 alone
    "chroma": image(chroma, arguments(**TEXT, **SMALL, negative_prompt="bad")),
    "chroma_img2img": image(
        lambda: chroma(d.ChromaImg2ImgPipeline),
        arguments(**TEXT, **SMALL, negative_prompt="bad", image=photo(32), strength=0.8),
    ),
    "lumina2": image(lumina2, arguments(**TEXT, **SMALL)),
    "sana": image(sana, arguments(**SANA)),
    "sana_sprint": image(lambda: sana(d.SanaSprintPipeline), arguments(**SANA, intermediate_timesteps=None)),
    "sana_sprint_img2img": image(
        lambda: sana(d.SanaSprintImg2ImgPipeline),
        arguments(**SANA, image=photo(32), strength=0.5, intermediate_timesteps=None),
    ),
}
