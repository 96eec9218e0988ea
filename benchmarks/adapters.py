"""What a LoRA costs at SDXL's number of layers: load, another scale and undo, beside diffusers' own calls.

    python benchmarks/adapters.py            (1 minute)
    python benchmarks/adapters.py --quick    (few layers: proves the script, not the point)

The UNet has SDXL's blocks and is narrow, so that bookkeeping is measured and not matrix products. CPU seconds, the
least and the median.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.options.lifecycle import apply_options, remove_options
from composer.pipelines.build import build_pipeline
from composer.testing import pipelines


def write(folder: Path, quick: bool) -> tuple[Path, Path, int]:
    """Write a checkpoint and a LoRA in kohya's names for all of its UNet's linear layers in attention blocks."""
    pipe: Any = pipelines.sdxl()
    config = dict(pipe.unet.config) | {
        "block_out_channels": (16, 32, 32), "layers_per_block": 2, "norm_num_groups": 8, "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 1) if quick else (1, 2, 10),
    }  # fmt: skip
    pipe.unet = diffusers.UNet2DConditionModel.from_config(config)
    pipe.save_pretrained(folder / "sdxl")
    tensors = {}
    for path, module in pipe.unet.named_modules():
        if isinstance(module, torch.nn.Linear) and "attentions" in path:
            name = f"lora_unet_{path.replace('.', '_')}"
            tensors[f"{name}.lora_down.weight"] = torch.randn(4, module.in_features) * 0.01
            tensors[f"{name}.lora_up.weight"] = torch.randn(module.out_features, 4) * 0.01
            tensors[f"{name}.alpha"] = torch.tensor(4.0)
    save_file(tensors, folder / "lora.safetensors")
    return folder / "sdxl", folder / "lora.safetensors", len(tensors) // 3


def timed(action: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    action()
    return time.process_time() - started


def measure_composer(source: Path, file: Path, method: str, rounds: int) -> dict[str, list[float]]:
    """Load, another scale, and undo, as runs of a sweep do it."""
    seconds: dict[str, list[float]] = {"load": [], "scale": [], "undo": []}
    words = ["model=local", f"model.source={source}", "callbacks=[]", f"lora={file}", f"lora.method={method}"]
    for _ in range(rounds):
        first, second = (
            build_pipeline(check(read(compose_config([*words, f"lora.scale={scale}"])))) for scale in (1, 0.5)
        )
        for name, pipeline in {"load": first, "scale": second}.items():

            def apply(pipeline: Any = pipeline) -> None:
                apply_options(pipeline.family.pipe, pipeline.options, pipeline.device)
                with pipeline.options["lora.lora"].active(pipeline.family.pipe):
                    pass

            seconds[name].append(timed(apply))
        seconds["undo"].append(timed(remove_options))
    return seconds


def measure_diffusers(source: Path, file: Path, rounds: int) -> dict[str, list[float]]:
    """The same by `load_lora_weights`, `set_adapters` and `unload_lora_weights`."""
    seconds: dict[str, list[float]] = {"load": [], "scale": [], "undo": []}
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(source)

    def load() -> None:
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="lora")
        pipe.set_adapters(["lora"], [1.0])

    for _ in range(rounds):
        seconds["load"].append(timed(load))
        seconds["scale"].append(timed(lambda: pipe.set_adapters(["lora"], [0.5])))
        seconds["undo"].append(timed(pipe.unload_lora_weights))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds = 1 if quick else 3
    torch.set_num_threads(1)
    diffusers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        source, file, layers = write(Path(folder), quick)
        ways = {
            "diffusers": measure_diffusers(source, file, rounds),
            "composer, peft": measure_composer(source, file, "peft", rounds),
            "composer, merge": measure_composer(source, file, "merge", rounds),
        }
    print(f"{layers} layers, CPU ms, least (median)\n\n| way | load | another scale | undo |\n|---|---|---|---|")
    for way, seconds in ways.items():
        cells = (f"{min(of) * 1e3:.0f} ({statistics.median(of) * 1e3:.0f})" for of in seconds.values())
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
