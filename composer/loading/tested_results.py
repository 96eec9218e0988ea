"""Results of checks that come with composer, so that the first check of an embedded model needs no torch either.

They hold for the versions of the libraries that they were made with and for computing on the CPU; with others, all is
tried. `python -m composer.pipelines.make_results` makes them, and a test makes them again. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("tested_results.sqlite")
#: Libraries that results depend on.
LIBRARIES: tuple[str, ...] = ("diffusers", "torch", "transformers")


def find_tested(kind: str, facts: Any) -> Any:
    """Find a result.

    Args:
        kind: Kind of the result, such as ``schedule``.
        facts: What it depends on, as data with a complete ``repr`` and without paths of this machine.

    Returns:
        The result; None if there is none.
    """
    import sqlite3

    with suppress(sqlite3.Error, ValueError, OSError):
        if not _holds():
            return None
        with closing(_open()) as connection:
            row = connection.execute("SELECT result FROM results WHERE key = ?", (_hash(kind, repr(facts)),)).fetchone()
        return None if row is None else json.loads(zlib.decompress(row[0]))
    return None


def write_tested(path: Path, results: Mapping[tuple[str, str], Any]) -> None:
    """Write the file.

    Args:
        path: The file; it must not exist.
        results: Kind, and ``repr`` of the facts → the result.
    """
    import sqlite3

    rows = sorted((_hash(*key), zlib.compress(json.dumps(result).encode(), 9)) for key, result in results.items())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 1024")  # results are that small
        connection.execute("CREATE TABLE libraries (name TEXT PRIMARY KEY, version TEXT NOT NULL)")
        connection.execute("CREATE TABLE results (key BLOB PRIMARY KEY, result BLOB NOT NULL)")
        connection.executemany("INSERT INTO libraries VALUES (?, ?)", installed().items())
        connection.executemany("INSERT INTO results VALUES (?, ?)", rows)
        connection.commit()
        connection.execute("VACUUM")


def installed() -> dict[str, str]:
    """Name the versions of the libraries that results depend on; empty for those that are not installed.

    Returns:
        Library → version, without the part after a plus, which says for which devices torch was built.
    """
    versions = dict.fromkeys(LIBRARIES, "")
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name).partition("+")[0]
    return versions


@cache
def _holds() -> bool:
    """Whether the libraries are those that the results were made with, and not checkouts that can be changed."""
    with closing(_open()) as connection:
        made_with = dict(connection.execute("SELECT name, version FROM libraries"))
    specs = [find_spec(name) for name in LIBRARIES]
    unchanged = all(spec is not None and spec.origin and "-packages" in spec.origin for spec in specs)
    return unchanged and made_with == installed()


def _open() -> Any:
    import sqlite3

    return sqlite3.connect(f"{FILE.as_uri()}?mode=ro&immutable=1", uri=True)


def _hash(kind: str, facts: str) -> bytes:
    return hashlib.sha256(f"{kind} {facts}".encode("utf-8", "surrogatepass")).digest()[:16]
