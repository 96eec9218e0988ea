"""Print the zoo: `python tests/zoo/table.py [NAME …]`: name, class, kind, CPU seconds."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import torch
from diffusers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[1]))


def main(names: list[str]) -> None:
    from zoo import ZOO, generate

    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    print("| name | class | kind | CPU s of making | CPU s of 4 steps |\n|---|---|---|---|---|")
    for name in names or ZOO:
        entry = ZOO[name]
        if not entry.available:
            print(f"| {name} | | {entry.kind} | needs {entry.needs} | |")
            continue
        begun = time.process_time()
        pipeline = entry.make()
        ready = time.process_time()
        generate(entry, pipeline)
        done = time.process_time()
        print(
            f"| {name} | {type(pipeline).__name__} | {entry.kind} | {ready - begun:.2f} | {done - ready:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
