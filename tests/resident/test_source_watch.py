from __future__ import annotations

import importlib
import os
import sys
import time

import pytest

from composer.resident.source_watch import Changes


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "warm_example.py").write_text("x = 1\n")
    os.utime(tmp_path / "warm_example.py", (1e9, 1e9))
    yield tmp_path / "warm_example.py"
    sys.modules.pop("warm_example", None)


def test_what_stays_is_no_change(module):
    changes = Changes()
    importlib.import_module("warm_example")
    changes.look(time.time())
    assert not changes.detected()


def test_a_module_that_was_written_over_is_one(module):
    changes = Changes()
    importlib.import_module("warm_example")
    changes.look(time.time())
    module.write_text("x = 2\n")
    assert changes.detected()


def test_so_is_one_that_was_written_while_it_was_imported(module):
    changes, began = Changes(), time.time() - 1
    module.write_text("x = 2\n")
    importlib.import_module("warm_example")
    changes.look(began)
    assert changes.detected()


def test_so_is_a_package_that_was_installed(module):
    changes = Changes()
    (module.parent / "new-1.0.dist-info").mkdir()
    assert changes.detected()
