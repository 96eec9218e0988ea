"""Images by UNets: Stable Diffusion, SDXL and what was made of them."""

from __future__ import annotations

from typing import Any

import diffusers as d

from composer.testing import parts, pipelines
from zoo.entry import arguments, image, of
from zoo.inputs import mask, photo

SIZE = {"height": 64, "width": 64}
PROMPT = {"prompt": "a cat", "output_type": "np"}


def latent_upscale() -> d.StableDiffusionLatentUpscalePipeline:
    levels = ("KCrossAttnUpBlock2D",) * 3
    unet = d.UNet2DConditionModel(
        act_fn="gelu", attention_head_dim=8, norm_num_groups=None, block_out_channels=[32, 32, 64, 64],
        conv_in_kernel=1, time_cond_proj_dim=2 * 64 + parts.WIDTH, conv_out_kernel=1, cross_attention_dim=parts.WIDTH,
        in_channels=8, out_channels=5,
        down_block_types=("KDownBlock2D", *(name.replace("Up", "Down") for name in levels)), mid_block_type=None,
        resnet_time_scale_shift="scale_shift", time_embedding_type="fourier", timestep_post_act="gelu",
        up_block_types=(*levels, "KUpBlock2D"),
    )  # fmt: skip
    scheduler = d.EulerDiscreteScheduler(prediction_type="sample")
    return of(d.StableDiffusionLatentUpscalePipeline, pipelines.sd(), unet=unet, scheduler=scheduler)


def upscale() -> d.StableDiffusionUpscalePipeline:
    base = pipelines.sd(in_channels=7)
    unet = changed(base.unet, num_class_embeds=100, use_linear_projection=True)
    vae = parts.vae(4, (8, 8, 8), use_quant_conv=True)
    return of(d.StableDiffusionUpscalePipeline, base, unet=unet, vae=vae, low_res_scheduler=d.DDPMScheduler())


def image_variation() -> d.StableDiffusionImageVariationPipeline:
    base = pipelines.sd()
    return of(d.StableDiffusionImageVariationPipeline, base, image_encoder=vision(), feature_extractor=processor())


def lcm() -> d.LatentConsistencyModelPipeline:
    base = pipelines.sd()
    unet = changed(base.unet, time_cond_proj_dim=32)
    return of(d.LatentConsistencyModelPipeline, base, unet=unet, scheduler=d.LCMScheduler())


def unclip_image() -> d.StableUnCLIPImg2ImgPipeline:
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    base = pipelines.sd()
    width = parts.WIDTH
    unet = changed(base.unet, class_embed_type="projection", projection_class_embeddings_input_dim=2 * width)
    return of(
        d.StableUnCLIPImg2ImgPipeline, base, unet=unet, image_encoder=vision(), feature_extractor=processor(),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=width), image_noising_scheduler=d.DDPMScheduler(),
    )  # fmt: skip


def adapter() -> d.StableDiffusionAdapterPipeline:
    """Its UNet attends at the first level, as Stable Diffusion's does: an adapter's features are those of its
    levels.
    """
    base = pipelines.sd()
    unet = changed(
        base.unet,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    return of(d.StableDiffusionAdapterPipeline, base, unet=unet, adapter=_adapter("full_adapter", 8))


def adapter_xl() -> d.StableDiffusionXLAdapterPipeline:
    return of(d.StableDiffusionXLAdapterPipeline, pipelines.sdxl(), adapter=_adapter("full_adapter_xl", 16))


def _adapter(kind: str, factor: int) -> d.T2IAdapter:
    return d.T2IAdapter(channels=[16, 32], num_res_blocks=1, downscale_factor=factor, adapter_type=kind)


def changed(model: Any, **settings: Any) -> Any:
    """A new model of a model's class and settings, of which some are changed."""
    plain = {key: value for key, value in model.config.items() if not key.startswith("_")}
    return type(model).from_config(plain | settings)


def vision(size: int = 32) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=parts.WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=size,
            patch_size=size // 4,
            projection_dim=parts.WIDTH,
        )
    )  # fmt: skip


def processor(size: int = 32) -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size=size, crop_size=size)


ENTRIES = {
    "sd": image(pipelines.sd, arguments(**PROMPT, **SIZE)),
    "sd_img2img": image(
        lambda: of(d.StableDiffusionImg2ImgPipeline, pipelines.sd()), arguments(**PROMPT, image=photo(), strength=0.8)
    ),
    "sd_inpaint": image(
        lambda: of(d.StableDiffusionInpaintPipeline, pipelines.sd()),
        arguments(**PROMPT, **SIZE, image=photo(), mask_image=mask(), strength=0.8),
    ),
    "sd_inpaint_9": image(
        lambda: of(d.StableDiffusionInpaintPipeline, pipelines.sd(in_channels=9)),
        arguments(**PROMPT, **SIZE, image=photo(), mask_image=mask()),
    ),
    "sd_depth": image(pipelines.sd_depth, arguments(**PROMPT, image=photo(), strength=0.8)),
    "sd_upscale": image(upscale, arguments(**PROMPT, image=photo(16))),
    "sd_latent_upscale": image(latent_upscale, arguments(**PROMPT, image=photo())),
    "sd_image_variation": image(image_variation, arguments(image=photo(), **SIZE, output_type="np")),
    "sd_lcm": image(lcm, arguments(**PROMPT, **SIZE)),
    "sd_unclip_img2img": image(unclip_image, arguments(**PROMPT, **SIZE, image=photo(32))),
    "sd_pag": image(
        lambda: of(d.StableDiffusionPAGPipeline, pipelines.sd(), pag_applied_layers=["mid"]),
        arguments(**PROMPT, **SIZE),
    ),
    "sd_adapter": image(adapter, arguments(**PROMPT, **SIZE, image=photo())),
    "sdxl": image(pipelines.sdxl, arguments(**PROMPT, **SIZE)),
    "sdxl_img2img": image(
        lambda: of(d.StableDiffusionXLImg2ImgPipeline, pipelines.sdxl(), add_watermarker=False),
        arguments(**PROMPT, image=photo(), strength=0.8),
    ),
    "sdxl_inpaint": image(
        lambda: of(d.StableDiffusionXLInpaintPipeline, pipelines.sdxl(), add_watermarker=False),
        arguments(**PROMPT, **SIZE, image=photo(), mask_image=mask(), strength=0.8),
    ),
    "sdxl_pag": image(
        lambda: of(d.StableDiffusionXLPAGPipeline, pipelines.sdxl(), pag_applied_layers=["mid"], add_watermarker=False),
        arguments(**PROMPT, **SIZE),
    ),
    "sdxl_adapter": image(adapter_xl, arguments(**PROMPT, **SIZE, image=photo())),
}
