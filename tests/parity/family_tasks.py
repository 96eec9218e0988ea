"""Which task of which family is equal to diffusers, and why the others are not compared."""

from __future__ import annotations

from flow_cases import EDITS, FLOW_FAMILIES, MASKED, VIDEOS

TASKS = (
    "text2img", "img2img", "inpaint", "outpaint", "variations", "upscale", "depth2img", "edit", "edit with a mask",
    "unconditional", "text2video", "image2video",
)  # fmt: skip
#: Number → why a task of a family has no proof of equality.
REASONS = {
    "1": "diffusers has no pipeline for it; composer runs it, see `tests/tasks/test_on_families.py`",
    "2": "`ChromaInpaintPipeline` fails for want of a `guidance_embeds` that Chroma's transformer lacks; composer runs "
    "it",
    "3": "`QwenImageEditInpaintPipeline` samples the image's latents before the noise, so that its seeds are others; "
    "composer runs it",
    "4": "diffusers has no pipeline that begins with an image; composer's loop is compared with one written by hand, "
    "`test_unconditional_models_start_from_an_image`",
    "5": "the model inpaints alone; its outpainting is inpainting with the margins as the mask",
}
#: Families compared in files of their own → their tasks.
OLDER = {
    "sd": ("text2img", "img2img", "inpaint", "depth2img"), "sdxl": ("text2img", "img2img", "inpaint"),
    "sd3": ("text2img", "img2img", "inpaint"), "flux": ("text2img", "img2img", "inpaint"),
    "ddpm": ("unconditional",),
}  # fmt: skip
#: Tasks made of others, compared with the same chain of diffusers' pipelines by `test_derived_tasks.py`.
DERIVED = {"outpaint": "inpaint", "variations": "img2img", "upscale": "img2img"}
#: Family → task → why it is not compared.
NOT_COMPARED: dict[str, dict[str, str]] = {
    "flux2": dict.fromkeys(("img2img", "inpaint", "outpaint", "variations", "upscale"), "1"),
    "sana": dict.fromkeys(("img2img", "inpaint", "outpaint", "variations", "upscale"), "1"),
    "lumina2": dict.fromkeys(("img2img", "inpaint", "outpaint", "variations", "upscale"), "1"),
    "chroma": {"inpaint": "2", "outpaint": "2"},
    "qwen_image": {"edit with a mask": "3"},
    "ddpm": dict.fromkeys(("img2img", "variations"), "4"),
    "flux_fill": {"outpaint": "5"},
}


def proven() -> dict[str, set[str]]:
    """Family → tasks that a test compares; a family with several checkpoints is one row, but for those that inpaint."""
    result: dict[str, set[str]] = {family: set(tasks) for family, tasks in OLDER.items()}
    for name, case in FLOW_FAMILIES.items():
        row = name if not case.text2img else case.family or name
        result.setdefault(row, set()).update(case.tasks)
    for name, case in EDITS.items():
        result.setdefault(case.family or name, set()).add("edit")
    for name in MASKED:
        result[name].add("edit with a mask")
    for name, case in VIDEOS.items():
        result.setdefault(case.family or name.split()[0], set()).add("image2video" if case.given else "text2video")
    for tasks in result.values():
        if "text2img" in tasks:
            tasks |= {task for task, base in DERIVED.items() if base in tasks}
    return result


def cells() -> dict[str, dict[str, str]]:
    """Family → task → `=`, the number of a reason, or empty where the family does not do the task."""
    marks = {family: dict.fromkeys(tasks, "=") for family, tasks in proven().items()}
    for family, reasons in NOT_COMPARED.items():
        assert not marks[family].keys() & reasons.keys(), f"{family}: compared, and listed as not compared"
        marks[family] |= reasons
    return {family: {task: marks[family].get(task, "") for task in TASKS} for family in marks}


def derived() -> list[tuple[str, str]]:
    """Family and task of each chain that `test_derived_tasks.py` compares."""
    return [(family, task) for family, row in cells().items() for task in DERIVED if row[task] == "="]


def table() -> str:
    """Families down, tasks across, and the reasons."""
    rows = cells()
    lines = ["| family | " + " | ".join(TASKS) + " |", "|---" * (len(TASKS) + 1) + "|"]
    lines += [f"| {family} | " + " | ".join(row[task] for task in TASKS) + " |" for family, row in rows.items()]
    return "\n".join([*lines, "", *(f"- `{letter}`: {reason}." for letter, reason in REASONS.items())])
