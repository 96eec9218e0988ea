"""What the routes do: check requests, queue jobs, keep uploads, wait for ends. Knows no HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.config.read import plain
from composer.errors import ComposerError
from composer.images.reading import open_image
from composer.server.queue import JobQueue, QueuedJob
from composer.server.requested_words import UPLOAD, request_words, sweep_words
from composer.sweeps.request_configs import RequestConfigs
from composer.system.files import write_atomically

if TYPE_CHECKING:
    from composer.checkpoints.checkpoint import Checkpoint
    from composer.checks.compatibility import Checked
    from composer.recipes.requests import CheckedSpec

#: Most requests whose parts are remembered as tried.
MAX_TRIED = 500


class Service:
    """The queue with the checks in front of it.

    Args:
        folder: Directory of the service.
        longest: Most jobs that may wait.
    """

    def __init__(self, folder: Path, longest: int) -> None:
        self.folder, self.uploads = folder, folder / "uploads"
        self.uploads.mkdir(parents=True, exist_ok=True)
        self.queue = JobQueue(folder, longest)
        self._configs = RequestConfigs()
        self._tried: dict[str, tuple[Checkpoint, tuple[str, ...]]] = {}
        self._schema: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def submit(self, client: str, words: Any, sweep: bool = False) -> list[QueuedJob]:
        """Check a request as the command line does, and queue its jobs.

        Args:
            client: Who asks.
            words: Overrides.
            sweep: Whether several values of a key make several jobs.

        Returns:
            The jobs.

        Raises:
            ComposerError: The request cannot be met; nothing is queued.
        """
        prepared = request_words(words, self.uploads, sweep)
        several = sweep_words(prepared) if sweep else [prepared]
        for one in several:
            self.check(one)
        name = hashlib.sha256("\0".join([client, *prepared]).encode()).hexdigest()[:12] if sweep else None
        return self.queue.add(client, several, name)

    def check(self, words: Sequence[str]) -> tuple[str, ...]:
        """Refuse overrides that cannot work, as `compose check` does.

        Args:
            words: Checked overrides.

        Returns:
            Notes of the run.

        Raises:
            ComposerError: They cannot work.
        """
        return self.checked(words)[1]

    def checked(self, words: Sequence[str]) -> tuple[CheckedSpec, tuple[str, ...]]:
        """Check overrides as `compose check` does.

        Args:
            words: Checked overrides.

        Returns:
            The settings with their checkpoint, and notes of the run.

        Raises:
            ComposerError: They cannot work.
        """
        from composer.checks.compatibility import Checked
        from composer.recipes.requests import check_request, read_request, tried_request

        with self._lock:  # one at a time: imports and Hydra are shared
            config = self._configs(words)
            checked = check_request(read_request(config))
            if not isinstance(checked, Checked):
                return checked, tried_request(checked)
            return checked, (*checked.request.notes, *self._part_notes(plain(config), checked))

    def _part_notes(self, config: dict[str, Any], checked: Checked) -> tuple[str, ...]:
        """Notes of a run's parts, which are tried once for requests that differ in nothing but the seed."""
        from composer.pipelines.trial import tried

        key = json.dumps({**config, "seed": None}, default=str)
        checkpoint, notes = self._tried.get(key, (None, ()))
        if checkpoint != checked.checkpoint:  # its files have changed, or nothing is known of it
            notes = tried(checked)[len(checked.request.notes) :]
            if len(self._tried) >= MAX_TRIED:
                self._tried.clear()
            self._tried[key] = checked.checkpoint, notes
        return notes

    def upload(self, data: bytes) -> str:
        """Keep an image.

        Args:
            data: Content of a file.

        Returns:
            Its name, `upload:ID`, for overrides.

        Raises:
            ComposerError: It is no image that composer reads.
        """
        name = hashlib.sha256(data).hexdigest()[:32]
        path = self.uploads / name
        if path.is_file():
            return UPLOAD + name
        draft = self.uploads / f"{name}.unchecked"
        write_atomically(draft, data)
        try:
            open_image("image", str(draft))
            draft.replace(path)
        except ComposerError as error:
            raise ComposerError("image", None, error.reason) from None
        finally:
            draft.unlink(missing_ok=True)
        return UPLOAD + name

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the config, made once."""
        with self._lock:
            if self._schema is None:
                from composer.api.schema import config_schema

                self._schema = config_schema()
            return self._schema
