"""How Qwen-Image checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import FamilyInfo, Supports

#: Pipelines whose text encoder reads the references.
EDITING = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
INFO = FamilyInfo(
    name="qwen_image",
    family="composer.families.qwen_image.model:QwenImage",
    denoiser=("transformer", "QwenImageTransformer2DModel"),
    pipeline="QwenImagePipeline",
    other_pipelines=("QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline", *EDITING),
    own_pipelines=EDITING,
    reference_pipelines=EDITING,
    one_reference_pipelines=("QwenImageEditPipeline",),
    reference_area=(1024 * 1024, 1024 * 1024),
    excludes=("controlnet",),
    size_multiple=2,
    pack_factor=4,
    sample_size=128,
    timestep_scale=1000,
    scheduler_type="flow",
    rounds_strength_up=True,
    steps=50,
    guidance_scale=4.0,
    supports=Supports(
        attention_backends=True,
        caches=frozenset(
            {"faster_cache", "first_block_cache", "magcache", "pyramid_attention_broadcast", "taylorseer"}
        ),
    ),
)
