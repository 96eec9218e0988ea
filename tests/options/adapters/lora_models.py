"""Tiny checkpoints with LoRA files for them, and their images by composer and by diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import lora_files
import torch
import zoo

from composer import compose
from composer.testing import pipelines

STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a family's tiny checkpoint is made and run.

    Attributes:
        zoo: Its name in the zoo; empty for the maker of the family's own name.
        side: Height and width in pixels.
        text: Text encoders that its pipeline loads LoRA for.
        words: Further words of a run.
        arguments: The same for diffusers' pipeline.
    """

    zoo: str = ""
    side: int = 32
    text: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)


CLIP = {"words": ("task=text2video", "frames=9", "guidance=4"),
        "arguments": {"num_frames": 9, "guidance_scale": 4.0, "negative_prompt": ""}}  # fmt: skip
GUIDED = {"words": ("guidance=4",), "arguments": {"guidance_scale": 4.0}}
#: Those that the promise names, and all other native ones whose pipelines load LoRA.
FAMILIES = {
    "sd": Family(side=64, text=("text_encoder",)),
    "sdxl": Family(side=64, text=("text_encoder", "text_encoder_2")),
    "sd3": Family(side=64, text=("text_encoder", "text_encoder_2")),
    "flux": Family(text=("text_encoder",), arguments={"max_sequence_length": 48}),
    "qwen_image": Family(zoo="qwen", words=("guidance=4",),
                         arguments={"true_cfg_scale": 4.0, "negative_prompt": ""}),
    "z_image": Family(zoo="zimage", words=("guidance=4",), arguments={"guidance_scale": 3.0}),
    "flux2": Family(zoo="klein", **GUIDED),
    "flux2_dev": Family(zoo="flux2", **GUIDED),
    "chroma": Family(zoo="chroma", words=("guidance=4",),
                     arguments={"guidance_scale": 4.0, "max_sequence_length": 48}),
    "sana": Family(zoo="sana", words=("guidance=4",),
                   arguments={"guidance_scale": 4.0, "use_resolution_binning": False}),
    "lumina2": Family(zoo="lumina2", **GUIDED),
    "wan": Family(zoo="wan", **CLIP),
    "ltx": Family(zoo="ltx", **CLIP),
}  # fmt: skip


class Model:
    """A tiny checkpoint, two LoRA files for it, and its images by both ways."""

    def __init__(self, family: str, root: Path) -> None:
        self.family, self.root = FAMILIES[family], root
        self.side, name = self.family.side, self.family.zoo
        self.source = Path(zoo.save(name, root / family) if name else pipelines.save(family, root / family))
        self.cls = type((zoo.ZOO[name].make if name else pipelines.MAKERS[family])())
        pipe = self.fresh()
        self.components = ("unet", "transformer", *self.family.text)
        with_text, without = lora_files.layers_of(pipe, self.components), lora_files.layers_of(pipe)
        self.one = lora_files.save(lora_files.diffusers(with_text), root / f"{family}-one.safetensors")
        write = lora_files.kohya if hasattr(pipe, "unet") else lora_files.diffusers
        self.two = lora_files.save(write(without, seed=5), root / f"{family}-two.safetensors")
        self.loadable = [
            name for name in self.components if name in pipe._lora_loadable_modules and hasattr(pipe, name)
        ]

    def fresh(self) -> Any:
        diffusers.utils.logging.disable_progress_bar()
        pipe = self.cls.from_pretrained(self.source)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def classic(self, *loads: tuple[Path, Any]) -> bytes:
        pipe, names = self.fresh(), []
        for number, (file, _) in enumerate(loads):
            names.append(f"adapter_{number}")
            pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=names[-1])
        pipe.set_adapters(names, [scale for _, scale in loads])
        result = pipe(
            prompt="a cat", num_inference_steps=STEPS, height=self.side, width=self.side,
            generator=torch.Generator().manual_seed(7), output_type="pil", **self.family.arguments,
        )  # fmt: skip
        (images,) = [result.images] if hasattr(result, "images") else result.frames
        return b"".join(image.tobytes() for image in images)

    def image(self, *words: str) -> bytes:
        result = compose(*self.words(*words))
        return b"".join(
            image.tobytes() for medium in result.media for image in getattr(medium, "frames", None) or [medium]
        )

    def words(self, *words: str) -> list[str]:
        size = [f"height={self.side}", f"width={self.side}", f"steps={STEPS}", "seed=7", "callbacks=[]"]
        return ["model=local", f"model.source={self.source}", "prompt=a cat", *size, *self.family.words, *words]
