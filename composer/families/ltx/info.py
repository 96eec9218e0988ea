"""How LTX-Video checkpoints are recognised, and their defaults; imports no torch."""

from __future__ import annotations

from composer.checkpoints.layouts import Argument, FamilyInfo, Supports

#: Of its later VAEs, which denoise too. Timesteps and noise are counted from 0, an image, to 1.
DECODING = Argument(component="vae", setting="timestep_conditioning", most=1)
INFO = FamilyInfo(
    name="ltx",
    family="composer.families.ltx.model:LTXVideo",
    denoiser=("transformer", "LTXVideoTransformer3DModel"),
    pipeline="LTXPipeline",
    other_pipelines=("LTXImageToVideoPipeline",),
    size=(512, 704),
    frames=161,
    fps=25,
    begins_with_image=True,
    scheduler_type="flow",
    steps=50,
    guidance_scale=3.0,
    arguments={"decode_timestep": DECODING, "decode_noise_scale": DECODING},
    supports=Supports(
        attention_backends=True,
        caches=frozenset({"faster_cache", "first_block_cache", "magcache", "pyramid_attention_broadcast"}),
    ),
)
