"""A function is called when a module was imported."""

from __future__ import annotations

import pytest

from composer.system.import_hooks import after_import


def test_a_function_is_called_after_an_import(tmp_path, monkeypatch):
    (tmp_path / "imported_later.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    after_import("imported_later", lambda module: seen.append(module.value))
    import imported_later

    after_import("imported_later", lambda module: seen.append(module.value + 1))
    assert seen == [1, 2] and imported_later.__loader__.get_source("imported_later") == "value = 1\n"


def test_a_module_that_is_not_installed_stays_so():
    after_import("not_installed_at_all", lambda module: pytest.fail("called"))
    with pytest.raises(ModuleNotFoundError):
        import not_installed_at_all  # noqa: F401
