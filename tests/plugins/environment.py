"""A virtual environment of its own that sees the packages of this one, where plugins are really installed and taken out."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Environment:
    """bin/python and bin/compose of a fresh virtual environment."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        (site,) = folder.rglob("site-packages")
        # a line of code in a .pth is run at start: the .pth files beside the parent's packages count too, so editable ones are found
        (site / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def run(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.run([self.python, *words], cwd=cwd, env=os.environ | settings | variables, capture_output=True, text=True)

    def compose(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "composer", *words, cwd=cwd, **variables)

    def pip(self, *words: str) -> None:
        """This environment's pip is the parent's; it installs here."""
        done = self.run("-m", "pip", *words, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    def install(self, *folders: Path) -> None:
        """From source, with what they depend on and build with taken from the parent, so that no network is needed."""
        self.pip("install", "--quiet", "--no-deps", "--no-build-isolation", *map(str, folders))
