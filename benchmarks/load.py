"""What loading costs: a checkpoint of Stable Diffusion 1.5's shape, fp32 on disk, loaded in 16 bits; processes take
turns.

    python benchmarks/load.py            (5 GB of disk for a while, 3 minutes)
    python benchmarks/load.py --quick    (the embedded checkpoint: proves the script, not the point)

raw: diffusers' from_pretrained(torch_dtype=…). kept: composer, second time, with the converted weights in its cache.
CPU seconds and the growth of resident memory while loading; imports are done before the clock starts, and so is, in
the second table, a list of patterns that transformers compiles once a process, 0.1 s for either side. Reading through
all weights once is measured apart, since mapped weights are paid for when they are used.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, os, resource, sys, threading, time
import torch, diffusers
from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.loading.load_options import LoadOptions
from composer.loading.loader import load
from composer.loading.precision import DtypePlan
how, source, dtype = sys.argv[1], sys.argv[2], torch.bfloat16
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
diffusers.StableDiffusionPipeline, diffusers.AutoencoderKL, diffusers.UNet2DConditionModel
import transformers; transformers.CLIPTextModel
if sys.argv[3] == "warm":
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    get_checkpoint_conversion_mapping("clip")
before, peak, done = resident(), [0], threading.Event()
def watch():
    while not done.wait(0.005):
        peak[0] = max(peak[0], resident())
thread = threading.Thread(target=watch); thread.start()
cpu, wall = time.process_time(), time.perf_counter()
if how == "raw":
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(source, torch_dtype=dtype, safety_checker=None)
else:
    keep = how == "kept"
    spec = ModelSpec(name="local", source=source, safety_checker=False)
    pipe = load(find_checkpoint(spec), LoadOptions(DtypePlan(dtype), torch.device("cpu"), None, keep))
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
done.set(); thread.join()
begun = time.process_time()
total = sum(float(p.sum(dtype=torch.float32)) for m in (pipe.unet, pipe.vae, pipe.text_encoder) for p in m.parameters())
print(json.dumps({"cpu": cpu, "wall": wall, "peak": peak[0] - before,
    "read": time.process_time() - begun, "sum": total}))
"""


def child(how: str, source: Path, cache: Path, warm: bool) -> dict[str, float]:
    environment = {**os.environ, "COMPOSER_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, how, str(source), "warm" if warm else "cold"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="a checkpoint to take instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source, cache = args.folder or Path(name, "checkpoint"), Path(name, "cache")
        if args.quick:
            source = Path(__file__).parents[1] / "composer" / "tiny" / "checkpoint" / "text2img"
        elif args.folder is None:
            from sweep import save_stable_diffusion_shape

            save_stable_diffusion_shape(source)
        child("plain", source, cache, False)  # the files are in memory now, for all
        first = child("kept", source, cache, False)
        for warm in (False, True):
            rows: dict[str, list[dict[str, float]]] = {"raw": [], "plain": [], "kept": []}
            for _ in range(2 if args.quick else args.times):
                for how, runs in rows.items():
                    runs.append(child(how, source, cache, warm))
            totals = {round(row["sum"], 3) for runs in rows.values() for row in runs}
            assert len(totals) == 1, f"other weights: {totals}"
            table(first, rows)


def table(first: dict[str, float], rows: dict[str, list[dict[str, float]]]) -> None:
    print(f"{'':28}{'CPU s min':>10}{'median':>8}{'wall s':>8}{'peak MiB':>10}{'then read, CPU s':>18}")
    words = {"raw": "diffusers", "plain": "composer, nothing kept", "kept": "composer, second time"}
    lines = {"composer, first time": [first], **{words[how]: runs for how, runs in rows.items()}}
    for label, runs in lines.items():
        columns = {key: [row[key] for row in runs] for key in ("cpu", "wall", "peak", "read")}
        print(
            f"{label:28}{min(columns['cpu']):10.2f}{statistics.median(columns['cpu']):8.2f}"
            f"{statistics.median(columns['wall']):8.2f}"
            f"{statistics.median(columns['peak']) / 2**20:10.0f}{statistics.median(columns['read']):18.2f}"
        )
    cpu, peak = (
        statistics.median(row[key] for row in rows["raw"]) / statistics.median(row[key] for row in rows["kept"])
        for key in ("cpu", "peak")
    )
    print(f"load CPU {cpu:.1f}× less, load peak {peak:.1f}× less than diffusers")


if __name__ == "__main__":
    main()
