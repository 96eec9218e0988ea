"""How Stable Diffusion 1 and 2 checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import LAYER_GUIDERS, FamilyInfo, Supports

INFO = FamilyInfo(
    name="sd",
    family="composer.families.sd.model:StableDiffusion",
    denoiser=("unet", "UNet2DConditionModel"),
    pipeline="StableDiffusionPipeline",
    role_pipelines={"depth": "StableDiffusionDepth2ImgPipeline"},
    other_pipelines=(
        "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionInpaintPipelineLegacy",
        "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline",
    ),
    requires=("vae", "text_encoder", "tokenizer"),
    excludes=("text_encoder_2", "image_encoder", "image_normalizer", "prior", "vocoder", "controlnet"),
    single_file_kinds=("v1", "v2", "inpainting", "inpainting_v2", "instruct-pix2pix", "upscale"),
    supports=Supports(
        guiders=LAYER_GUIDERS, channels_last=True, deepcache=True, fused_qkv=True, onnx=True, openvino=True, tome=True,
        attention_slicing=True, xformers=True,
    ),
)  # fmt: skip
