"""Tiny checkpoints with control models for them, and their images by composer and by diffusers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers as d
import numpy as np
import torch
from PIL import Image
from torch import nn
from zoo import control as zoo

from composer import StepCallback, compose
from composer.testing import pipelines

STEPS, SEED = 4, 7


def randomised(model: nn.Module, seed: int) -> nn.Module:
    """All weights other ones: those that a new ControlNet adds with are zeros."""
    torch.manual_seed(seed)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    return model.eval()


def sd_attention_first() -> Any:
    """Stable Diffusion whose last block down has no attention, as in the checkpoints that T2I-Adapters are for."""
    base = pipelines.sd()
    torch.manual_seed(0)
    kinds = {"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"]}
    kinds["up_block_types"] = ["UpBlock2D", "CrossAttnUpBlock2D"]
    unet = d.UNet2DConditionModel.from_config({**base.unet.config, **kinds})
    return d.StableDiffusionPipeline(**{**base.components, "unet": unet}, requires_safety_checker=False)


def adapters(kind: str) -> Callable[[Any], nn.Module]:
    factor = 16 if kind.endswith("xl") else 8
    return lambda pipe: d.T2IAdapter(
        in_channels=3, channels=[16, 32], num_res_blocks=1, downscale_factor=factor, adapter_type=kind
    )


def of_zoo(make: Callable[[], Any]) -> Callable[[Any], nn.Module]:
    """A control model of a pipeline in the zoo, without what its pipeline has lent it."""

    def net(pipe: Any) -> nn.Module:
        model = make().controlnet
        return type(model).from_config(model.config)

    return net


def flux_union(pipe: Any) -> nn.Module:
    config = zoo.flux_control().controlnet.config
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    return d.FluxControlNetModel(**{**settings, "num_mode": 4})


def pooling(pipe: Any) -> nn.Module:
    """A control model that pools what it adds, as one that shuffles an image does."""
    net = d.ControlNetModel.from_unet(pipe.unet)
    net.register_to_config(global_pool_conditions=True)
    return net


def sd3_large(pipe: Any) -> nn.Module:
    """A control model that reads no text and has no positions of its own, as those of SD 3.5 large."""
    settings = {name: value for name, value in pipe.transformer.config.items() if not name.startswith("_")}
    changed = {"num_layers": 1, "joint_attention_dim": None, "use_pos_embed": False, "dual_attention_layers": ()}
    return d.SD3ControlNetModel(**{**settings, **changed, "force_zeros_for_pooled_projection": False})


@dataclass(frozen=True)
class Kind:
    """How a checkpoint and its control models are made."""

    base: Callable[[], Any]
    net: Callable[[Any], nn.Module]
    side: int = 64
    words: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)


def stripped(make: Callable[[], Any], cls: type) -> Callable[[], Any]:
    """The pipeline without its control model."""

    def base() -> Any:
        components = {name: part for name, part in make().components.items() if name != "controlnet"}
        return cls(**components)

    return base


UNET = {"guidance_scale": 7.5}
KINDS = {
    "sd": Kind(pipelines.sd, lambda pipe: d.ControlNetModel.from_unet(pipe.unet), arguments=UNET),
    "sd_pooling": Kind(pipelines.sd, pooling, arguments=UNET),
    "sd_inpaint": Kind(pipelines.MAKERS["sd_inpaint"], of_zoo(zoo.sdcontrol), arguments=UNET),
    "sd_t2i": Kind(sd_attention_first, adapters("full_adapter"), arguments=UNET),
    "sdxl": Kind(pipelines.sdxl, lambda pipe: d.ControlNetModel.from_unet(pipe.unet), arguments=UNET),
    "sdxl_union": Kind(pipelines.sdxl, of_zoo(zoo.sdxl_union), arguments=UNET),
    "sdxl_t2i": Kind(pipelines.sdxl, adapters("full_adapter_xl"), arguments=UNET),
    "sd3": Kind(pipelines.sd3, of_zoo(zoo.sd3_control), arguments={"guidance_scale": 7.5}),
    "sd3_large": Kind(pipelines.sd3, sd3_large, arguments={"guidance_scale": 7.5}),
    "flux": Kind(
        stripped(zoo.flux_control, d.FluxPipeline), of_zoo(zoo.flux_control), 32,
        arguments={"guidance_scale": 7.5, "max_sequence_length": 48},
    ),
    "flux_union": Kind(
        stripped(zoo.flux_control, d.FluxPipeline), flux_union, 32,
        arguments={"guidance_scale": 7.5, "max_sequence_length": 48},
    ),
    "qwen_image": Kind(
        stripped(zoo.qwen_control, d.QwenImagePipeline), of_zoo(zoo.qwen_control), 32,
        arguments={"true_cfg_scale": 7.5, "negative_prompt": ""},
    ),
    "z_image": Kind(
        stripped(zoo.zimage_control, d.ZImagePipeline), of_zoo(zoo.zimage_control), 32,
        arguments={"guidance_scale": 6.5},
    ),
}  # fmt: skip


class Model:
    """A tiny checkpoint, two control models for it, and its images by both ways."""

    def __init__(self, name: str, root: Path) -> None:
        self.kind, self.root = KINDS[name], root / name
        base = self.kind.base()
        self.source = self.root / "base"
        base.save_pretrained(self.source)
        self.cls = type(base)
        self.nets = [self._save(seed) for seed in (1, 2)]
        self.files = {name: str(self._paint(name, seed)) for seed, name in enumerate(("a", "b", "photo"))}
        self.files["mask"] = str(self.root / "mask.png")
        mask = np.zeros((self.side, self.side), np.uint8)
        mask[self.side // 4 : self.side // 2, self.side // 4 :] = 255
        Image.fromarray(mask).save(self.files["mask"])

    @property
    def side(self) -> int:
        return self.kind.side

    def open(self, name: str) -> Image.Image:
        return Image.open(self.files[name])

    def classic(
        self,
        cls: type,
        count: int = 1,
        keyword: str = "controlnet",
        join: Any = list,
        prepare: Callable[[Any], None] = lambda pipe: None,
        **arguments: Any,
    ) -> bytes:
        """The image of a pipeline of diffusers, with the first so many control models."""
        d.utils.logging.disable_progress_bar()
        nets = [self._class.from_pretrained(folder) for folder in self.nets[:count]]
        known, called = (inspect.signature(function).parameters for function in (cls.__init__, cls.__call__))
        components = self.cls.from_pretrained(self.source).components
        components = {name: part for name, part in components.items() if name in known}
        if "requires_safety_checker" in known:
            components["requires_safety_checker"] = False
        pipe = cls(**components, **{keyword: nets[0] if count == 1 else join(nets)})
        pipe.set_progress_bar_config(disable=True)
        prepare(pipe)
        size = {"height": self.side, "width": self.side} if "height" in called else {}
        common = {"prompt": "a cat", "num_inference_steps": STEPS, "generator": torch.Generator().manual_seed(SEED)}
        torch.manual_seed(SEED)  # of which SD3's samples the latents of the control image
        given = {**common, **size, **self.kind.arguments, **arguments}
        self.steps: list[torch.Tensor] = []
        if "callback_on_step_end" in called:
            given["callback_on_step_end"] = lambda _pipe, _i, _t, found: (
                self.steps.append(found["latents"].clone()) or {}
            )
        if cls is not d.StableDiffusionAdapterPipeline:
            return b"".join(image.tobytes() for image in pipe(**given).images)
        # it multiplies latents by 1 / scaling_factor before it decodes them, and all other pipelines divide
        latents = pipe(**given, output_type="latent").images
        with torch.no_grad():
            pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        return b"".join(image.tobytes() for image in d.image_processor.VaeImageProcessor().postprocess(pixels))

    def image(self, *words: str) -> bytes:
        return b"".join(image.tobytes() for image in compose(*self.words(*words)).images)

    def latents(self, *words: str) -> list[torch.Tensor]:
        """The latents of a run after each step."""

        class Recorder(StepCallback):
            def __init__(self) -> None:
                self.found: list[torch.Tensor] = []

            def after_step(self, step, latents):
                self.found.append(latents.clone())

        recorder = Recorder()
        compose(*[word for word in self.words(*words) if not word.startswith("callbacks")], callbacks=[recorder])
        return recorder.found

    def control(self, *words: str) -> list[str]:
        """Words that set the first control model and its image."""
        return [f"control={self.nets[0]}", f"control.image={self.files['a']}", *words]

    def two(self, *words: str) -> list[str]:
        """Words that set both."""
        first = [f"control.one={self.nets[0]}", f"control.one.image={self.files['a']}", "control.one.scale=0.7"]
        second = [f"control.two={self.nets[1]}", f"control.two.image={self.files['b']}", "control.two.scale=-0.3"]
        return [*first, *second, *words]

    def words(self, *words: str) -> list[str]:
        keys = {word.partition("=")[0] for word in words}
        size = [f"height={self.side}", f"width={self.side}", f"steps={STEPS}", f"seed={SEED}", "callbacks=[]"]
        common = ["model=local", f"model.source={self.source}", "prompt=a cat", "guidance=7.5", *size]
        return [*(word for word in common if word.partition("=")[0] not in keys), *words]

    def _save(self, seed: int) -> Path:
        net = randomised(self.kind.net(self.cls.from_pretrained(self.source)), seed)
        self._class = type(net)
        net.save_pretrained(self.root / f"net{seed}")
        return self.root / f"net{seed}"

    def _paint(self, name: str, seed: int) -> Path:
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = self.root / f"{name}.png"
        Image.fromarray(pixels).resize((self.side, self.side), Image.Resampling.BICUBIC).save(path)
        return path
