"""Prints the README's table of what is proven equal to diffusers; `--run` runs the proofs first: `python
tests/parity/matrix.py --run`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cases
from flow_cases import EDITS, FLOW_FAMILIES, MASKED, VIDEOS

#: Equal as it is; equal once diffusers' pipeline's `step` is handed the generator that it keeps.
EQUAL, HANDED = "=", "g"
#: Family and task → scheduler option → how it is proven. A pair of tuples: equal, and equal once handed.
DIFFUSION: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "sd text2img": (cases.SD, ()),
    "sd img2img": (cases.SD_FROM_IMAGE, ()),
    "sd inpaint 4": (cases.SD_FROM_IMAGE, ()),
    "sd inpaint 9": (cases.SD_FROM_IMAGE, ()),
    "sd depth2img": (cases.SD_FROM_IMAGE, ()),
    "sdxl text2img": (cases.SDXL, ()),
    "sdxl img2img": (cases.SDXL_FROM_IMAGE, ()),
    "sdxl inpaint": (cases.SDXL_FROM_IMAGE, ()),
    "sdxl refined": (cases.SDXL_REFINED, ()),
    "ddpm unconditional": ((*cases.DDPM, "ddim"), ()),
}
FLOW: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "sd3 text2img": (cases.SD3, cases.SD3_NOISY),
    "sd3 img2img": (cases.SD3_FROM_IMAGE, cases.SD3_NOISY_FROM_IMAGE),
    "sd3 inpaint": (cases.SD3_FROM_IMAGE, cases.SD3_NOISY_FROM_IMAGE),
    "flux text2img": (cases.FLUX, cases.FLUX_NOISY),
    "flux img2img": (cases.FLUX_FROM_IMAGE, cases.FLUX_NOISY_FROM_IMAGE),
    "flux inpaint": (cases.FLUX_FROM_IMAGE, cases.FLUX_NOISY_FROM_IMAGE),
}


#: Families of flow transformers, which `test_flow_families.py` compares at every step.
TRANSFORMERS: dict[str, tuple[Sequence[str], Sequence[str]]] = (
    {
        f"{name} {task}": (("default", *(case.schedulers if task == "text2img" else ())), ())
        for name, case in FLOW_FAMILIES.items()
        for task in case.tasks
    }
    | {f"{name} edit": (("default",), ()) for name in EDITS}
    | {f"{name} masked edit": (("default",), ()) for name in MASKED}
)
#: Families of clips, which `test_videos.py` compares frame by frame.
CLIPS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    f"{name} {'image2video' if case.given else 'text2video'}": (("default", *case.schedulers), ())
    for name, case in VIDEOS.items()
}


def table(columns: dict[str, tuple[Sequence[str], Sequence[str]]]) -> str:
    """Scheduler options down, families and tasks across."""
    options = list(dict.fromkeys(option for equal, handed in columns.values() for option in (*equal, *handed)))
    lines = ["| scheduler | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for option in options:
        marks = [EQUAL if option in equal else HANDED if option in handed else "" for equal, handed in columns.values()]
        lines.append(f"| {option} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def main() -> int:
    if "--run" in sys.argv:
        import pytest

        code = pytest.main(["-q", "-m", "slow or not slow", str(Path(__file__).parent)])
        if code:
            return int(code)
    print(f"{table(DIFFUSION)}\n\n{table(FLOW)}\n\n{table(TRANSFORMERS)}\n\n{table(CLIPS)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
