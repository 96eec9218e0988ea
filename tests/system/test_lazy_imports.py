"""What a run seldom needs is loaded when it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = """
import sys
from composer.cli.main import main
for words in ([], ["scheduler=lms"], ["scheduler=euler", "scheduler.use_beta_sigmas=true"]):
    main(["steps=2", "height=64", "width=64", "callbacks=[]", "-q", "output.folder=out", *words])
    print(type(sys.modules["scipy.stats"]).__name__)
"""


def test_a_module_loads_when_it_is_used(tmp_path):
    """By beta sigmas, and by no other sampler; once it is there it stays."""
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[1::2] == ["LazyModule", "LazyModule", "module"], done.stderr[-500:]


@pytest.mark.slow  # a complete run, in a process of its own
def test_a_call_from_python_replaces_no_module():
    code = "import sys, composer; composer.compose(steps=1); print(type(sys.modules['scipy.stats']).__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["module"]


def test_a_module_that_is_there_is_left_alone():
    code = "import scipy.stats, sys; from composer.system.lazy_imports import lazy_import; lazy_import('scipy.stats')"
    code += "; print(type(sys.modules['scipy.stats']).__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["module"]


@pytest.mark.parametrize(
    "use",
    [
        "from scipy.stats import norm; norm.ppf(0.5)",
        "import scipy.stats; scipy.stats.norm.ppf(0.5)",
        "import scipy.stats.distributions",
    ],
)
def test_every_way_to_import_it_works(use):
    code = f"from composer.system.lazy_imports import lazy_import; lazy_import('scipy.stats'); {use}"
    code += "; import scipy, sys; assert type(scipy.stats).__name__ == 'module'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_not_installed_stays_so():
    code = "from composer.system.lazy_imports import lazy_import; lazy_import('json.absent')"
    code += "; import sys; assert 'json.absent' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
