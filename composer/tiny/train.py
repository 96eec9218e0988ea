"""Train the embedded checkpoint from nothing: `python -m composer.tiny.train --work DIR --out DIR`.

Every stage resumes where it was stopped; with the same seed, versions and device it makes the same weights. `--out`
receives four checkpoints in diffusers' format, `text2img`, `unconditional`, `unconditional64` and `flow`, and in
`inpaint`, `depth` and `upscale` the components in which these variants differ from `text2img`, all in fp16.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor
from transformers import DPTForDepthEstimation

from composer.tiny import (
    depth_stage,
    estimator_stage,
    flow_networks,
    flow_stage,
    flow_text_stage,
    flow_tokenizer,
    inpaint_stage,
    networks,
    text_stage,
    unconditional_stage,
    unet_stage,
    upscale_stage,
    vae_stage,
)
from composer.tiny.data import ImageSet, depths, images
from composer.tiny.edit_pairs import edited_images, edits
from composer.tiny.loop import configure_process
from composer.tiny.tokenizer import save_tokenizer

SEED, TEST_SEED = 1, 2


def main(argv: list[str] | None = None) -> None:
    """Train the stages in their order.

    Args:
        argv: Command line arguments; None for those of the process.
    """
    args = _arguments(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = images(args.work, args.scenes, SEED, args.size, workers=args.workers)
    for stage in args.stages:
        configure_process(SEED, args.threads)
        STAGES[stage](args, data, device)


def text2img(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """Tokenizer, text encoder, VAE and UNet, saved as a StableDiffusionPipeline."""
    tokenizer = save_tokenizer(args.work / "tokenizer")
    encoder = text_stage.train(tokenizer, args.work, device)
    test = images(args.work, 512, TEST_SEED, args.size, "any", workers=args.workers)
    vae = vae_stage.train(data, test, args.work, device, args.vae_steps)
    latents = vae_stage.latents(vae.eval(), data, args.work, device)
    unet = unet_stage.train(latents, SEED, encoder, tokenizer, args.work, device, args.unet_steps)
    make: Any = StableDiffusionPipeline  # annotated as if the safety checker were needed
    pipeline = make(
        vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=networks.scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to("cpu", torch.float16).save_pretrained(args.out / "text2img")


def unconditional(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """The pixel-space model of 32 pixels, saved as a DDPMPipeline."""
    unet = unconditional_stage.train_small(data, args.work, device, args.unconditional_steps)
    _save_ddpm(unet, args.out / "unconditional")


def unconditional64(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """The same grown to 64 pixels."""
    small: UNet2DModel = UNet2DModel.from_pretrained(args.out / "unconditional" / "unet", torch_dtype=torch.float32)
    unet = unconditional_stage.train_large(small, data, args.work, device, args.unconditional64_steps)
    _save_ddpm(unet, args.out / "unconditional64")


def inpaint(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """The base UNet, fine-tuned to take a mask."""
    base = _trained(args.out, device)
    latents = vae_stage.latents(networks.vae(args.size), data, args.work, device)
    parts = (base.unet, base.vae, base.text_encoder, base.tokenizer)
    unet = inpaint_stage.train(*parts, data, latents, SEED, args.work, device, args.inpaint_steps)
    _save(unet, args.out / "inpaint" / "unet")


def depth(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """The base UNet, fine-tuned to take depth, and an estimator of it."""
    near = depths(args.work, args.scenes, SEED, workers=args.workers)
    estimator = estimator_stage.train(data, near, args.work, device, args.estimator_steps)
    _save(estimator, args.out / "depth" / "depth_estimator")
    networks.depth_processor().save_pretrained(args.out / "depth" / "feature_extractor")
    configure_process(SEED, args.threads)
    base = _trained(args.out, device)
    latents = vae_stage.latents(networks.vae(args.size), data, args.work, device)
    parts = (base.unet, base.text_encoder, base.tokenizer)
    unet = depth_stage.train(*parts, latents, near, SEED, args.work, device, args.depth_steps)
    _save(unet, args.out / "depth" / "unet")


def upscale(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """The base UNet, fine-tuned to finish images of twice the size too."""
    large = images(args.work, args.scenes // 8, SEED, 2 * args.size, workers=args.workers)
    base = _trained(args.out, device)
    parts = (base.unet, base.vae, base.text_encoder, base.tokenizer)
    latents = vae_stage.latents(networks.vae(args.size), data, args.work, device)
    unet = upscale_stage.train(*parts, large, latents, SEED, args.work, device, args.upscale_steps)
    _save(unet, args.out / "upscale" / "unet")


def flow(args: argparse.Namespace, data: ImageSet, device: torch.device) -> None:
    """Tokenizer, text encoder and transformer on the base's VAE, saved as a Flux2KleinPipeline."""
    tokenizer = flow_tokenizer.save_tokenizer(args.work / "flow_tokenizer")
    vae = flow_networks.vae(_trained(args.out, device).vae).eval()
    before = flow_stage.tokens(vae, data.images, args.work / "flow-before.pt", device)
    flow_stage.normalize(vae, before)
    those = edits(args.scenes, SEED)

    def edited() -> Tensor:
        images = edited_images(args.work, args.scenes, SEED, args.size, workers=args.workers)
        return flow_stage.normalized(vae, flow_stage.tokens(vae, images, args.work / "flow-after.pt", device))

    encoder = flow_text_stage.train(tokenizer, args.work, device, args.flow_text_steps)
    configure_process(SEED, args.threads)
    clean = flow_stage.normalized(vae, before)
    transformer = flow_stage.train(
        clean, edited, those, SEED, encoder, tokenizer, args.work, device, args.flow_steps
    )  # fmt: skip
    deep = flow_networks.deepen(encoder, tokenizer)
    flow_networks.save(transformer, deep, vae, tokenizer, args.out / "flow")


STAGES = {
    "text2img": text2img, "unconditional": unconditional, "unconditional64": unconditional64, "inpaint": inpaint,
    "depth": depth, "upscale": upscale, "flow": flow,
}  # fmt: skip


def _trained(out: Path, device: torch.device) -> StableDiffusionPipeline:
    """The base, in fp32."""
    return StableDiffusionPipeline.from_pretrained(out / "text2img", torch_dtype=torch.float32).to(device)


def _save_ddpm(unet: UNet2DModel, folder: Path) -> None:
    """In fp16."""
    make: Any = DDPMPipeline  # annotated with classes that are not there without torch
    make(unet.half().cpu(), networks.unconditional_scheduler()).save_pretrained(folder)


def _save(model: UNet2DConditionModel | DPTForDepthEstimation, folder: Path) -> None:
    """In fp16."""
    model.half().cpu().save_pretrained(folder)
    flow_networks.tidy(folder / "config.json")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m composer.tiny.train", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="images and resumable state (1.5 GB)")
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoints are written")
    parser.add_argument("--size", type=int, default=128, choices=(64, 128), help="pixels of an image's side")
    parser.add_argument("--scenes", type=int, default=20000)
    parser.add_argument("--vae-steps", type=int, default=3000)
    parser.add_argument("--unet-steps", type=int, default=6000)
    parser.add_argument("--unconditional-steps", type=int, default=4000)
    parser.add_argument("--unconditional64-steps", type=int, default=8000)
    parser.add_argument("--inpaint-steps", type=int, default=2400)
    parser.add_argument("--depth-steps", type=int, default=1600)
    parser.add_argument("--estimator-steps", type=int, default=1500)
    parser.add_argument("--upscale-steps", type=int, default=1400)
    parser.add_argument("--flow-steps", type=int, default=8000)
    parser.add_argument("--flow-text-steps", type=int, default=500)
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=tuple(STAGES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render scenes")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
