"""Settings of `compose serve` and `compose mcp`: words of the command line to checked values."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar, get_type_hints

from composer.errors import ComposerError, suggest
from composer.server.logs import check_form
from composer.system.constraints import Interval, require
from composer.system.paths import expand_user

#: Environment variable with the token.
TOKEN = "COMPOSE_TOKEN"
#: Shortest token that is accepted from the environment.
SHORTEST_TOKEN = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of a service.

    Attributes:
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        folder: Directory of the queue, the uploads and the images.
        hosts: Further host names that requests may name, separated by commas.
        queue: Most jobs that wait.
        workers: Worker processes; 0 is one for each GPU, or one for the CPU.
        grace: Seconds that running jobs have to end when the service stops.
        log: `text` logs warnings, `json` every request and job too, each as a JSON object in a line of stderr.
    """

    command: ClassVar[str] = "serve"
    host: str = "127.0.0.1"
    port: Annotated[int, Interval(ge=0, le=65535)] = 8700
    folder: str = "outputs/serve"
    hosts: str = ""
    queue: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    workers: Annotated[int, Interval(ge=0, le=64)] = 0
    grace: Annotated[int, Interval(ge=0, le=3600)] = 30
    log: str = "text"

    @property
    def path(self) -> Path:
        """The directory, absolute."""
        return _absolute(self.folder)

    @property
    def host_names(self) -> frozenset[str]:
        """Names that the header `Host` may have: others are those of a page that had its name resolve to this
        machine.
        """
        names = {self.host.lower(), *(name.strip().lower() for name in self.hosts.split(",") if name.strip())}
        return frozenset(names | set(LOOPBACK)) - {"0.0.0.0", "::"}


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Settings of a server for agents.

    Attributes:
        folder: Directory of the queue, the uploads and the images.
        images: Directory whose images an agent may use; empty for none but those of jobs.
        free_images: Most images, clips or sounds of a job that needs no plan.
        free_steps: Most steps in all of a job that needs no plan.
        queue: Most jobs that wait.
        workers: Worker processes; 0 is one for each GPU, or one for the CPU.
        grace: Seconds that running jobs have to end when the client leaves; those that take longer run again later.
    """

    command: ClassVar[str] = "mcp"
    folder: str = "outputs/mcp"
    images: str = ""
    free_images: Annotated[int, Interval(ge=0, le=64)] = 4
    free_steps: Annotated[int, Interval(ge=0, le=100_000)] = 200
    queue: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    workers: Annotated[int, Interval(ge=0, le=64)] = 0
    grace: Annotated[int, Interval(ge=0, le=3600)] = 2

    @property
    def path(self) -> Path:
        """The directory, absolute."""
        return _absolute(self.folder)

    @property
    def images_path(self) -> Path:
        """The directory of images, absolute."""
        return _absolute(self.images)


def _absolute(folder: str) -> Path:
    return Path(os.path.abspath(expand_user(folder)))


Settings = TypeVar("Settings", ServeSettings, AgentSettings)


def read_settings(words: Sequence[str], kind: type[Settings]) -> Settings:
    """Read the words of `compose serve` or `compose mcp`.

    Args:
        words: `key=value`, as for other commands.
        kind: Class of the settings.

    Returns:
        The settings.

    Raises:
        ComposerError: A key is unknown, or a value is of a wrong type or out of range.
    """
    hints = get_type_hints(kind, include_extras=True)
    known = [field.name for field in fields(kind)]
    values: dict[str, str | int] = {}
    for word in words:
        key, _, text = word.partition("=")
        if key not in known:
            raise ComposerError(
                f"{kind.command} {key}", text or None, f"there is no such setting.{suggest(key, known)}", known
            )
        value: str | int = int(text) if hints[key] is not str and text.lstrip("-").isdigit() else text
        values[key] = require(key, value, hints[key])
    check_form(str(values.get("log", "text")))
    return kind(**values)  # type: ignore[arg-type]  # checked by `require` one by one


def read_token() -> str:
    """Read the token from the environment, or make one.

    Returns:
        The token.

    Raises:
        ComposerError: That of the environment is too short to be a secret.
    """
    token = os.environ.get(TOKEN)
    if token is None:
        return secrets.token_urlsafe(24)
    if len(token) < SHORTEST_TOKEN or not token.isascii() or any(c.isspace() for c in token):
        reason = f"must be {SHORTEST_TOKEN} characters or more, ASCII without spaces: leave it out for a random one"
        raise ComposerError(TOKEN, None, reason)
    return token
