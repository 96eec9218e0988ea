"""Which options of `accel` and `memory` run on which families, on a CPU: `python tests/option_matrix.py`
writes the table of docs/quality/options.md from `compose check`; `test_option_matrix.py` runs the cells.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/callbacks")]

import numpy as np  # noqa: E402
from callback_matrix import source  # noqa: E402
from option_models import FLOW_MODELS  # noqa: E402

import composer  # noqa: E402
from composer.config.catalogue import catalogue  # noqa: E402
from composer.config.search_path import conf_folders  # noqa: E402
from composer.errors import ComposerError  # noqa: E402

IMAGE = ("height=64", "width=64")
#: Family → its tiny checkpoint and the words of a run.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sd": ("sd", IMAGE), "sdxl": ("sdxl", IMAGE), "sd3": ("sd3", IMAGE), "flux": ("flux", IMAGE),
    "ddpm": ("ddpm", ("task=unconditional",)), **FLOW_MODELS,
}  # fmt: skip
OPTIONS = [(group, name) for group in ("accel", "memory") for name in sorted(catalogue(conf_folders())[group])]
#: Taller than the tiles of the VAEs here; less where the model has no positions for it, and small tiles.
TILED = ("height=576", "width=64", "steps=2")
LESS = ("height=512", "width=64", "steps=2")
SMALLER = {"sd3": ("height=128", "width=64", "steps=2"), "lumina2": LESS, "wan": LESS, "wan22": LESS}
#: Settings with which an option has an effect in a run as short as these.
SETTINGS: dict[str, tuple[str, ...]] = {
    "attention": ("accel.attention.backend=_native_math",),
    "faster_cache": ("accel.faster_cache.end=900",),
    "first_block_cache": ("accel.first_block_cache.threshold=0.9",),
    "magcache": ("accel.magcache.ratios=flux", "accel.magcache.threshold=1", "accel.magcache.kept=0"),
    "taylorseer": ("accel.taylorseer.interval=2", "accel.taylorseer.warmup=1"),
    "vae_slicing": ("images=2",),
}
TAKEN, REFUSED = "yes", "no"


def words_of(family: str, *more: str) -> tuple[str, ...]:
    """The words of a run."""
    name, words = FAMILIES[family]
    prompt = () if family == "ddpm" else ("prompt=a cat", "guidance=cfg", "guidance.scale=4")
    return ("model=local", f"model.source={source(name)}", "device=cpu", "steps=4", *words, *prompt, *more)


@cache
def plain(family: str, more: tuple[str, ...]) -> np.ndarray:
    """The pixels of a run without the option."""
    return pixels(composer.compose(*words_of(family, *more)))


def pixels(result: composer.Result) -> np.ndarray:
    frames = [frame for medium in result.media for frame in getattr(medium, "frames", [medium])]
    return np.stack([np.asarray(frame, int) for frame in frames])


def settings(family: str, name: str) -> tuple[str, ...]:
    """The settings of an option; a model without text has one size."""
    words = SMALLER.get(family, TILED) if name == "vae_tiling" else SETTINGS.get(name, ())
    if family == "ddpm":
        words = tuple(word for word in words if word not in TILED)
    # the tiny VAE of LTX has 64 times as many tokens as its own, for which the shift that grows with them is infinite
    return (*words, "scheduler=flow_euler_shift") if family == "ltx" and name == "vae_tiling" else words


def verdict(family: str, group: str, name: str) -> str:
    """The refusal of a cell; empty if it is taken."""
    try:
        composer.check(*words_of(family, f"{group}=[{name}]", *settings(family, name)))
    except ComposerError as error:
        return str(error)
    return ""


def run(family: str, group: str, name: str) -> np.ndarray:
    """The pixels of a run with the option."""
    return pixels(composer.compose(*words_of(family, f"{group}=[{name}]", *settings(family, name))))


def row(family: str) -> dict[str, str]:
    """Option → refusal."""
    return {name: verdict(family, group, name) for group, name in OPTIONS}


def line(family: str, cells: dict[str, str]) -> str:
    """A row of the table."""
    return f"| {family} | " + " | ".join(REFUSED if refusal else TAKEN for refusal in cells.values()) + " |"


def main() -> None:
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    rows = {family: row(family) for family in FAMILIES}
    table = ["| family | " + " | ".join(name for _, name in OPTIONS) + " |", "|---" * (len(OPTIONS) + 1) + "|"]
    table += [line(family, cells) for family, cells in rows.items()]
    refusals = (refusal.partition(" (allowed")[0] for cells in rows.values() for refusal in cells.values() if refusal)
    reasons = "\n".join(f"- `{reason}`" for reason in dict.fromkeys(refusals))
    page = ROOT / "docs/quality/options.md"
    head = page.read_text("utf-8").partition("| family |")[0]
    page.write_text(head + "\n".join(table) + f"\n\nThe refusals:\n\n{reasons}\n", "utf-8")


if __name__ == "__main__":
    main()
