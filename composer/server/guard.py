"""What every request passes first: host, origin, token, size and time. A plain ASGI layer, so that nothing runs before
it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import Counter
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from composer.errors import ComposerError
from composer.server.answers import error_body
from composer.server.logs import note

#: Most bytes of all headers, of a body with JSON, and of one with images.
MAX_HEADERS, MAX_JSON, MAX_UPLOAD = 16 << 10, 1 << 20, 64 << 20
#: Content types of bodies that have images.
IMAGE_TYPES = ("multipart/form-data", "image/")
#: Seconds that a client has to send its complete body.
BODY_SECONDS = 30.0
#: Most bytes that the bodies of all requests at a time have in the memory.
MAX_BODIES = 256 << 20
#: Paths that need no token: they show nothing of the jobs.
OPEN_PATHS = ("/healthz", "/", "/openapi.json", "/docs")
OPEN_FOLDER = "/page/"

#: What the page may load: its own files, and images that it has made itself.
POLICY = b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", POLICY),
]  # fmt: skip


class Refusal(ComposerError):
    """A request that is refused before it is read.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, key: str, value: object, reason: str) -> None:
        super().__init__(key, value, reason)
        self.status = status


class Guard:
    """Refuse requests of other hosts, pages and clients, and bodies that are too large or too slow.

    Args:
        app: The application.
        token: Secret that clients send.
        hosts: Names that the header `Host` may have.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self.app, self.token, self.hosts = app, token, hosts
        self.statuses: Counter[int] = Counter()
        self.held = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        began = time.monotonic()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.statuses[message["status"]] += 1
                _log(scope, message["status"], time.monotonic() - began)
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            await send(message)

        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
                raise Refusal(431, "headers", None, f"are more than {MAX_HEADERS} bytes")
            check_host(scope, self.hosts)
            check_origin(headers)
            most = 0  # of a request that may come from anybody
            if not is_open(scope, self.token):
                check_token(headers.get("authorization", ""), self.token)
                most = MAX_UPLOAD if headers.get("content-type", "").startswith(IMAGE_TYPES) else MAX_JSON
            await self._with_body(scope, headers, most, receive, answer)
        except Refusal as error:
            again = {"retry-after": "10"} if error.status == 429 else {}
            response = JSONResponse(error_body(error), error.status, {"connection": "close", **again})
            await response(scope, receive, answer)

    async def _with_body(
        self, scope: Scope, headers: dict[str, str], most: int, receive: Receive, answer: Send
    ) -> None:
        """Read the body and pass the request on; all bodies at a time are bounded, and that of a client which does not
        say how long it is counts as the longest.
        """
        length = headers.get("content-length", "0" if "transfer-encoding" not in headers else str(most))
        if not length.isdigit() or int(length) > most:
            raise Refusal(413, "Content-Length", length, f"is more than {most} bytes")
        if int(length) and self.held + int(length) > MAX_BODIES:
            raise Refusal(429, "body", None, f"has no space beside those of other requests, {MAX_BODIES} bytes in all")
        self.held += int(length)
        try:
            body = await read_body(receive, most)
            await self.app(scope, _replayed(body, receive), answer)
        finally:
            self.held -= int(length)


def _log(scope: Scope, status: int, seconds: float) -> None:
    """Log a request; its query is left out, since it can hold the key of a file."""
    client = (scope.get("client") or ("",))[0]
    facts = {"method": scope["method"], "path": scope["path"], "status": status, "client": client}
    note("request", **facts, milliseconds=round(1000 * seconds, 2))


def check_host(scope: Scope, hosts: frozenset[str]) -> None:
    """Refuse a request whose `Host` is another name: a page whose name was made to resolve to this machine sends its
    own.

    Args:
        scope: The request.
        hosts: Allowed names.

    Raises:
        Refusal: The header is missing, given twice, or names another host.
    """
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    name = urlsplit(f"//{values[0]}").hostname if len(values) == 1 and not set(values[0]) & set("/@\\ ") else None
    if name is None or name not in hosts:
        raise Refusal(
            421, "Host", ", ".join(values) or None, "is not a name of this service: see hosts of compose serve"
        )


def check_origin(headers: dict[str, str]) -> None:
    """Refuse a request that a page of another site makes.

    Args:
        headers: Header → value.

    Raises:
        Refusal: The request comes from another site.
    """
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Refusal(403, "Origin", origin, "is another site, whose pages may not use this service")
    if headers.get("sec-fetch-site") == "cross-site":
        raise Refusal(403, "Sec-Fetch-Site", "cross-site", "pages of other sites may not use this service")


def is_open(scope: Scope, token: str) -> bool:
    """Test whether a request needs no token.

    Args:
        scope: The request.
        token: The secret, by which addresses of images are signed.

    Returns:
        True for the page and its files, and for an image with the key of its own address.
    """
    path = scope["path"]
    if scope["method"] in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_FOLDER)):
        return True
    key = scope["query_string"].decode("latin-1").partition("&")[0].removeprefix("key=")
    return path.startswith("/files/") and scope["method"] in ("GET", "HEAD") and _equal(key, file_key(path, token))


def file_key(path: str, token: str) -> str:
    """Compute the key that an address of an image carries, so that it can be opened without the token.

    Args:
        path: Path of the address.
        token: The secret.
    """
    return hmac.new(token.encode(), path.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:40]


def check_token(header: str, token: str) -> None:
    """Refuse a request without the token, in a time that does not depend on the characters that are right.

    Args:
        header: `Authorization`.
        token: The secret.

    Raises:
        Refusal: It is missing or wrong.
    """
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "bearer" or not _equal(given.strip(), token):
        raise Refusal(401, "Authorization", None, "the token is missing or wrong: send Authorization: Bearer TOKEN")


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


async def read_body(receive: Receive, most: int) -> bytes:
    """Read a body of bounded size in bounded time.

    Args:
        receive: Source of the body.
        most: Its largest size, in bytes.

    Returns:
        The body.

    Raises:
        Refusal: It is too large, or its client too slow.
    """
    parts, size = [], 0
    until = asyncio.get_running_loop().time() + BODY_SECONDS
    while True:
        try:
            message = await asyncio.wait_for(receive(), until - asyncio.get_running_loop().time())
        except asyncio.TimeoutError:
            raise Refusal(408, "body", None, f"did not arrive within {BODY_SECONDS:g} seconds") from None
        if message["type"] == "http.disconnect":
            raise Refusal(400, "body", None, "is incomplete")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise Refusal(413, "body", None, f"is more than {most} bytes")
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then what comes after it, such as the end of the connection."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
