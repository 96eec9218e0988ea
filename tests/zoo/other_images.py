"""Images without a prompt or in several stages: unconditional models, DiT, Marigold, Amused, Kandinsky 2.2, Cascade."""

from __future__ import annotations

from typing import Any

import diffusers as d

from composer.testing import parts, pipelines
from zoo.entry import arguments, image, of
from zoo.inputs import photo
from zoo.unet_images import PROMPT, changed, processor, vision

NP = {"output_type": "np"}


def unconditional(cls: type, scheduler: Any) -> Any:
    return cls(unet=pipelines.ddpm().unet, scheduler=scheduler)


def consistency() -> d.ConsistencyModelPipeline:
    unet = changed(pipelines.ddpm().unet, num_class_embeds=10)
    return d.ConsistencyModelPipeline(unet=unet, scheduler=d.CMStochasticIterativeScheduler(num_train_timesteps=40))


def ldm() -> d.LDMPipeline:
    unet = changed(pipelines.ddpm().unet, sample_size=8)
    vq = d.VQModel(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=3, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=64,
    )  # fmt: skip
    return d.LDMPipeline(vqvae=vq, unet=unet, scheduler=d.DDIMScheduler())


def dit() -> d.DiTPipeline:
    transformer = d.DiTTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
        out_channels=8, num_embeds_ada_norm=1000,
    )  # fmt: skip
    return d.DiTPipeline(transformer=transformer, vae=parts.vae(4, (8, 8, 8, 8)), scheduler=d.DDIMScheduler())


def marigold(cls: type = d.MarigoldDepthPipeline, **more: Any) -> Any:
    base = pipelines.sd(in_channels=8)
    scheduler = d.DDIMScheduler.from_config(base.scheduler.config, prediction_type="v_prediction")
    return of(cls, base, scheduler=scheduler, **more)


def amused() -> d.AmusedPipeline:
    """Its latents are integers: the codes of a VQ model."""
    transformer = d.UVit2DModel(
        hidden_size=16, cond_embed_dim=parts.WIDTH, micro_cond_encode_dim=4, micro_cond_embed_dim=20,
        encoder_hidden_size=parts.WIDTH, vocab_size=65, codebook_size=64, in_channels=16, block_out_channels=16,
        num_res_blocks=1, downsample=True, upsample=True, block_num_heads=2, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, sample_size=8,
    )  # fmt: skip
    vq = d.VQModel(
        block_out_channels=(16, 16), norm_num_groups=4, latent_channels=16,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=64, lookup_from_codebook=True, layers_per_block=1,
    )  # fmt: skip
    return d.AmusedPipeline(
        vqvae=vq, transformer=transformer, text_encoder=parts.projecting_clip(), tokenizer=parts.clip_tokenizer(),
        scheduler=d.AmusedScheduler(mask_token_id=64),
    )  # fmt: skip


def kandinsky22(cls: type = d.KandinskyV22Pipeline, **more: Any) -> Any:
    unet = d.UNet2DConditionModel(
        in_channels=4, out_channels=8, addition_embed_type="image", block_out_channels=(32, 64), layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), encoder_hid_dim=parts.WIDTH,
        attention_head_dim=4,
        encoder_hid_dim_type="image_proj", cross_attention_dim=parts.WIDTH, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    movq = d.VQModel(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        latent_channels=4,
        norm_num_groups=4, norm_type="spatial",
        num_vq_embeddings=12, up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"), vq_embed_dim=4,
    )  # fmt: skip
    scheduler = d.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    return cls(unet=unet, movq=movq, scheduler=scheduler, **more)


def kandinsky22_combined() -> d.KandinskyV22CombinedPipeline:
    prior = {
        "prior": d.PriorTransformer(num_attention_heads=2, attention_head_dim=16, embedding_dim=parts.WIDTH,
            num_layers=1),
        "image_encoder": vision(), "text_encoder": parts.projecting_clip(), "tokenizer": parts.clip_tokenizer(),
        "scheduler": d.UnCLIPScheduler(prediction_type="sample", clip_sample_range=10.0),
        "image_processor": processor(),
    }  # fmt: skip
    return kandinsky22(d.KandinskyV22CombinedPipeline, **{f"prior_{name}": part for name, part in prior.items()})


def kandinsky22_prior() -> d.KandinskyV22PriorPipeline:
    combined = kandinsky22_combined().components
    return d.KandinskyV22PriorPipeline(
        **{name.removeprefix("prior_"): part for name, part in combined.items() if name.startswith("prior_")}
    )


def embedding() -> Any:
    """Of an image, for Kandinsky's decoder."""
    import torch

    return torch.linspace(-1, 1, parts.WIDTH)[None]


def cascade() -> d.StableCascadeCombinedPipeline:
    """Its prior's pipeline and its decoder's, in one."""
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    layers = {"dropout": 0.1, "clip_text_pooled_in_channels": parts.WIDTH, "conditioning_dim": 16}
    prior = d.StableCascadeUNet(
        in_channels=4, out_channels=4, block_out_channels=(16, 16), num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1), down_blocks_repeat_mappers=(1, 1), up_blocks_repeat_mappers=(1, 1),
        switch_level=(False,),
        block_types_per_layer=(("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),) * 2,
        patch_size=1,
        clip_image_in_channels=parts.WIDTH, clip_text_in_channels=parts.WIDTH, **layers,
    )  # fmt: skip
    decoder = d.StableCascadeUNet(
        in_channels=4, out_channels=4, block_out_channels=(16, 16), num_attention_heads=(-1, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1), down_blocks_repeat_mappers=(1, 1), up_blocks_repeat_mappers=(1, 1),
        patch_size=2,
        effnet_in_channels=4,
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ), **layers,
    )  # fmt: skip
    shared = {"text_encoder": parts.projecting_clip(), "tokenizer": parts.clip_tokenizer()}
    return d.StableCascadeCombinedPipeline(
        **shared, decoder=decoder, scheduler=d.DDPMWuerstchenScheduler(), prior_prior=prior,
        prior_scheduler=d.DDPMWuerstchenScheduler(),
        vqgan=PaellaVQModel(embed_dim=16, bottleneck_blocks=1, num_vq_embeddings=32),
        prior_text_encoder=shared["text_encoder"],
        prior_tokenizer=shared["tokenizer"],
    )  # fmt: skip


ENTRIES = {
    "ddpm": image(pipelines.ddpm, arguments(**NP)),
    "ddim": image(lambda: unconditional(d.DDIMPipeline, d.DDIMScheduler()), arguments(**NP, eta=0.5)),
    "ldm": image(ldm, arguments(**NP)),
    "consistency": image(consistency, arguments(**NP, class_labels=3, timesteps=None)),
    "dit": image(dit, arguments(**NP, class_labels=[1])),
    "marigold_depth": image(
        lambda: marigold(prediction_type="depth", scale_invariant=True, shift_invariant=True),
        arguments(**NP, image=photo(), processing_resolution=0),
    ),
    "marigold_normals": image(
        lambda: marigold(d.MarigoldNormalsPipeline, prediction_type="normals"),
        arguments(**NP, image=photo(), processing_resolution=0),
    ),
    "amused": image(amused, arguments(one_generator=True, **PROMPT)),
    "kandinsky22": image(
        kandinsky22,
        arguments(**NP, height=32, width=32, image_embeds=embedding, negative_image_embeds=lambda: -embedding()),
    ),
    "kandinsky22_prior": image(kandinsky22_prior, arguments(**PROMPT)),
    "kandinsky22_combined": image(
        kandinsky22_combined, arguments(**PROMPT, height=32, width=32, prior_num_inference_steps=2)
    ),
    "cascade": image(  # diffusers saves its PaellaVQModel under a library in which it does not look for it
        cascade, arguments(**PROMPT, height=128, width=128, prior_num_inference_steps=2), loads=False
    ),
}
