"""What the denoiser's forward takes by each library: `python benchmarks/compute.py [--quick] [--compile] [--json FILE]`

Random weights of tiny, Stable Diffusion 1.5's, SDXL's and Flux's shape, the latter two with their widths and fewer
layers, on one thread. The raw diffusers module in fp32 is the base line of each group of variants; they take turns in
one process of their own. Distances are of the output from fp32's, relative. --quick: tiny and Stable Diffusion 1.5 at
256 pixels. --compile takes minutes more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy

import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from torch import Tensor, nn

from composer.options.accel.converted_forward import ConvertedForward, Engine
from composer.options.accel.onnx import Runtime
from composer.options.accel.openvino import Vino

BASE = "eager fp32"
#: Variants that are in memory at once.
GROUPS = (
    ("eager bf16", "channels_last bf16", "openvino bf16"),
    ("eager bf16", "openvino bf16", "openvino_static bf16", "openvino_int8 bf16", "openvino_int8_static bf16"),
    ("openvino fp32", "onnx fp32"),
    ("compile bf16",),
)
#: What must be reached on Stable Diffusion 1.5's shape: openvino bf16 over eager bf16 and over eager fp32.
OVER_BF16, OVER_FP32 = 1.4, 2.5
XL = {
    "block_out_channels": (320, 640, 1280), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816, "use_linear_projection": True,
}  # fmt: skip
TINY = {"block_out_channels": (32, 64), "cross_attention_dim": 64, "attention_head_dim": 4, "norm_num_groups": 8}
TINY |= {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
#: Class, config, latents along a side, rounds.
SHAPES = {
    "tiny": (UNet2DConditionModel, TINY, 16, 40),
    "sd15-quick": (UNet2DConditionModel, {"cross_attention_dim": 768}, 32, 5),
    "sd15": (UNet2DConditionModel, {"cross_attention_dim": 768}, 64, 5),
    "sdxl": (UNet2DConditionModel, XL, 64, 3),
    "flux": (FluxTransformer2DModel, {"num_layers": 2, "num_single_layers": 4, "guidance_embeds": True}, 64, 3),
}


def made(cls: type, config: dict, dtype: torch.dtype) -> nn.Module:
    """The same random weights whatever the dtype, scaled so that outputs stay near 1."""
    with torch.device("meta"):
        model = cls(**config)
    model, generator = nn.Module.to(model, dtype).to_empty(device="cpu").eval(), torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            weight.copy_(torch.empty(weight.shape).normal_(0, weight[0].numel() ** -0.5, generator=generator))
        else:
            weight.fill_(1.0 if name.endswith("weight") else 0.0)
    return model


def inputs(model: nn.Module, side: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Two images, as classifier-free guidance has them; of Flux one."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    config, timestep = model.config, torch.tensor(501.0)
    if isinstance(model, FluxTransformer2DModel):
        ids = torch.cartesian_prod(torch.zeros(1), torch.arange(side / 2), torch.arange(side / 2)).to(dtype)
        return {
            "hidden_states": random(1, len(ids), config.in_channels),
            "encoder_hidden_states": random(1, 256, config.joint_attention_dim),
            "pooled_projections": random(1, config.pooled_projection_dim), "timestep": torch.tensor([0.5]).to(dtype),
            "img_ids": ids, "txt_ids": torch.zeros(256, 3, dtype=dtype), "guidance": torch.tensor([3.5]).to(dtype),
        }  # fmt: skip
    given = {
        "sample": random(2, 4, side, side),
        "timestep": timestep,
        "encoder_hidden_states": random(2, 77, config.cross_attention_dim),
    }
    if config.addition_embed_type:
        given["added_cond_kwargs"] = {"text_embeds": random(2, 1280), "time_ids": torch.full((2, 6), 512.0).to(dtype)}
    return given


def by(engine: Engine, module: nn.Module) -> Callable[..., tuple[Tensor]]:
    return ConvertedForward("benchmark", module, module.forward, engine, lambda dtype: dtype, keep=False)


def variants(shape: str, group: tuple[str, ...]) -> dict[str, Callable[[], Tensor]]:
    cls, config, side, _ = SHAPES[shape]
    models: dict[torch.dtype, nn.Module] = {torch.float32: made(cls, config, torch.float32)}
    results = {}
    for name in (BASE, *group):
        how, precision = name.split()
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        if dtype not in models:
            models[dtype] = made(cls, config, dtype)
        model = models[dtype]
        run = {
            "eager": lambda: model, "channels_last": lambda: deepcopy(model).to(memory_format=torch.channels_last),
            "openvino": lambda: by(Vino(), model), "openvino_static": lambda: by(Vino(static=True), model),
            "openvino_int8": lambda: by(Vino(weights="int8"), model),
            "openvino_int8_static": lambda: by(Vino(static=True, weights="int8"), model),
            "onnx": lambda: by(Runtime(), model),
            "compile": lambda: torch.compile(model, options={"freezing": True}),
        }[how]()  # fmt: skip
        given = inputs(model, side, dtype)
        results[name] = lambda run=run, given=given: run(**given, return_dict=False)[0].float()
    return results


@torch.no_grad()
def measured(shape: str, group: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Seconds for each variant, wall and CPU, in turn; the first round, which converts and compiles, is listed
    separately.
    """
    torch.set_num_threads(1)
    runs, wall, cpu, first, outputs = variants(shape, group), {}, {}, {}, {}
    for round_ in range(SHAPES[shape][3] + 1):
        for name, run in runs.items():
            begun, spent = time.perf_counter(), time.process_time()
            outputs[name] = run()
            if round_:
                wall.setdefault(name, []).append(time.perf_counter() - begun)
                cpu.setdefault(name, []).append(time.process_time() - spent)
            else:
                first[name] = time.perf_counter() - begun
    base = outputs[BASE]
    return {
        name: {
            "wall": min(wall[name]), "wall median": statistics.median(wall[name]), "cpu": min(cpu[name]),
            "cpu median": statistics.median(cpu[name]), "first": first[name],
            "distance": ((outputs[name] - base).norm() / base.norm()).item(),
        } for name in runs
    }  # fmt: skip


def table(shape: str, rows: dict[str, dict[str, float]]) -> None:
    base = rows[BASE]
    print(f"\n{shape:20} {'wall s':>18} {'CPU s':>18} {'× eager fp32, by CPU':>22} {'first s':>8} {'distance':>9}")
    for name, row in rows.items():
        walls, cpus = (f"{row[kind]:8.3f} ({row[f'{kind} median']:.3f})" for kind in ("wall", "cpu"))
        ratio = f"{base['cpu'] / row['cpu']:.2f} ({base['cpu median'] / row['cpu median']:.2f})"
        print(f"{name:20} {walls:>18} {cpus:>18} {ratio:>22} {row['first']:8.1f} {row['distance']:9.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES)
    parser.add_argument("--json")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)  # a group of variants in a process of its own
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.one[0], tuple(args.one[1:]))))
        return
    print("Minima, medians in brackets; first: with converting and compiling.")
    results: dict[str, list[dict[str, dict[str, float]]]] = {}
    for shape in args.shapes or (("tiny", "sd15-quick") if args.quick else ("tiny", "sd15", "sdxl", "flux")):
        for group in GROUPS if args.compile else GROUPS[:-1]:
            # torch can't write the norm of Flux as ONNX
            group = tuple(name for name in group if (shape, name) != ("flux", "onnx fp32"))
            done = subprocess.run([sys.executable, __file__, "--one", shape, *group], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            rows = json.loads(done.stdout.splitlines()[-1])
            results.setdefault(shape, []).append(rows)
            table(shape, rows)
    if "sd15" in results:
        rows = results["sd15"][0]
        for other, target in (("eager bf16", OVER_BF16), (BASE, OVER_FP32)):
            ratio = rows[other]["cpu"] / rows["openvino bf16"]["cpu"]
            print(f"openvino bf16 over {other}: {ratio:.2f}, {'reached' if ratio >= target else 'short of'} {target}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "shapes": results}, file, indent=1)


if __name__ == "__main__":
    main()
