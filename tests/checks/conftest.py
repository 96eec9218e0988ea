"""Sources that requests name, made once a session."""

from __future__ import annotations

import pytest
from sources import Sources


@pytest.fixture(scope="session")
def sources(checkpoints, tmp_path_factory) -> Sources:
    return Sources(checkpoints, tmp_path_factory.mktemp("sources"))
