"""Images from instructions and reference images: InstructPix2Pix, Kontext, Fill, FLUX.2, Qwen-Image-Edit."""

from __future__ import annotations

from typing import Any

import diffusers as d

from composer.testing import pipelines
from zoo import flow_images
from zoo.entry import arguments, image, of
from zoo.flow_images import SMALL, TEXT
from zoo.inputs import mask, photo, several, translucent
from zoo.text import qwen_vl_processor
from zoo.unet_images import PROMPT, SIZE, changed


def fluxfill() -> d.FluxFillPipeline:
    """Flux for inpainting, with a mask among its inputs."""
    return _flux(d.FluxFillPipeline, in_channels=16 + 16 + 16)


def fluxcontrol(cls: type = d.FluxControlPipeline) -> Any:
    """Flux with a control image among its inputs."""
    return _flux(cls, in_channels=32)


def _flux(cls: type, in_channels: int) -> Any:
    base = pipelines.flux(guidance_embeds=True)
    return of(cls, base, transformer=changed(base.transformer, in_channels=in_channels, out_channels=16))


def kontext() -> d.FluxKontextPipeline:
    """Flux with a reference image, whose weights look like plain Flux's."""
    return of(d.FluxKontextPipeline, pipelines.flux(guidance_embeds=True))


def qwen_edit(cls: type = d.QwenImageEditPipeline) -> Any:
    """It scales every image to a megapixel, which a VAE with few channels and a factor of 32 makes cheap."""
    base = flow_images.qwen()
    return of(cls, base, processor=qwen_vl_processor(), vae=_coarse(base.vae))


def qwen_layered() -> d.QwenImageLayeredPipeline:
    """Its VAE has a fourth channel, for opacity."""
    base = flow_images.qwen()
    vae = _coarse(base.vae, input_channels=4)
    transformer = changed(base.transformer, use_additional_t_cond=True, use_layer3d_rope=True)
    return of(d.QwenImageLayeredPipeline, base, processor=qwen_vl_processor(), vae=vae, transformer=transformer)


def _coarse(vae: Any, **more: Any) -> Any:
    return changed(vae, base_dim=2, dim_mult=[1] * 6, temperal_downsample=[False, True, True, False, False], **more)


ENTRIES = {
    "sd_pix2pix": image(
        lambda: of(d.StableDiffusionInstructPix2PixPipeline, pipelines.sd(in_channels=8)),
        arguments(**PROMPT, image=photo()),
    ),
    "sdxl_pix2pix": image(
        lambda: of(d.StableDiffusionXLInstructPix2PixPipeline, pipelines.sdxl(in_channels=8), add_watermarker=False),
        arguments(**PROMPT, **SIZE, image=photo()),
    ),
    "kontext": image(
        kontext, arguments(**TEXT, **SMALL, image=photo(32), max_area=32 * 32, _auto_resize=False, guidance_scale=2.5)
    ),
    "kontext_inpaint": image(
        lambda: of(d.FluxKontextInpaintPipeline, pipelines.flux(guidance_embeds=True)),
        arguments(
            **TEXT, **SMALL, image=photo(32), mask_image=mask(32), max_area=32 * 32, _auto_resize=False, strength=0.8
        ),
    ),
    "fluxfill": image(fluxfill, arguments(**TEXT, **SMALL, image=photo(32), mask_image=mask(32))),
    "fluxcontrol": image(fluxcontrol, arguments(**TEXT, **SMALL, control_image=photo(32, seed=1))),
    "fluxcontrol_img2img": image(
        lambda: fluxcontrol(d.FluxControlImg2ImgPipeline),
        arguments(**TEXT, **SMALL, image=photo(32), control_image=photo(32, seed=1), strength=0.8),
    ),
    "klein_references": image(flow_images.klein, arguments(**TEXT, **SMALL, image=several(photo(), photo(seed=1)))),
    "qwen_edit": image(
        qwen_edit, arguments(**PROMPT, **SIZE, image=photo(), negative_prompt="bad", true_cfg_scale=4.0)
    ),
    "qwen_edit_plus": image(
        lambda: qwen_edit(d.QwenImageEditPlusPipeline),
        arguments(**PROMPT, **SIZE, image=several(photo(), photo(seed=1)), negative_prompt="bad", true_cfg_scale=4.0),
    ),
    "qwen_edit_inpaint": image(
        lambda: qwen_edit(d.QwenImageEditInpaintPipeline),
        arguments(
            **PROMPT, **SIZE, image=photo(), mask_image=mask(), negative_prompt="bad", true_cfg_scale=4.0, strength=0.8
        ),
    ),
    "qwen_layered": image(
        qwen_layered, arguments(**PROMPT, image=translucent, layers=2, resolution=640, negative_prompt="bad")
    ),
}
