"""Writes the tables of what is proven equal to diffusers into docs/quality/parity.md; `--run` runs the proofs first:
`python tests/parity/matrix.py --run`
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cases
import family_tasks
from flow_cases import ALL, ALL_NOISY, EDITS, FLOW_FAMILIES, MASKED, OTHER_VALUES, RAISES, VIDEOS

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


#: The tables, and what is between the lines that mark them.
PAGE = Path(__file__).resolve().parents[2] / "docs/quality/parity.md"
START, END = "<!-- tables: python tests/parity/matrix.py -->", "<!-- end of the tables -->"
#: Why a cell is not equal, beside `flow_cases.RAISES`: letter → reason.
OTHERS = {
    "d": "`DDPMPipeline` passes a generator to schedulers that take none, or starts from noise of another scale",
    "a": "diffusers' IPNDM has no `add_noise`; composer starts from an image with it",
    "c": "not compared: the loop is that of the base model, whose schedule the refiner takes over",
    OTHER_VALUES: "the pipeline samples noise for the later frames alone, composer for all of them",
    "o": "the pipeline's loop is that of another column, with which the scheduler is compared",
}
Columns = dict[str, dict[str, str]]


def older(columns: dict[str, tuple[Sequence[str], Sequence[str]]], reason: Callable[[str, str], str]) -> Columns:
    """Columns of families that are compared in files of their own: option → mark."""
    options = list(dict.fromkeys(option for equal, handed in columns.values() for option in (*equal, *handed)))
    return {
        name: {
            option: EQUAL if option in equal else HANDED if option in handed else reason(name, option)
            for option in options
        }
        for name, (equal, handed) in columns.items()
    }


def diffusion_reason(name: str, option: str) -> str:
    return "d" if name.startswith("ddpm") else "c" if name == "sdxl refined" else "a"


def flow_reason(name: str, option: str) -> str:
    return {"flow_heun": "s", "flow_sa_solver": "m"}.get(option, "n") if name.startswith("flux") else "n"


def transformers() -> Columns:
    """Families of flow transformers, which `test_flow_families.py` compares at every step."""
    generated = {f"{name} {task}": case.options(task) for name, case in FLOW_FAMILIES.items() for task in case.tasks}
    edits = {f"{name} edit": case.options() for name, case in EDITS.items()}
    return own_first(generated | edits | {f"{name} masked edit": {} for name in MASKED})


def clips() -> Columns:
    """Families of clips, which `test_videos.py` compares frame by frame."""
    return own_first(
        {f"{name} {'image2video' if case.given else 'text2video'}": case.options() for name, case in VIDEOS.items()}
    )


def own_first(columns: Columns) -> Columns:
    """Columns with the checkpoint's own scheduler, in which nothing is empty."""
    return {
        name: dict.fromkeys(("default", *ALL, *ALL_NOISY), "o") | {"default": EQUAL} | column
        for name, column in columns.items()
    }


def table(columns: Columns) -> str:
    """Scheduler options down, families and tasks across."""
    lines = ["| scheduler | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    options = list(dict.fromkeys(option for column in columns.values() for option in column))
    lines += [f"| {option} | " + " | ".join(column[option] for column in columns.values()) + " |" for option in options]
    return "\n".join(lines)


def tables() -> str:
    """All that is published, with the reasons."""
    reasons = {letter: reason for letter, (_, reason) in RAISES.items()} | OTHERS
    columns = older(DIFFUSION, diffusion_reason), older(FLOW, flow_reason), transformers(), clips()
    legend = "\n".join(f"- `{letter}`: {reason}." for letter, reason in reasons.items())
    return "\n\n".join(["## Tasks of families", family_tasks.table(), "## Schedulers", *map(table, columns), legend])


def main() -> int:
    if "--run" in sys.argv:
        import pytest

        code = pytest.main(["-q", "-m", "slow or not slow", str(Path(__file__).parent)])
        if code:
            return int(code)
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    PAGE.write_text(f"{before}{START}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}", "utf-8")
    print(tables())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
