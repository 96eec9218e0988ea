"""diffusers' caches and fused projections on families of flow transformers: latents after every step are those of
diffusers' own pipeline with the same on its transformer, bit for bit. A new family is a name of `FAMILIES`.
"""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy

import pytest
import torch
from diffusers import hooks
from flow_cases import FLOW_FAMILIES, SIDE, STEPS
from runs import PROMPTS, assert_same, classic, generators, ours
from test_flow_families import family_of, tiny
from tiers import every

from composer.checkpoints.layouts import families
from composer.options.accel.caches import Broadcast, FasterCache, FirstBlockCache, MagCache, TaylorSeer
from composer.options.accel.fused import FusedQKV
from composer.options.lifecycle import remove_options
from composer.sampling.guidance import ClassifierFree
from composer.tasks.text2img import Text2Img

pytestmark = pytest.mark.usefixtures("one_thread")
BOUNDS = (100.0, 800.0)
#: Options for all steps, composer's.
OPTIONS = {
    "first_block_cache": FirstBlockCache(threshold=0.9),
    "magcache": MagCache(ratios=[1.0] * STEPS, threshold=1.0, kept=0),
    "taylorseer": TaylorSeer(interval=2, warmup=1),
    "pyramid_attention_broadcast": Broadcast(begin=BOUNDS[0], end=BOUNDS[1]),
    "faster_cache": FasterCache(begin=BOUNDS[0], end=BOUNDS[1]),
}
#: Those whose state is one for all forwards in diffusers: with two passes a step, one branch would reuse the other's.
ONE_STATE = ("pyramid_attention_broadcast", "faster_cache")
FAMILIES = ("qwen_image", "flux2", "chroma", "sana", "lumina2", "z_image")
CASES = [(name, option) for name in FAMILIES for option in sorted(families()[name].supports.caches)]


def enable(name: str, model, now) -> None:
    """diffusers' own, on a transformer. now: returns the timestep, [0, 1000]."""
    attention = {
        "spatial_attention_block_skip_range": 2, "spatial_attention_timestep_skip_range": BOUNDS,
        "current_timestep_callback": now,
    }  # fmt: skip
    if name == "first_block_cache":
        hooks.apply_first_block_cache(model, hooks.FirstBlockCacheConfig(threshold=0.9))
    elif name == "magcache":
        ratios = [1.0] * STEPS
        config = hooks.MagCacheConfig(
            threshold=1.0, retention_ratio=0, num_inference_steps=STEPS, mag_ratios=ratios, max_skip_steps=3
        )
        hooks.apply_mag_cache(model, config)
    elif name == "taylorseer":
        config = hooks.TaylorSeerCacheConfig(
            cache_interval=2, disable_cache_before_step=1, taylor_factors_dtype=torch.float32
        )
        hooks.apply_taylorseer_cache(model, config)
    elif name == "pyramid_attention_broadcast":
        hooks.apply_pyramid_attention_broadcast(model, hooks.PyramidAttentionBroadcastConfig(**attention))
    else:
        config = hooks.FasterCacheConfig(
            **attention, attention_weight_callback=lambda _: 0.5, is_guidance_distilled=True
        )
        hooks.apply_faster_cache(model, config)


def both(name: str, option, change, scale: float, batch: int = 2):
    """Latents and images of composer with an option, of diffusers with `change(pipe)`, and of composer without."""
    case, pipe, info = FLOW_FAMILIES[name], tiny(name), families()[name]
    option.steps, option.timestep_scale = STEPS, info.timestep_scale  # of its `check`

    def run(options):
        guidance = ClassifierFree(scale)
        return ours(family_of(name, pipe), "default", guidance, batch, SIDE, Text2Img(), steps=STEPS, options=options)

    *mine, scheduler = run({"accel.option": option})
    *plain, _ = run({})
    other = deepcopy(pipe)
    change(other)
    arguments = case.scale(scale) | case.more | {"height": SIDE, "width": SIDE}
    prompts = {"prompt": list(PROMPTS[:batch])}
    if case.takes_negative and scale > 1:
        prompts["negative_prompt"] = [""] * batch
    theirs = classic(other, scheduler, steps=STEPS, generator=generators(batch), **prompts, **arguments)
    return mine, theirs, plain


def moved(one, other) -> float:
    return max((a - b).abs().max().item() for a, b in zip(one[0], other[0], strict=True))


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize(("name", "option"), every(4, CASES))
def test_caches_are_those_of_diffusers(name, option, scale):
    if scale > 1 and (name == "chroma" or (option in ONE_STATE and name in ("qwen_image", "flux2", "lumina2"))):
        pytest.skip("diffusers has one state for both of its passes")

    def change(pipe):
        def now():
            scheduler = pipe.scheduler
            return scheduler.timesteps[scheduler.step_index or 0].item()

        enable(option, pipe.transformer, now)
        if name == "chroma":  # whose pipeline names no context
            stack.enter_context(pipe.transformer.cache_context("all"))

    with ExitStack() as stack:
        mine, theirs, plain = both(name, OPTIONS[option], change, scale)
    assert_same(mine, theirs)
    assert moved(mine, plain) > 1e-4, "nothing was reused"


@pytest.mark.parametrize("name", every(3, [name for name in FAMILIES if families()[name].supports.fused_qkv]))
def test_fused_projections_are_those_of_diffusers(name):
    mine, theirs, _ = both(name, FusedQKV("denoiser"), lambda pipe: pipe.transformer.fuse_qkv_projections(), 4.0)
    assert_same(mine, theirs)


@pytest.fixture(autouse=True)
def loose():
    yield
    remove_options()
