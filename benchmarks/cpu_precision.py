"""What does precision cost on this CPU? `python benchmarks/cpu_precision.py`

One UNet evaluation in fp32, bf16 and fp16, the three in turn, so that a busy machine slows all alike; ratios of
medians.
"""

from __future__ import annotations

import statistics
import time

import torch
from diffusers import UNet2DConditionModel

from composer.tiny import networks

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ROUNDS = 3


def medium() -> UNet2DConditionModel:
    """A quarter of the width of Stable Diffusion 1.5's, for images of 256 pixels."""
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(80, 160, 320, 320),
        layers_per_block=1,
        cross_attention_dim=768,
        attention_head_dim=8,
        norm_num_groups=16,
    )


def main() -> None:
    for name, model, hidden in (
        ("tiny, 16 x 16", networks.unet(), networks.WIDTH),
        ("SD 1.5 at a quarter width, 32 x 32", medium(), 768),
    ):
        model.eval()
        times: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
        for _ in range(ROUNDS):
            for dtype in DTYPES:
                times[dtype].append(seconds(model, DTYPES[dtype], hidden))
        medians = {dtype: statistics.median(values) for dtype, values in times.items()}
        print(
            f"{name:36}",
            "  ".join(f"{dtype} {value / medians['fp32']:.2f} x fp32" for dtype, value in medians.items()),
            flush=True,
        )


@torch.no_grad()
def seconds(model: UNet2DConditionModel, dtype: torch.dtype, hidden: int) -> float:
    model.to(dtype)
    size = model.config.sample_size
    x, words = torch.randn(2, 4, size, size, dtype=dtype), torch.randn(2, 40, hidden, dtype=dtype)
    started = time.perf_counter()
    model(x, 10, words)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
