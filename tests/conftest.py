"""Shared fixtures: tiny checkpoints on disk, and the command line called in this process."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may wait for a hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread: the results of the oracle, and one core a worker
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

from composer.cli.main import main
from composer.testing import pipelines

# The suite tries the same examples every time; `--hypothesis-profile=default` goes on looking for new ones.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")


#: Folders and files below this one whose tests are standard ones, unless they are marked as quick: they run many models
#: or processes.
STANDARD = (
    "api/test_kernel.py", "api/test_loaded.py", "api/test_schema.py",
    "benchmarks", "callbacks", "checkpoints/test_layouts.py", "checkpoints/test_single_file.py",
    "checks", "cli/test_commands.py", "conf", "config/test_hostile_places.py", "config/test_secrets.py",
    "config/test_source_settings.py", "fuzz", "loading", "media/test_runs.py", "options/accel", "options/memory",
    "parity", "pipelines", "plugins", "recipes", "reruns", "resident", "options/adapters", "sampling/test_guiders.py",
    "sampling/test_non_finite.py", "server",
    "sweeps/report", "sweeps/search", "sweeps/test_kills.py", "sweeps/test_ledger.py", "sweeps/test_ray.py",
    "sweeps/test_run.py", "sweeps/test_schema0.py", "system/test_lazy_imports.py", "system/test_run_lock.py",
    "test_package.py", "test_readme.py", "testing", "tiny", "tools/test_depth.py", "tools/test_upscale_model.py",
    "tools/test_word_tools.py", "training/test_settings.py", "training/test_training.py",
)  # fmt: skip


#: Families, batch sizes and whether a step has two evaluations, with which the kit runs a callback; with others as slow
#: tests.
KIT = {("sd", 1, False), ("sd", 3, True), ("flux", 3, False), ("ddpm", 1, True)}


def rare(item) -> bool:
    """Whether it is a test of the kit for callbacks on a family, or with settings, that others stand for."""
    if not any(base.__name__ == "CallbackTests" for base in getattr(item.cls, "__mro__", ())) or not hasattr(
        item, "callspec"
    ):
        return False
    given = item.callspec.params
    if "batch" in given:
        return (given["family"], given["batch"], given["heun"]) not in KIT
    return given.get("family", "sd") != "sd"


def pytest_collection_modifyitems(items):
    """Mark what is neither slow nor standard as quick."""
    for item in items:
        if rare(item):
            item.add_marker("slow")
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        if any(f"{path}/".startswith(f"{directory}/") for directory in STANDARD) and not item.get_closest_marker(
            "quick"
        ):
            item.add_marker("standard")
        if not item.get_closest_marker("slow") and not item.get_closest_marker("standard"):
            item.add_marker("quick")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def compose(capsys, tmp_path, monkeypatch):
    """Run `compose WORDS…` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Outcome:
        capsys.readouterr()
        code = main(list(words))
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A tiny random checkpoint of every family."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: pipelines.save(family, root / family) for family in pipelines.MAKERS}


class Saved(dict):
    """Name → folder of a tiny checkpoint, written when it is first requested."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __missing__(self, name: str) -> Path:
        import zoo

        return self.setdefault(name, zoo.save(name, self.root / name))


@pytest.fixture(scope="session")
def others(tmp_path_factory) -> Saved:
    """Tiny random checkpoints that no native family knows, by the names in `zoo.ZOO`; only to be read."""
    return Saved(tmp_path_factory.mktemp("others"))


@pytest.fixture
def one_thread():
    """The order of additions depends on the number of threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
