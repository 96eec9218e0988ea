"""Images by diffusion transformers of their own kind: PixArt, Hunyuan, CogView, Bria, HiDream and others."""

from __future__ import annotations

from typing import Any

import diffusers as d
from transformers import (
    BertConfig,
    BertModel,
    ByT5Tokenizer,
    GemmaConfig,
    GemmaForCausalLM,
    GlmConfig,
    GlmForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral3Config,
    Mistral3Model,
    Qwen3Model,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    T5GemmaConfig,
    T5GemmaModuleConfig,
)

from composer.testing import parts
from zoo.entry import arguments, image
from zoo.flow_images import LONG, SMALL, TEXT, FlowEuler, flow_vae, qwen
from zoo.text import QWEN, VOCABULARY, glm_tokenizer, qwen3, qwen_tokenizer, qwen_vl, qwen_vl_processor, umt5
from zoo.unet_images import PROMPT, changed

NO_BINS = {"use_resolution_binning": False}


def pixart(cls: type = d.PixArtSigmaPipeline, **more: Any) -> Any:
    return cls(
        tokenizer=parts.t5_tokenizer(), text_encoder=parts.t5(32), vae=parts.vae(4, (8, 8, 8, 8)),
        scheduler=d.DPMSolverMultistepScheduler(),
        transformer=d.PixArtTransformer2DModel(
            sample_size=8, num_layers=2, attention_head_dim=8, num_attention_heads=2, cross_attention_dim=16,
            caption_channels=32, use_additional_conditions=False,
        ),
        **more,
    )  # fmt: skip


def hunyuan_dit(cls: type = d.HunyuanDiTPipeline, **more: Any) -> Any:
    """With a BERT besides its T5."""
    bert = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    return cls(
        vae=parts.vae(4, (8, 8, 8, 8)), text_encoder=BertModel(bert), tokenizer=qwen_tokenizer(77),
        text_encoder_2=parts.t5(32),
        tokenizer_2=parts.t5_tokenizer(), scheduler=d.DDPMScheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
        transformer=d.HunyuanDiT2DModel(
            sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
            hidden_size=16, cross_attention_dim=32, cross_attention_dim_t5=32, pooled_projection_dim=16,
        ),
        **more,
    )  # fmt: skip


def aura_flow() -> d.AuraFlowPipeline:
    return d.AuraFlowPipeline(
        tokenizer=qwen_tokenizer(), text_encoder=umt5(), vae=parts.vae(4, (8, 8, 8, 8)),
        scheduler=FlowEuler(shift=1.73),
        transformer=d.AuraFlowTransformer2DModel(
            sample_size=8, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8,
            num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pos_embed_max_size=64,
        ),
    )  # fmt: skip


def cogview3() -> d.CogView3PlusPipeline:
    return d.CogView3PlusPipeline(
        tokenizer=parts.t5_tokenizer(), text_encoder=parts.t5(32), vae=parts.vae(4, (8, 8, 8, 8)),
        scheduler=d.CogVideoXDDIMScheduler(),
        transformer=d.CogView3PlusTransformer2DModel(
            in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2, out_channels=4, text_embed_dim=32,
            time_embed_dim=8, condition_dim=2, pos_embed_max_size=16, sample_size=8,
        ),
    )  # fmt: skip


def cogview4(cls: type = d.CogView4Pipeline, in_channels: int = 4) -> Any:
    glm = GlmConfig(**QWEN | {"hidden_size": 32}, num_hidden_layers=2, head_dim=16, pad_token_id=0)
    return cls(
        tokenizer=glm_tokenizer(), text_encoder=GlmForCausalLM(glm), vae=parts.vae(4, (8, 8, 8, 8)),
        scheduler=FlowEuler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
        ),
        transformer=d.CogView4Transformer2DModel(
            in_channels=in_channels, num_layers=2, attention_head_dim=8, num_attention_heads=2, out_channels=4,
            text_embed_dim=32,
            time_embed_dim=8, condition_dim=4, rope_axes_dim=(64, 64),
        ),
    )  # fmt: skip


def lumina() -> d.LuminaPipeline:
    gemma = GemmaConfig(**QWEN, num_hidden_layers=2, head_dim=8, pad_token_id=0)
    return d.LuminaPipeline(
        tokenizer=glm_tokenizer("right"), text_encoder=GemmaForCausalLM(gemma), vae=parts.vae(4, (8, 8, 8, 8)),
        scheduler=FlowEuler(),
        transformer=d.LuminaNextDiT2DModel(
            sample_size=8, in_channels=4, hidden_size=16, num_layers=2, num_attention_heads=2, num_kv_heads=1,
            multiple_of=16, cross_attention_dim=16,
        ),
    )  # fmt: skip


def bria() -> d.BriaPipeline:
    return d.BriaPipeline(
        tokenizer=parts.t5_tokenizer(), text_encoder=parts.t5(32), vae=flow_vae(4, 2, shift_factor=0.0),
        scheduler=FlowEuler(),
        transformer=d.BriaTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=32, pooled_projection_dim=None, axes_dims_rope=[0, 4, 4],
        ),
    )  # fmt: skip


def bria_fibo() -> d.BriaFiboPipeline:
    # SmolLM3's own number of tokens: the pipeline takes one of them for an empty text
    text = SmolLM3Config(
        **QWEN | {"vocab_size": 128256}, num_hidden_layers=2, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    return d.BriaFiboPipeline(
        tokenizer=qwen_tokenizer(), text_encoder=SmolLM3ForCausalLM(text), scheduler=FlowEuler(),
        vae=d.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        transformer=d.BriaFiboTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=32, text_encoder_dim=16, pooled_projection_dim=None, axes_dims_rope=[0, 4, 4],
        ),
    )  # fmt: skip


def hidream() -> d.HiDreamImagePipeline:
    """With four text encoders: two CLIPs, a T5 and a Llama, all of whose layers it reads."""
    llama = LlamaConfig(**QWEN, num_hidden_layers=2, head_dim=8, pad_token_id=0)
    return d.HiDreamImagePipeline(
        scheduler=FlowEuler(shift=3.0), vae=flow_vae(4, 1), text_encoder=parts.projecting_clip(),
        tokenizer=parts.clip_tokenizer(),
        text_encoder_2=parts.projecting_clip(), tokenizer_2=parts.clip_tokenizer(), text_encoder_3=parts.t5(32),
        tokenizer_3=parts.t5_tokenizer(), text_encoder_4=LlamaForCausalLM(llama), tokenizer_4=qwen_tokenizer(),
        transformer=d.HiDreamImageTransformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=[32, 16], text_emb_dim=64, num_routed_experts=2, num_activated_experts=1,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(32, 32), llama_layers=[0, 1],
        ),
    )  # fmt: skip


def ovis() -> d.OvisImagePipeline:
    return d.OvisImagePipeline(
        scheduler=FlowEuler(), vae=flow_vae(), tokenizer=qwen_tokenizer(), text_encoder=qwen3(Qwen3Model, width=32),
        transformer=d.OvisImageTransformer2DModel(
            in_channels=16, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
        ),
    )  # fmt: skip


def prx() -> d.PRXPipeline:
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    module = T5GemmaModuleConfig(
        **QWEN, num_hidden_layers=1, head_dim=8, layer_types=["full_attention"], pad_token_id=0
    )
    text = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False)
    return d.PRXPipeline(
        tokenizer=qwen_tokenizer(48), text_encoder=T5GemmaEncoder(text.encoder), vae=flow_vae(4, 4),
        scheduler=FlowEuler(),
        transformer=d.PRXTransformer2DModel(
            patch_size=1, in_channels=4, context_in_dim=16, hidden_size=16, mlp_ratio=2.0, num_heads=2, depth=2,
            axes_dim=[4, 4]
        ),
    )  # fmt: skip


def longcat(cls: type = d.LongCatImagePipeline) -> Any:
    return cls(
        scheduler=FlowEuler(use_dynamic_shifting=True), vae=flow_vae(16), text_encoder=qwen_vl(),
        tokenizer=qwen_tokenizer(),
        text_processor=qwen_vl_processor(),
        transformer=d.LongCatImageTransformer2DModel(
            in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8],
        ),
    )  # fmt: skip


def hunyuan_image() -> d.HunyuanImagePipeline:
    """Without glyphs in its prompt, its second encoder has nothing to encode."""
    return d.HunyuanImagePipeline(
        scheduler=FlowEuler(shift=5.0), text_encoder=qwen_vl(layers=4), tokenizer=qwen_tokenizer(),
        text_encoder_2=parts.t5(32),
        tokenizer_2=ByT5Tokenizer(), guider=d.AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=2),
        ocr_guider=d.AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=3),
        vae=d.AutoencoderKLHunyuanImage(
            in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 32, 32, 32), layers_per_block=1,
            spatial_compression_ratio=8, sample_size=64, scaling_factor=0.476986,
        ),
        transformer=d.HunyuanImageTransformer2DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1, patch_size=(1, 1), text_embed_dim=16, text_embed_2_dim=32, rope_axes_dim=(4, 4),
        ),
    )  # fmt: skip


def kandinsky5(cls: type = d.Kandinsky5T2IPipeline) -> Any:
    return cls(
        vae=flow_vae(16, 4), text_encoder=qwen_vl(), tokenizer=qwen_vl_processor(), text_encoder_2=parts.clip(),
        tokenizer_2=parts.clip_tokenizer(), scheduler=FlowEuler(shift=3.0), transformer=kandinsky5_transformer(),
    )  # fmt: skip


def kandinsky5_transformer(**more: Any) -> d.Kandinsky5Transformer3DModel:
    return d.Kandinsky5Transformer3DModel(
        in_visual_dim=16, in_text_dim=16, in_text_dim2=parts.WIDTH, time_dim=16, out_visual_dim=16, model_dim=16,
        ff_dim=32,
        num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 2, 2), attention_type="regular",
        **{"visual_cond": False} | more,
    )  # fmt: skip


def ernie() -> d.ErnieImagePipeline:
    """Without the language model that rewrites prompts."""
    text = {
        "model_type": "mistral", **QWEN, "num_hidden_layers": 2, "head_dim": 8, "sliding_window": None,
    }  # fmt: skip
    vision = {
        "model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    return d.ErnieImagePipeline(
        scheduler=FlowEuler(shift=3.0), tokenizer=qwen_tokenizer(),
        text_encoder=Mistral3Model(Mistral3Config(text_config=text, vision_config=vision)),
        vae=d.AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8,) * 4,
            layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64,
        ),
        transformer=d.ErnieImageTransformer2DModel(
            hidden_size=32, num_attention_heads=2, num_layers=2, ffn_hidden_size=32, in_channels=16, out_channels=16,
            text_in_dim=16,
            rope_axes_dim=(4, 6, 6),
        ),
    )  # fmt: skip


def krea2() -> d.Krea2Pipeline:
    from transformers import Qwen3VLConfig, Qwen3VLModel

    text = QWEN | {"num_hidden_layers": 2, "head_dim": 8}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
              "deepstack_visual_indexes": [0]}  # fmt: skip
    base = qwen()
    return d.Krea2Pipeline(
        scheduler=FlowEuler(use_dynamic_shifting=True), vae=changed(base.vae, z_dim=4, latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4),
        text_encoder=Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision)), tokenizer=qwen_tokenizer(),
        text_encoder_select_layers=(0, 1, 2),
        transformer=d.Krea2Transformer2DModel(
            in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=32, timestep_embed_dim=8, text_hidden_dim=16, num_text_layers=3,
            text_num_attention_heads=2, text_num_key_value_heads=1,
            text_intermediate_size=16, num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(4, 2, 2),
            rope_theta=1000.0,
        ),
    )  # fmt: skip


ENTRIES = {
    "pixart_alpha": image(lambda: pixart(d.PixArtAlphaPipeline), arguments(**TEXT, **SMALL, **NO_BINS)),
    "pixart_sigma": image(pixart, arguments(**TEXT, **SMALL, **NO_BINS)),
    "pixart_pag": image(
        lambda: pixart(d.PixArtSigmaPAGPipeline, pag_applied_layers=["blocks.1"]), arguments(**TEXT, **SMALL, **NO_BINS)
    ),
    "hunyuan_dit": image(hunyuan_dit, arguments(**PROMPT, **SMALL, **NO_BINS)),
    "aura_flow": image(aura_flow, arguments(**TEXT, **SMALL)),
    "cogview3": image(cogview3, arguments(**TEXT, **SMALL)),
    "cogview4": image(cogview4, arguments(**TEXT, **SMALL, negative_prompt="bad")),
    "lumina": image(lumina, arguments(**TEXT, height=64, width=64, negative_prompt="bad", clean_caption=False)),
    "bria": image(bria, arguments(**TEXT, **SMALL)),
    "bria_fibo": image(bria_fibo, arguments(**TEXT, **SMALL, negative_prompt="bad")),
    "hidream": image(hidream, arguments(**TEXT, **SMALL)),
    "ovis": image(ovis, arguments(**LONG, **SMALL)),
    "prx": image(
        prx, arguments(**PROMPT, **SMALL, **NO_BINS), needs="ftfy", loads=False
    ),  # nor does transformers load its T5GemmaEncoder
    "longcat": image(longcat, arguments(**PROMPT, **SMALL, enable_prompt_rewrite=False)),
    "hunyuan_image": image(hunyuan_image, arguments(**PROMPT, **SMALL)),
    "kandinsky5_image": image(kandinsky5, arguments(**TEXT, height=64, width=64)),
    "ernie": image(ernie, arguments(**PROMPT, height=64, width=64)),
    "krea2": image(krea2, arguments(**LONG, **SMALL)),
}
