"""Services for the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from served import Service, start


@pytest.fixture(scope="session")
def service(tmp_path_factory) -> Iterator[Service]:
    """One service for all tests that leave it as it is."""
    running = start(tmp_path_factory.mktemp("service"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def services(tmp_path) -> Iterator[Callable[..., Service]]:
    """Start services in one folder, one after the other; what runs at the end is killed."""
    started: list[Service] = []

    def run(*words: str) -> Service:
        started.append(start(tmp_path / "service", *words))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.kill()
