"""Tiny checkpoints with LoRA files for them, and their images by composer and by diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import lora_files
import torch

from composer import compose
from composer.testing import pipelines

FAMILIES = ("sd", "sdxl", "sd3", "flux")
SIDES = {"flux": 32}
TEXT = {"sd": ("text_encoder",), "sdxl": ("text_encoder", "text_encoder_2"), "sd3": ("text_encoder", "text_encoder_2")}
STEPS = 2


class Model:
    """A tiny checkpoint, two LoRA files for it, and its images by both ways."""

    def __init__(self, family: str, root: Path) -> None:
        self.family, self.side, self.root = family, SIDES.get(family, 64), root
        self.source = pipelines.save(family, root / family)
        self.cls = type(pipelines.MAKERS[family]())
        pipe = self.fresh()
        self.components = ("unet", "transformer", *TEXT.get(family, ("text_encoder",)))
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
        more = {"max_sequence_length": 48} if self.family == "flux" else {}
        generator = torch.Generator().manual_seed(7)
        images = pipe(
            "a cat", num_inference_steps=STEPS, height=self.side, width=self.side, generator=generator, **more
        )
        return images.images[0].tobytes()

    def image(self, *words: str) -> bytes:
        return compose(*self.words(*words)).images[0].tobytes()

    def words(self, *words: str) -> list[str]:
        size = [f"height={self.side}", f"width={self.side}", f"steps={STEPS}", "seed=7", "callbacks=[]"]
        return ["model=local", f"model.source={self.source}", "prompt=a cat", *size, *words]
