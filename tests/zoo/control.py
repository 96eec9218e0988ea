"""Images by ControlNets."""

from __future__ import annotations

from typing import Any

import diffusers as d

from composer.testing import pipelines
from zoo import flow_images
from zoo.entry import arguments, image, of
from zoo.flow_images import LONG, SMALL, TEXT
from zoo.inputs import mask, photo
from zoo.unet_images import PROMPT, SIZE, changed

EDGES = photo(seed=1)
SMALL_EDGES = photo(32, seed=1)


def sdcontrol(cls: type = d.StableDiffusionControlNetPipeline) -> Any:
    """Stable Diffusion with a ControlNet, which can do nothing without a control image."""
    base = pipelines.sd()
    return of(cls, base, controlnet=d.ControlNetModel.from_unet(base.unet))


def sdxl_control(cls: type = d.StableDiffusionXLControlNetPipeline) -> Any:
    base = pipelines.sdxl()
    return of(cls, base, controlnet=d.ControlNetModel.from_unet(base.unet), add_watermarker=False)


def sdxl_union(cls: type = d.StableDiffusionXLControlNetUnionPipeline) -> Any:
    base = pipelines.sdxl()
    names = ("block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim", "attention_head_dim",
             "transformer_layers_per_block", "use_linear_projection", "addition_embed_type", "addition_time_embed_dim",
             "projection_class_embeddings_input_dim", "down_block_types")  # fmt: skip
    shared = {name: base.unet.config[name] for name in names}
    net = d.ControlNetUnionModel(
        **shared, conditioning_embedding_out_channels=(16, 32, 32, 32), num_control_type=2, num_trans_channel=16,
        num_trans_head=2,
        num_trans_layer=1, num_proj_channel=16,
    )  # fmt: skip
    return of(cls, base, controlnet=net, add_watermarker=False)


def sd3_control(cls: type = d.StableDiffusion3ControlNetPipeline) -> Any:
    base = pipelines.sd3()
    settings = {key: value for key, value in base.transformer.config.items() if not key.startswith("_")}
    extra = {"extra_conditioning_channels": 1} if cls is d.StableDiffusion3ControlNetInpaintingPipeline else {}
    return of(cls, base, controlnet=d.SD3ControlNetModel(**settings | {"num_layers": 1} | extra))


def flux_control(cls: type = d.FluxControlNetPipeline) -> Any:
    base = pipelines.flux(guidance_embeds=True)
    settings = {key: value for key, value in base.transformer.config.items() if not key.startswith("_")}
    del settings["out_channels"]
    return of(cls, base, controlnet=d.FluxControlNetModel(**settings))


def qwen_control(cls: type = d.QwenImageControlNetPipeline) -> Any:
    base = flow_images.qwen()
    settings = {
        key: value
        for key, value in base.transformer.config.items()
        if key
        in (
            "attention_head_dim",
            "num_attention_heads",
            "joint_attention_dim",
            "axes_dims_rope",
            "in_channels",
            "out_channels",
        )
    }
    extra = {"extra_condition_channels": 4} if cls is d.QwenImageControlNetInpaintPipeline else {}
    return of(cls, base, controlnet=d.QwenImageControlNetModel(**settings, num_layers=1, **extra))


def zimage_control(cls: type = d.ZImageControlNetPipeline) -> Any:
    base = flow_images.zimage()
    net = d.ZImageControlNetModel(
        control_layers_places=[0, 1], control_refiner_layers_places=[0],
        add_control_noise_refiner="control_noise_refiner",
        control_in_dim=33 if cls is d.ZImageControlNetInpaintPipeline else 16, dim=32, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2,
    )  # fmt: skip
    return of(cls, base, controlnet=net)


def sana_control() -> d.SanaControlNetPipeline:
    base = flow_images.sana()
    settings = {key: value for key, value in base.transformer.config.items() if not key.startswith("_")}
    net = d.SanaControlNetModel.from_config(settings)
    return of(d.SanaControlNetPipeline, base, controlnet=net, transformer=changed(base.transformer, num_layers=2))


ENTRIES = {
    "sdcontrol": image(sdcontrol, arguments(**PROMPT, **SIZE, image=EDGES)),
    "sdcontrol_img2img": image(
        lambda: sdcontrol(d.StableDiffusionControlNetImg2ImgPipeline),
        arguments(**PROMPT, **SIZE, image=photo(), control_image=EDGES, strength=0.8),
    ),
    "sdcontrol_inpaint": image(
        lambda: sdcontrol(d.StableDiffusionControlNetInpaintPipeline),
        arguments(**PROMPT, **SIZE, image=photo(), mask_image=mask(), control_image=EDGES, strength=0.8),
    ),
    "sdxl_control": image(sdxl_control, arguments(**PROMPT, **SIZE, image=EDGES)),
    "sdxl_control_img2img": image(
        lambda: sdxl_control(d.StableDiffusionXLControlNetImg2ImgPipeline),
        arguments(**PROMPT, **SIZE, image=photo(), control_image=EDGES, strength=0.8),
    ),
    "sdxl_union": image(sdxl_union, arguments(**PROMPT, **SIZE, control_image=lambda: [EDGES()], control_mode=[0])),
    "sd3_control": image(sd3_control, arguments(**TEXT, **SIZE, control_image=EDGES), global_random=True),
    "sd3_control_inpaint": image(
        lambda: sd3_control(d.StableDiffusion3ControlNetInpaintingPipeline),
        arguments(**TEXT, **SIZE, control_image=EDGES, control_mask=mask()),
        global_random=True,
    ),
    "flux_control": image(flux_control, arguments(**TEXT, **SMALL, control_image=SMALL_EDGES)),
    "flux_control_img2img": image(
        lambda: flux_control(d.FluxControlNetImg2ImgPipeline),
        arguments(**TEXT, **SMALL, image=photo(32), control_image=SMALL_EDGES, strength=0.8),
    ),
    "qwen_control": image(
        qwen_control, arguments(**LONG, **SMALL, negative_prompt="bad", true_cfg_scale=4.0, control_image=SMALL_EDGES)
    ),
    "zimage_control": image(zimage_control, arguments(**TEXT, **SMALL, control_image=SMALL_EDGES)),
    "sana_control": image(
        sana_control,
        arguments(
            **TEXT, **SMALL, control_image=SMALL_EDGES, complex_human_instruction=None, use_resolution_binning=False
        ),
    ),
}
