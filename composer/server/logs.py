"""Structured logs: each line of stderr is a JSON object. Only `compose serve --log json` turns them on."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

from composer.errors import ComposerError

FORMS = ("text", "json")
#: Logger of requests and jobs.
LOG = logging.getLogger("composer.server")


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `event`, the facts of the event, and `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record.

        Args:
            record: The record; its attribute `facts` has further keys.
        """
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": when,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(form: str) -> None:
    """Write logs as JSON, or leave them as they are.

    Args:
        form: `text` or `json`.
    """
    if form != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)


def note(event: str, **facts: Any) -> None:
    """Log an event.

    Args:
        event: What happened.
        **facts: Its data.
    """
    LOG.info(event, extra={"facts": facts})


def check_form(form: str) -> str:
    """Refuse a form of logs that there is not.

    Args:
        form: What was typed.

    Returns:
        `form`.

    Raises:
        ComposerError: It is not known.
    """
    if form not in FORMS:
        raise ComposerError("serve log", form, "is not known", FORMS)
    return form
