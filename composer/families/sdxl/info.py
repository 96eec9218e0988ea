"""How Stable Diffusion XL checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import LAYER_GUIDERS, FamilyInfo, Supports

INFO = FamilyInfo(
    name="sdxl",
    family="composer.families.sdxl.model:StableDiffusionXL",
    denoiser=("unet", "UNet2DConditionModel"),
    pipeline="StableDiffusionXLPipeline",
    other_pipelines=("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    requires=("text_encoder_2",),
    excludes=("controlnet", "adapter"),
    single_file_kinds=("xl_base", "xl_refiner", "xl_inpaint", "playground-v2-5"),
    sample_size=128,
    guidance_scale=5.0,
    has_refiner=True,
    supports=Supports(
        guiders=LAYER_GUIDERS, channels_last=True, deepcache=True, fused_qkv=True, onnx=True, openvino=True, tome=True,
        attention_slicing=True, xformers=True,
    ),
)  # fmt: skip
