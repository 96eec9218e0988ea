"""Which callbacks run on which families, tried on tiny checkpoints: `python tests/callbacks/callback_matrix.py` prints
the table of docs/quality/callbacks.md.
"""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "tests"), *map(str, (ROOT / "plugins").iterdir())]

import zoo  # noqa: E402

import composer  # noqa: E402
from composer.config.catalogue import catalogue  # noqa: E402
from composer.config.search_path import conf_folders  # noqa: E402
from composer.errors import CallbackError, ComposerError  # noqa: E402
from composer.testing import pipelines  # noqa: E402

CLIP = ("height=32", "width=32", "frames=9")
SMALL = ("height=32", "width=32")
#: Family → its tiny checkpoint, by name of a maker or in the zoo, and the words of a run.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sd": ("sd", ()), "sdxl": ("sdxl", ()), "sd3": ("sd3", ()), "flux": ("flux", ()),
    "flux kontext": ("kontext", SMALL), "flux fill": ("fluxfill", ("task=inpaint", *SMALL)), "flux2": ("klein", SMALL),
    "z_image": ("zimage", SMALL), "qwen_image": ("qwen", SMALL), "chroma": ("chroma", SMALL), "sana": ("sana", SMALL),
    "lumina2": ("lumina2", SMALL), "ddpm": ("ddpm", ("task=unconditional",)),
    "wan": ("wan", ("task=text2video", *CLIP)),
    "wan image2video": ("wan_image_two_experts", ("task=image2video", *CLIP)),
    "ltx": ("ltx", ("task=text2video", *CLIP)), "ltx image2video": ("ltx", ("task=image2video", *CLIP)),
}  # fmt: skip
#: Settings that a callback wants.
SETTINGS: dict[str, tuple[str, ...]] = {
    "prompt_switch": ("callbacks.prompt_switch.prompt=a dog", "callbacks.prompt_switch.step=1"),
}
BUILT_IN = sorted(catalogue(conf_folders())["callbacks"])
PLUGINS = ("attention_maps", "metrics_logger", "regional_prompt")
RUNS = "yes"


def plugin(name: str) -> composer.StepCallback:
    """One of the three examples in plugins/."""
    if name == "attention_maps":
        from composer_attention_maps import AttentionMaps

        return AttentionMaps()
    if name == "metrics_logger":
        from composer_metrics_logger import MetricsLogger

        return MetricsLogger()
    from composer_regional_prompt import RegionalPrompt

    return RegionalPrompt(prompt="a dog", box=[0.5, 0, 1, 1])


@cache
def source(name: str) -> str:
    """Path of a family's tiny checkpoint, saved once."""
    folder = Path(tempfile.mkdtemp(prefix="callback-matrix-")) / name
    return str(pipelines.save(name, folder) if name in pipelines.MAKERS else zoo.save(name, folder))


def outcomes(family: str, folder: Path) -> dict[str, str]:
    """Callback → `RUNS`, or why it is refused before weights load; those that are not refused run together."""
    name, words = FAMILIES[family]
    words = ("model=local", f"model.source={source(name)}", "steps=2", f"output.folder={folder}", *words)
    if family != "ddpm":
        words += ("prompt=a cat", "guidance=cfg", "guidance.scale=4")
    refused: dict[str, str] = {}
    while True:
        taken = [callback for callback in (*BUILT_IN, *PLUGINS) if callback not in refused]
        built_in = [callback for callback in taken if callback in BUILT_IN]
        settings = [word for callback in built_in for word in SETTINGS.get(callback, ())]
        chosen = f"callbacks=[{','.join(built_in)}]"
        plugins = [plugin(callback) for callback in taken if callback in PLUGINS]
        more = {"callbacks": plugins} if plugins else {}
        try:
            result = composer.compose(*words, chosen, *settings, **more)
        except CallbackError:
            raise
        except ComposerError as error:
            assert not folder.exists(), "refused before anything is written, and so before weights load"
            refused[name_of(error.key, taken)] = str(error).partition(" (allowed")[0]
            continue
        assert len(result.media) == 1 and result.image.size[0] >= 16
        return {**dict.fromkeys(taken, RUNS), **refused}


def name_of(key: str, taken: list[str]) -> str:
    """The callback that a refusal names."""
    named = key.removeprefix("callbacks.")
    return next(
        callback for callback in taken if callback.replace("_", "") == named.split(".")[0].replace("_", "").lower()
    )


def main() -> None:
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    results = {}
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            results[family] = outcomes(family, Path(folder) / "run")
    print("| family | " + " | ".join((*BUILT_IN, *PLUGINS)) + " |\n" + "|---" * (len(BUILT_IN) + 4) + "|")
    for family, cells in results.items():
        print(
            f"| {family} | "
            + " | ".join("yes" if cells[name] == RUNS else "no" for name in (*BUILT_IN, *PLUGINS))
            + " |"
        )
    reasons = dict.fromkeys(line for cells in results.values() for line in cells.values() if line != RUNS)
    print("\nWhat is refused is refused before weights load:\n")
    print("\n".join(f"- `{reason}`" for reason in reasons))


if __name__ == "__main__":
    main()
