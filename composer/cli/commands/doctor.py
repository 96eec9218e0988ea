"""`compose doctor`: versions, devices, features that work on them, plugins and caches."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.system import console
from composer.version import __version__

#: Packages that options need, beside those that composer cannot be without.
EXTRAS = (
    "openvino", "onnxruntime", "torchao", "optimum-quanto", "bitsandbytes", "xformers", "ray", "optuna",
    "sentencepiece", "torchsde", "peft", "opencv-python-headless", "starlette", "uvicorn", "mcp",
)  # fmt: skip
REQUIRED = ("torch", "diffusers", "transformers", "accelerate", "hydra-core", "safetensors", "pillow")
#: Side of the matrices that dtypes are tried on, products of one measurement, and measurements.
SIDE, TIMES, ROUNDS = 512, 3, 4


def make_report() -> dict[str, dict[str, Any]]:
    """Examine this machine.

    Returns:
        Heading to row to value. Takes seconds: matrices are multiplied, and a function is compiled.
    """
    return {
        "versions": {
            "composer": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            **_versions(REQUIRED),
        },
        "extras": _versions(EXTRAS),
        "devices": dict(_devices()),
        "dtypes": dict(_dtypes()),
        "compile": {"works": _compiles()},
        "attention": dict(_attention()),
        "plugins": dict(_plugins()),
        "cache": dict(_cache()),
        "folders": dict(_folders()),
    }


def format_report(report: dict[str, dict[str, Any]]) -> str:
    """Format a report as text.

    Args:
        report: The report of `make_report`.

    Returns:
        The lines.
    """
    lines = []
    for heading, rows in report.items():
        lines += [heading, *(f"  {name:18} {value}" for name, value in rows.items())]
    return "\n".join(lines)


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from composer.system.memory import format_bytes, free_memory

    free = free_memory("cpu")
    yield (
        "cpu",
        f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}"
        + ("" if free is None else f", {format_bytes(free)} free"),
    )
    for i in range(torch.cuda.device_count()):
        traits = torch.cuda.get_device_properties(i)
        yield (
            f"cuda:{i}",
            f"{traits.name}, {format_bytes(torch.cuda.mem_get_info(i)[0])} of {format_bytes(traits.total_memory)} free",
        )
    if torch.backends.mps.is_available():
        yield "mps", "available"


def _dtypes() -> Iterator[tuple[str, str]]:
    """How fast matrices are multiplied in each dtype, beside fp32, on the device that `device=auto` takes."""
    from composer.loading.precision import DTYPES, fastest_dtype, resolve_device
    from composer.system.timing import speedup

    device = resolve_device("auto")
    taken: dict[str, list[float]] = {name: [] for name in DTYPES}
    wrong: dict[str, str] = {}
    for _ in range(ROUNDS):  # in turn, so that what else the machine does hits all of them
        for name, dtype in DTYPES.items():
            try:
                taken[name].append(_seconds(dtype, device))
            except (RuntimeError, NotImplementedError) as error:
                wrong[name] = f"does not work on {device}: {(str(error).splitlines() or [''])[0]}"
    for name, seconds in taken.items():
        ratio = None if name in wrong else speedup(taken["fp32"], seconds)
        if name == "fp32" and name not in wrong:
            yield (
                name,
                f"{2 * SIDE**3 / median(seconds) / 1e9:.0f} GFLOP/s on {device}: what the others are measured by",
            )
        else:
            yield (
                name,
                wrong.get(name)
                or (f"{ratio:.2f} times as fast as fp32" if ratio else "as fast as fp32, within the noise"),
            )
    yield "precision=auto", f"{str(fastest_dtype(device, 1 << 40)).removeprefix('torch.')} for large models"


def _seconds(dtype: Any, device: Any) -> float:
    """The fastest of a few products, after one that warms up."""
    import torch

    one = torch.ones(SIDE, SIDE, dtype=dtype, device=device)
    taken = []
    for _ in range(TIMES + 1):
        begun = time.perf_counter()
        float((one @ one)[0, 0])  # waits for the device
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def _compiles() -> str:
    """Whether torch.compile has what it needs, such as a C++ compiler."""
    import torch

    try:
        return (
            "yes"
            if float(torch.compile(lambda x: x.sin() + 1)(torch.zeros(8))[0]) == 1
            else "no: its results are wrong"
        )
    except Exception as error:
        return f"no: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}"


def _attention() -> Iterator[tuple[str, str]]:
    """The backends of torch's own attention."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from composer.loading.precision import resolve_device

    device = resolve_device("auto")
    query = torch.ones(1, 1, 8, 8, device=device, dtype=torch.float32 if device.type == "cpu" else torch.float16)
    for backend in (
        SDPBackend.MATH,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
    ):
        try:
            with sdpa_kernel(backend):
                torch.nn.functional.scaled_dot_product_attention(query, query, query)
            yield backend.name.lower(), "works"
        except RuntimeError:
            yield backend.name.lower(), "not here"


def _plugins() -> Iterator[tuple[str, str]]:
    from composer.config.search_path import clashes, plugins

    try:
        for plugin in plugins():
            yield plugin.name, str(plugin)
        for (group, name), owners in clashes().items():
            yield f"{group}={name}", f"offered by {' and '.join(map(str, owners))}: neither can be used"
    except ComposerError as error:
        yield "COMPOSER_PLUGINS", str(error)


def _cache() -> Iterator[tuple[str, str]]:
    from huggingface_hub import constants

    from composer.loading import disk_cache
    from composer.system.memory import format_bytes

    stored = disk_cache.entries()
    yield (
        "converted",
        f"{len(stored)} models, {format_bytes(sum(entry.size for entry in stored))} of at most "
        f"{disk_cache.limit() / 2**30:g} GiB in {disk_cache.root()}",
    )
    hub = Path(constants.HF_HUB_CACHE)
    models = len(list(hub.glob("models--*"))) if hub.is_dir() else 0
    yield "hub", f"{models} models in {hub}" + (", offline" if constants.HF_HUB_OFFLINE else "")
    yield (
        "hub's token",
        "set" if _has_token() else "none: needed only for models whose owner wants you to accept terms",
    )


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _folders() -> Iterator[tuple[str, str]]:
    from composer.config.search_path import conf_folders

    here = Path.cwd()
    yield "images go to", f"{here / 'outputs'}" if os.access(here, os.W_OK) else f"nowhere: {here} can't be written to"
    for folder in conf_folders():
        yield "options from", str(folder)


def run(line: ParsedArgs) -> int:
    """Run `compose doctor`.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: Words follow.
    """
    line.refuse_words("it examines this machine")
    report = make_report()
    console.report_facts(report, format_report(report))
    return 0
