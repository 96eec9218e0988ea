"""Bodies of answers: jobs and errors as plain data with documented names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.errors import ComposerError
from composer.server.queue import QueuedJob


def error_body(error: ComposerError) -> dict[str, Any]:
    """Describe an error: what the command line prints, in the form that clients of OpenAI's API read.

    Args:
        error: The error.

    Returns:
        `error` with `message`, `type`, `param` and `code` for these clients, and `key`, `value`, `reason`, `allowed` as
        `compose --json` has them.
    """
    facts = error_facts(error)
    return {"error": {"type": "invalid_request_error", "param": facts["key"], "code": None, **facts}}


def error_facts(error: ComposerError) -> dict[str, Any]:
    """Convert an error to plain data.

    Args:
        error: The error.

    Returns:
        `message`, `key`, `value`, `reason` and `allowed`; long values are cut, and what is no plain data is text.
    """
    value = (
        error.value if isinstance(error.value, (int, float, bool, type(None))) else _sendable(str(error.value)[:500])
    )
    allowed = [_sendable(str(one)) for one in error.allowed]
    texts = {"message": str(error), "key": error.key[:500], "reason": error.reason}
    return {**{name: _sendable(text) for name, text in texts.items()}, "value": value, "allowed": allowed}


def _sendable(text: str) -> str:
    """Replace what UTF-8 cannot encode, such as halves of surrogate pairs, which JSON can contain."""
    return text.encode("utf-8", "replace").decode()


def job_body(job: QueuedJob, address: Callable[[str], str]) -> dict[str, Any]:
    """Describe a job.

    Args:
        job: The job.
        address: Path of a file → its address.

    Returns:
        `id`, `number`, `state`, `client`, `overrides`, `command`, `sweep`, `created`, `started`, `ended`, `attempts`,
        `step`, `total`, `preview`, `images`, `steps` (of a recipe: earlier step → addresses of its images), `record`,
        `files` (name → address), `metrics` (name → value of each image), `error` and `favourite`.
    """
    files = {name: address(f"/files/{job.id}/{name}") for name in job.files}
    images = [url for name, url in files.items() if name[:3].isdigit() and name.count(".") == 1]
    steps: dict[str, list[str]] = {}
    for name, url in files.items():
        step, _, inner = name.partition("/")
        if inner[:3].isdigit() and inner.count(".") == 1 and "/" not in inner and not inner.endswith(".txt"):
            steps.setdefault(step, []).append(url)
    preview = address(f"/files/{job.id}/preview.jpg") if job.previews and job.state == "running" else None
    return {
        "id": job.id,
        "number": job.number,
        "state": job.state,
        "client": job.client,
        "overrides": list(job.words),
        "command": command_of(job.words),
        "sweep": job.sweep,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "attempts": job.attempts,
        "step": job.step,
        "total": job.total,
        "preview": preview and f"{preview}&step={job.previews}",
        "images": images,
        "steps": steps if any(f"{step}/run.json" in files for step in steps) else {},
        "record": files.get("run.json"),
        "files": files,
        "metrics": {name: list(values) for name, values in job.metrics.items()},
        "error": job.error,
        "favourite": bool(job.favourite),
    }


def command_of(words: tuple[str, ...]) -> str:
    """Write the command line that generates the same images.

    Args:
        words: Overrides.
    """
    from shlex import quote

    return " ".join(["compose", *(quote(word) for word in words)])
