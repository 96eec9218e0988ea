"""A virtual environment of its own that sees the packages of this one, where plugins are really installed and taken
out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
#: Runs each line of [words, variables], and says after each with what code it ended.
EACH = """
import json, os, sys
from composer.cli.main import main
for line in sys.stdin:
    words, variables = json.loads(line)
    os.environ.update(variables)
    code = main(words)
    for name in variables:
        os.environ.pop(name)
    print(f"\\nEXIT {code}", file=sys.stderr, flush=True)
"""


class Environment:
    """bin/python and bin/compose of a fresh virtual environment."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        (site,) = folder.rglob("site-packages")
        # a line of code in a .pth is run at start: the .pth files beside the parent's packages count too, so editable
        # ones are found
        (site / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def run(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *words], cwd=cwd, env=os.environ | SETTINGS | variables, capture_output=True, text=True
        )

    def compose(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "composer", *words, cwd=cwd, **variables)

    def compose_each(self, lines: list[tuple[tuple[str, ...], dict[str, str]]], cwd: Path) -> list[tuple[int, str]]:
        """Exit code and stderr of several command lines with variables of their own, one after the other in one
        process.
        """
        done = subprocess.run(
            [self.python, "-c", EACH], input="".join(json.dumps(line) + "\n" for line in lines), cwd=cwd,
            capture_output=True, text=True,
            env=os.environ | SETTINGS,
        )  # fmt: skip
        outputs = done.stderr.split("\nEXIT ")
        assert len(outputs) == len(lines) + 1, done.stderr[-2000:]
        return [
            (int(after.split("\n")[0]), before.partition("\n")[2] if i else before)
            for i, (before, after) in enumerate(pairwise(outputs))
        ]

    def pip(self, *words: str) -> None:
        """This environment's pip is the parent's; it installs here."""
        done = self.run("-m", "pip", *words, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    def install(self, *folders: Path) -> None:
        """From source, with what they depend on and build with taken from the parent, so that no network is needed."""
        self.pip("install", "--quiet", "--no-deps", "--no-build-isolation", *map(str, folders))
