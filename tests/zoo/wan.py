"""Videos of Wan and its kin."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers as d

from composer.testing import parts
from zoo.entry import arguments, video
from zoo.inputs import SMALL, TEXT, clip, masks, photo
from zoo.text import qwen_tokenizer, umt5
from zoo.unet_images import processor, vision


def wan_vae(**more: Any) -> d.AutoencoderKLWan:
    return d.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, **more)


def wan_transformer(cls: type = d.WanTransformer3DModel, **more: Any) -> Any:
    plain = {
        "num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32,
        "num_layers": 2, "rope_max_seq_len": 64,
    }  # fmt: skip
    return cls(**plain | more)


def wan(cls: type = d.WanPipeline, **changes: Any) -> Any:
    """Wan, which makes videos."""
    plain = {
        "scheduler": d.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        "tokenizer": qwen_tokenizer(), "vae": wan_vae(), "text_encoder": umt5(),
    }  # fmt: skip
    changes.setdefault("transformer", wan_transformer())
    if "transformer_2" in inspect.signature(cls.__init__).parameters:
        changes.setdefault("transformer_2", None)
    return cls(**plain | changes)


def wan_two_experts() -> d.WanPipeline:
    """Wan 2.2: one transformer for the noisy half of the steps, another one for the rest."""
    return wan(transformer_2=wan_transformer(), boundary_ratio=0.875)


def wan_5b() -> d.WanPipeline:
    """Wan 2.2 of 5B, which takes a timestep for each token."""
    return wan(expand_timesteps=True)


def wan_image(**more: Any) -> d.WanImageToVideoPipeline:
    """Wan 2.1 from a first and a last frame, which a CLIP reads too."""
    transformer = wan_transformer(in_channels=36, out_channels=16, image_dim=parts.WIDTH, **more)
    return wan(d.WanImageToVideoPipeline, transformer=transformer, image_encoder=vision(), image_processor=processor())


def wan_image_two_experts() -> d.WanImageToVideoPipeline:
    """Wan 2.2 from a frame, without a CLIP."""
    experts = {name: wan_transformer(in_channels=36, out_channels=16) for name in ("transformer", "transformer_2")}
    return wan(d.WanImageToVideoPipeline, **experts, boundary_ratio=0.9, image_encoder=None, image_processor=None)


def lucy_edit() -> d.LucyEditPipeline:
    """Edits a video; its transformer looks like Wan's with twice the channels."""
    return wan(d.LucyEditPipeline, transformer=wan_transformer(in_channels=32, out_channels=16))


def wan_vace() -> d.WanVACEPipeline:
    return wan(
        d.WanVACEPipeline,
        transformer=wan_transformer(d.WanVACETransformer3DModel, vace_layers=[0, 1], vace_in_channels=96),
    )


ENTRIES = {
    "wan": video(wan, arguments(**TEXT, **SMALL, num_frames=5, negative_prompt="bad")),
    "wan_two_experts": video(wan_two_experts, arguments(**TEXT, **SMALL, num_frames=5, guidance_scale_2=3.0)),
    "wan_5b": video(wan_5b, arguments(**TEXT, **SMALL, num_frames=5)),
    "wan_vace": video(
        wan_vace,
        arguments(one_generator=True, **TEXT, **SMALL, num_frames=5, video=clip(5), mask=masks(5)),
        needs="ftfy",
    ),
    "wan_image2video": video(wan_image, arguments(**TEXT, **SMALL, num_frames=5, image=photo(32)), needs="ftfy"),
    "wan_first_last": video(
        lambda: wan_image(pos_embed_seq_len=2 * 17),
        arguments(**TEXT, **SMALL, num_frames=5, image=photo(32), last_image=photo(32, seed=1)),
        needs="ftfy",
    ),
    "wan_image_two_experts": video(
        wan_image_two_experts, arguments(**TEXT, **SMALL, num_frames=5, image=photo(32)), needs="ftfy"
    ),
    "lucy_edit": video(lucy_edit, arguments(**TEXT, **SMALL, num_frames=5, video=clip(5)), needs="ftfy"),
    "wan_video2video": video(
        lambda: wan(d.WanVideoToVideoPipeline), arguments(**TEXT, **SMALL, video=clip(5), strength=0.8), needs="ftfy"
    ),
}
