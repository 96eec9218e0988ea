"""Tiny random checkpoints of diffusers pipelines that composer has no native family for, one function a pipeline class.

Built like the real ones, small enough to generate in a second; `composer.testing.pipelines` has those of the native
families.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    ChromaPipeline,
    ChromaTransformer2DModel,
    ControlNetModel,
    DiffusionPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    StableDiffusionControlNetPipeline,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers import FlowMatchEulerDiscreteScheduler as FlowEuler
from transformers import (
    Gemma2Config,
    Gemma2Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    UMT5Config,
    UMT5EncoderModel,
)

from composer.testing import parts, pipelines
from composer.tiny.tokenizer import bytes_to_unicode

#: Special tokens of Qwen's tokenizers.
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|vision_start|>", "<|image_pad|>")
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
VOCABULARY = 256 + len(MARKS)
#: Of a transformers language model that is Qwen's in all but size.
QWEN: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip


def zimage() -> ZImagePipeline:
    """Z-Image; sizes are multiples of 16."""
    torch.manual_seed(0)
    return ZImagePipeline(
        scheduler=FlowEuler(shift=3.0), tokenizer=qwen_tokenizer(),
        vae=parts.vae(16, (8, 8, 8, 8), scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=Qwen3Model(Qwen3Config(**QWEN, num_hidden_layers=2, head_dim=8)).eval(),
        transformer=ZImageTransformer2DModel(
            dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        ).eval(),
    )  # fmt: skip


def qwen(length: int | None = 131072) -> QwenImagePipeline:
    """Qwen-Image, with a `true_cfg_scale` beside a `guidance_scale`. length: of a prompt, as its tokenizer says it."""
    torch.manual_seed(0)
    text = {
        **QWEN,
        "num_hidden_layers": 2,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2], "rope_type": "default"},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
        "fullatt_block_indexes": [0],
    }
    return QwenImagePipeline(
        scheduler=FlowEuler(shift=1.0, use_dynamic_shifting=True), tokenizer=qwen_tokenizer(length),
        vae=AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).eval(),
        transformer=QwenImageTransformer2DModel(
            num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(8, 4, 4)
        ).eval(),
    )  # fmt: skip


def klein() -> Flux2KleinPipeline:
    """FLUX.2 klein, which takes a reference image and no strength."""
    torch.manual_seed(0)
    return Flux2KleinPipeline(
        scheduler=FlowEuler(shift=3.0, use_dynamic_shifting=True), tokenizer=qwen_tokenizer(),
        vae=AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 8),
            layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32,
        ).eval(),
        text_encoder=Qwen3ForCausalLM(Qwen3Config(**QWEN, num_hidden_layers=30, head_dim=8)).eval(),
        transformer=Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
            timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
        ).eval(),
    )  # fmt: skip


def wan() -> WanPipeline:
    """Wan, which makes videos."""
    torch.manual_seed(0)
    return WanPipeline(
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        tokenizer=qwen_tokenizer(), transformer_2=None,
        vae=AutoencoderKLWan(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval(),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
        ).eval(),
        transformer=WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, text_dim=32, freq_dim=32, ffn_dim=32, num_layers=2, rope_max_seq_len=32
        ).eval(),
    )  # fmt: skip


def video() -> TextToVideoSDPipeline:
    """The text to video of Stable Diffusion's time."""
    torch.manual_seed(0)
    base = pipelines.sd()
    unet = UNet3DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=parts.WIDTH,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    shared = {name: getattr(base, name) for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    return TextToVideoSDPipeline(**shared, unet=unet.eval())


def chroma() -> ChromaPipeline:
    """Chroma at 32 × 32 pixels, which lays out its own steps: its scheduler wants a `mu`."""
    torch.manual_seed(0)
    return ChromaPipeline(
        scheduler=FlowEuler(use_dynamic_shifting=True, shift=3.0), text_encoder=parts.t5(32), tokenizer=parts.t5_tokenizer(),
        vae=parts.vae(4, (8, 8), scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False),
        transformer=ChromaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=32, axes_dims_rope=(4, 4, 8), approximator_hidden_dim=32, approximator_layers=1,
            approximator_num_channels=16,
        ).eval(),
    )  # fmt: skip


def kontext() -> FluxKontextPipeline:
    """Flux with a reference image, which it scales to a megapixel: expensive to run. Its weights look like plain Flux's."""
    return FluxKontextPipeline(**pipelines.flux().components)


def fluxfill() -> FluxFillPipeline:
    """Flux for inpainting, with a mask among its inputs."""
    return FluxFillPipeline(**_flux(in_channels=16 + 16 + 16))


def fluxcontrol() -> FluxControlPipeline:
    """Flux with a control image among its inputs."""
    return FluxControlPipeline(**_flux(in_channels=32))


def _flux(in_channels: int) -> dict[str, Any]:
    components = {
        name: part
        for name, part in pipelines.flux().components.items()
        if name not in ("image_encoder", "feature_extractor")
    }
    plain = {key: value for key, value in components["transformer"].config.items() if not key.startswith("_")}
    config = plain | {"in_channels": in_channels, "out_channels": 16, "guidance_embeds": True}
    return components | {"transformer": FluxTransformer2DModel.from_config(config).eval()}


def lumina2() -> Lumina2Pipeline:
    """Lumina 2, whose pipeline lays out its own steps."""
    torch.manual_seed(0)
    text = {**QWEN, "num_hidden_layers": 2, "head_dim": 8, "pad_token_id": 0}
    return Lumina2Pipeline(
        scheduler=FlowEuler(shift=6.0, use_dynamic_shifting=True), tokenizer=qwen_tokenizer(),
        text_encoder=Gemma2Model(Gemma2Config(**text)).eval(),
        vae=parts.vae(4, (8, 8, 8, 8), scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False),
        transformer=Lumina2Transformer2DModel(
            sample_size=8, in_channels=4, hidden_size=32, num_layers=1, num_refiner_layers=1, num_attention_heads=2, num_kv_heads=1,
            multiple_of=16, axes_dim_rope=(8, 4, 4), axes_lens=(300, 32, 32), cap_feat_dim=16,
        ).eval(),
    )  # fmt: skip


def sdcontrol() -> StableDiffusionControlNetPipeline:
    """Stable Diffusion with a ControlNet, which can do nothing without a control image."""
    base = pipelines.sd()
    components = base.components | {"controlnet": ControlNetModel.from_unet(base.unet).eval()}
    return StableDiffusionControlNetPipeline(**components, requires_safety_checker=False)


def qwen_tokenizer(length: int | None = 131072) -> Qwen2Tokenizer:
    """Byte-level, without merges, and with a chat template. length: None where it does not say how long a prompt may
    be.
    """
    vocabulary = {token: i for i, token in enumerate((*MARKS, *bytes_to_unicode()))}
    more = {} if length is None else {"model_max_length": length}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], chat_template=CHAT, extra_special_tokens=list(MARKS[1:]), **more)


MAKERS = {
    "zimage": zimage, "qwen": qwen, "klein": klein, "wan": wan, "video": video, "chroma": chroma, "kontext": kontext, "fluxfill": fluxfill,
    "fluxcontrol": fluxcontrol, "lumina2": lumina2, "sdcontrol": sdcontrol,
}  # fmt: skip


def save(name: str, folder: Path) -> Path:
    """Write a tiny checkpoint; what comes back is the folder."""
    pipeline: DiffusionPipeline = MAKERS[name]()
    pipeline.save_pretrained(folder)
    return folder


def with_json(folder: Path, file: str, **changes: Any) -> Path:
    """Change settings in one of a checkpoint's json files."""
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return folder
