"""Indexes of installed files are those that the libraries make, and are made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from composer.loading import library_indexes

#: In a process of composer's: whether transformers read the files of its models, and what it says that it found there.
IMPORT = """
import json, sys
from pathlib import Path
from composer.cli.process import configure_process
configure_process(verbose=False)
import transformers
from transformers.utils import import_utils as utils
read = utils.create_import_structure_from_path.cache_info().misses
models = Path(transformers.__file__).parent / "models"
same = {}
for prefix in ("models", None):
    for given in (models, str(models / "__init__.py")):
        kept = utils.define_import_structure(given, prefix)
        plain = utils.spread_import_structure(utils.create_import_structure_from_path(given))
        named = lambda row: {f"{prefix}.{name}" if prefix else name: names for name, names in row.items()}
        names = {key: named(row) for key, row in plain.items()}
        same[f"{prefix} {type(given).__name__}"] = kept == names and [*kept] == [*names]
from diffusers.utils import import_utils
package_map = import_utils._package_map
from importlib import metadata
same["distributions"] = package_map == metadata.packages_distributions.__wrapped__()
same["loader"] = type(utils.__spec__.loader).__name__ == type(utils.__loader__).__name__ == "SourceFileLoader"
print(json.dumps([read, same]))
"""


@pytest.mark.slow  # two processes that import diffusers
def test_they_are_the_libraries_and_made_once(tmp_path):
    answers = []
    for _ in range(2):
        settings = os.environ | {"COMPOSER_CACHE": str(tmp_path / "cache")}
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, env=settings)
        assert done.returncode == 0, done.stderr[-800:]
        answers.append(json.loads(done.stdout.splitlines()[-1]))
    (first, same), (second, again) = answers
    assert set(same.values()) == set(again.values()) == {True}, (same, again)
    assert first > 300 and second < 20  # directories of models, with those that are imported


def test_distributions_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path))
    expected = metadata.packages_distributions()
    assert library_indexes._kept_distributions(metadata.packages_distributions)() == expected
    assert library_indexes._kept_distributions(lambda: pytest.fail("computed again"))() == expected


@pytest.mark.parametrize("function", [None, lambda path: {}], ids=["absent", "of other parameters"])
def test_a_changed_library_is_left_alone(function):
    module = SimpleNamespace(define_import_structure=function, __file__="/a/utils/import_utils.py")
    library_indexes._keep_structure(module)
    assert module.define_import_structure is function


def test_help_imports_nothing_for_them():
    code = "import sys; from composer.cli.main import main; main(['--help'])"
    code += "; sys.exit(str({'importlib.metadata', 'sqlite3'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "", done.stderr
