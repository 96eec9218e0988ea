"""Routes of the service."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from composer.errors import ComposerError
from composer.server.answers import error_body, job_body
from composer.server.full_disk import is_disk_full
from composer.server.guard import Guard, file_key
from composer.server.images_api import edit_words, generation_words, images_body
from composer.server.openapi import DESCRIPTION, DOCS
from composer.server.queue import FINAL, STATES, JobQueue, QueuedJob, QueueFull
from composer.server.service import Service
from composer.server.supervisor import Supervisor
from composer.server.worker import PREVIEW, job_folder
from composer.version import __version__

PAGE = Path(__file__).parent / "page"
#: Seconds between two looks at a job that a client waits for.
LOOK_SECONDS = 0.1
MAX_NAME = 100
UPLOAD_NAME = re.compile(r"[0-9a-f]{32}")


class Routes:
    """The routes, around a service.

    Args:
        service: The service.
        supervisor: Its workers; None where they are started elsewhere.
        token: Secret that clients send.
    """

    def __init__(self, service: Service, supervisor: Supervisor | None, token: str) -> None:
        self.service, self.supervisor, self.token = service, supervisor, token
        self.stopping = asyncio.Event()
        self.guard: Guard | None = None

    @property
    def queue(self) -> JobQueue:
        """The queue."""
        return self.service.queue

    def address(self, request: Request) -> Callable[[str], str]:
        """A function that makes an address of a path, which opens without the token."""
        base = str(request.base_url).rstrip("/")
        return lambda path: f"{base}{path}?key={file_key(path, self.token)}"

    def job(self, request: Request) -> QueuedJob:
        """The job that a path names."""
        job = self.queue.get(request.path_params["job"])
        if job is None:
            raise HTTPException(404)
        return job

    async def generations(self, request: Request) -> Response:
        """`POST /v1/images/generations`."""
        fields = await json_object(request)
        job = (await run_in_threadpool(self.service.submit, client_of(request, fields), generation_words(fields)))[0]
        return await self._images(request, job, fields)

    async def edits(self, request: Request) -> Response:
        """`POST /v1/images/edits`."""
        form = await request.form(max_files=17, max_fields=50, max_part_size=1 << 20)
        files: dict[str, list[str]] = {"image": [], "mask": []}
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            key = name.removesuffix("[]")
            if isinstance(value, UploadFile):
                if key not in files:
                    raise ComposerError(name, None, "is no field for a file", list(files))
                files[key].append(await run_in_threadpool(self.service.upload, await value.read()))
            elif key in files:
                raise ComposerError(name, value, "must be a file")
            elif key == "overrides":
                fields.setdefault("overrides", []).append(value)
            else:
                fields[name] = number_of(value)
        for key in ("prompt", "negative_prompt", "user"):
            if key in fields:
                fields[key] = str(form[key])
        mask = files["mask"][0] if files["mask"] else None
        words = await run_in_threadpool(edit_words, fields, files["image"], mask, self.service.uploads)
        job = (await run_in_threadpool(self.service.submit, client_of(request, fields), words))[0]
        return await self._images(request, job, fields)

    async def _images(self, request: Request, job: QueuedJob, fields: dict[str, Any]) -> Response:
        """Wait for a job; its images, or why there are none."""
        ended = await self._ended(job.id)
        if ended.state == "done":
            form = fields.get("response_format") or "b64_json"
            folder = job_folder(self.service.folder, ended.id)
            return JSONResponse(await run_in_threadpool(images_body, ended, folder, form, self.address(request)))
        error = dict(ended.error or {"message": f"the job {ended.id} is {ended.state}", "key": "job"})
        status = 500 if ended.state == "failed" else 503 if ended.state in ("queued", "running") else 409
        kind = {"type": "server_error", "param": error.get("key"), "code": ended.state}
        return JSONResponse({"error": {**kind, **error}}, status)

    async def _ended(self, name: str) -> QueuedJob:
        """The job once it has ended, or the service is to stop."""
        while True:
            job = await run_in_threadpool(self.queue.get, name)
            assert job is not None  # jobs are never removed
            if job.state in FINAL or self.stopping.is_set():
                return job
            await asyncio.sleep(LOOK_SECONDS)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: the model options."""
        from composer.config.search_path import conf_folders, options

        names = await run_in_threadpool(lambda: options("model", conf_folders()))
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "composer", "description": line}
            for name, line in names.items()
        ]
        return JSONResponse({"object": "list", "data": data})

    async def submit(self, request: Request) -> Response:
        """`POST /jobs`."""
        fields = await json_object(request)
        for key in fields:
            if key not in ("overrides", "sweep", "client"):
                raise ComposerError(key, None, "there is no such field", ("overrides", "sweep", "client"))
        sweep = fields.get("sweep", False)
        if not isinstance(sweep, bool):
            raise ComposerError("sweep", str(sweep), "must be true or false")
        client = client_of(request, fields)
        jobs = await run_in_threadpool(self.service.submit, client, fields.get("overrides"), sweep)
        return JSONResponse({"jobs": [job_body(job, self.address(request)) for job in jobs]}, 202)

    async def check(self, request: Request) -> Response:
        """`POST /check`: whether overrides can work; queues nothing."""
        from composer.server.requested_words import request_words

        fields = await json_object(request)
        words = await run_in_threadpool(request_words, fields.get("overrides"), self.service.uploads)
        notes = await run_in_threadpool(self.service.check, words)
        return JSONResponse({"notes": list(notes)})

    async def jobs(self, request: Request) -> Response:
        """`GET /jobs`."""
        given = request.query_params
        states = [state for state in given.get("state", "").split(",") if state]
        for state in states:
            if state not in STATES:
                raise ComposerError("state", state, "is not known", STATES)
        for name in ("before", "limit"):
            value = given.get(name)
            if value is not None and (not value.isascii() or not value.isdigit() or len(value) > 12):
                raise ComposerError(name, value, "must be a positive integer")
        for name in ("contains", "sweep"):
            if len(given.get(name, "")) > MAX_NAME:
                raise ComposerError(name, None, f"must be a text of at most {MAX_NAME} characters")
        if given.get("favourite", "false") not in ("true", "false"):
            raise ComposerError("favourite", given["favourite"], "is not known", ("true", "false"))
        before, limit = given.get("before"), min(int(given.get("limit", 100)), 1000)
        jobs = await run_in_threadpool(
            lambda: self.queue.jobs(
                states, int(before) if before else None, limit, contains=given.get("contains") or None,
                favourite=given.get("favourite") == "true", sweep=given.get("sweep"),
            )
        )  # fmt: skip
        counts = await run_in_threadpool(self.queue.counts)
        return JSONResponse({"jobs": [job_body(job, self.address(request)) for job in jobs], "counts": counts})

    async def get(self, request: Request) -> Response:
        """`GET /jobs/ID`."""
        return JSONResponse(job_body(await run_in_threadpool(self.job, request), self.address(request)))

    async def cancel(self, request: Request) -> Response:
        """`POST /jobs/ID/cancel`."""
        job = await run_in_threadpool(self.job, request)
        return JSONResponse(job_body(await run_in_threadpool(self.queue.cancel, job.id), self.address(request)))

    async def retry(self, request: Request) -> Response:
        """`POST /jobs/ID/retry`."""
        job = await run_in_threadpool(self.job, request)
        return JSONResponse(job_body(await run_in_threadpool(self.queue.retry, job.id), self.address(request)))

    async def events(self, request: Request) -> Response:
        """`GET /jobs/ID/events`: server-sent events until the job has ended."""
        job = await run_in_threadpool(self.job, request)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(request, job.id), media_type="text/event-stream", headers=headers)

    async def _events(self, request: Request, name: str) -> AsyncIterator[str]:
        last = None
        while not self.stopping.is_set() and not await request.is_disconnected():
            job = await run_in_threadpool(self.queue.get, name)
            assert job is not None  # jobs are never removed
            if job != last:
                yield f"event: {job.state}\ndata: {json.dumps(job_body(job, self.address(request)))}\n\n"
                last = job
            if job.state in FINAL:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def upload(self, request: Request) -> Response:
        """`POST /uploads`: the body is an image."""
        return JSONResponse({"upload": await run_in_threadpool(self.service.upload, await request.body())}, 201)

    async def uploaded(self, request: Request) -> Response:
        """`GET /uploads/ID`: an image that was uploaded."""
        name = request.path_params["upload"]
        if not UPLOAD_NAME.fullmatch(name) or not (self.service.uploads / name).is_file():
            raise HTTPException(404)
        return FileResponse(self.service.uploads / name, media_type="application/octet-stream")

    async def favourite(self, request: Request) -> Response:
        """`POST /jobs/ID/favourite`: mark a job, whose files stay when old ones are removed."""
        fields, job = await json_object(request), await run_in_threadpool(self.job, request)
        if list(fields) != ["favourite"] or not isinstance(fields["favourite"], bool):
            raise ComposerError("favourite", None, "must be true or false, and the only field")
        marked = await run_in_threadpool(self.queue.mark, job.id, fields["favourite"])
        return JSONResponse(job_body(marked, self.address(request)))

    async def stored(self, request: Request) -> Response:
        """`GET /models`: models on the disk of the service, by the names that the operator knows them by."""
        from composer.hub.stored import stored_models

        models = await run_in_threadpool(stored_models)
        shown = ("name", "bytes", "licence", "pipeline", "tasks", "reason")  # no directories of the machine
        return JSONResponse({"models": [{key: asdict(model)[key] for key in shown} for model in models]})

    async def file(self, request: Request) -> Response:
        """`GET /files/ID/NAME`: a file that the job has listed, and no other path."""
        job = await run_in_threadpool(self.job, request)
        name = request.path_params["name"]
        folder = job_folder(self.service.folder, job.id)
        if name not in job.files and not (name == PREVIEW and job.state == "running" and (folder / name).is_file()):
            raise HTTPException(404)
        headers = {"cache-control": "no-store" if name == PREVIEW else "private, max-age=31536000, immutable"}
        return FileResponse(folder / name, headers=headers)

    async def schema(self, request: Request) -> Response:
        """`GET /schema`: the JSON Schema of the config."""
        return JSONResponse(await run_in_threadpool(self.service.schema))

    async def options(self, request: Request) -> Response:
        """`GET /options?model=NAME`: the schedulers and tasks that fit a model option."""
        from composer.api.listing import listed
        from composer.server.requested_words import request_words

        word = f"model={request.query_params.get('model', 'tiny')}"
        await run_in_threadpool(request_words, [word], self.service.uploads)
        return JSONResponse({"options": await run_in_threadpool(listed, ["scheduler", "task", word])})

    async def health(self, request: Request) -> Response:
        """`GET /healthz`."""
        alive = self.supervisor is None or self.supervisor.alive() > 0
        return JSONResponse({"status": "ok" if alive else "no worker", "version": __version__}, 200 if alive else 503)

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`, in the text format of Prometheus."""
        counts = await run_in_threadpool(self.queue.counts)
        lines = ["# HELP composer_jobs Jobs by state.", "# TYPE composer_jobs gauge"]
        lines += [f'composer_jobs{{state="{state}"}} {count}' for state, count in counts.items()]
        statuses = self.guard.statuses if self.guard else {}
        lines += ["# HELP composer_requests_total Answers by status.", "# TYPE composer_requests_total counter"]
        lines += [f'composer_requests_total{{status="{status}"}} {count}' for status, count in sorted(statuses.items())]
        if self.supervisor is not None:
            lines += ["# HELP composer_workers Workers that run.", "# TYPE composer_workers gauge"]
            lines += [f"composer_workers {self.supervisor.alive()}"]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        """`GET /`."""
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    async def description(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return JSONResponse(DESCRIPTION)

    async def docs(self, request: Request) -> Response:
        """`GET /docs`: the description as a page."""
        return Response(DOCS, media_type="text/html")


def make_app(
    service: Service, supervisor: Supervisor | None, token: str, hosts: frozenset[str]
) -> tuple[Guard, Routes]:
    """Make the application.

    Args:
        service: The service.
        supervisor: Its workers, or None.
        token: Secret that clients send.
        hosts: Names that the header `Host` may have.

    Returns:
        The ASGI application, and its routes, whose `stopping` ends waiting requests.
    """
    routes = Routes(service, supervisor, token)

    def route(path: str, endpoint: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
        return Route(path, endpoint, methods=list(methods or ("GET",)))

    app = Starlette(
        routes=[
            route("/", routes.page), route("/healthz", routes.health), route("/metrics", routes.metrics),
            route("/openapi.json", routes.description), route("/docs", routes.docs), route("/schema", routes.schema),
            route("/options", routes.options),
            route("/v1/images/generations", routes.generations, "POST"),
            route("/v1/images/edits", routes.edits, "POST"),
            route("/v1/models", routes.models), route("/jobs", routes.submit, "POST"), route("/jobs", routes.jobs),
            route("/check", routes.check, "POST"), route("/uploads", routes.upload, "POST"),
            route("/jobs/{job}", routes.get), route("/jobs/{job}/events", routes.events),
            route("/uploads/{upload}", routes.uploaded), route("/models", routes.stored),
            route("/jobs/{job}/favourite", routes.favourite, "POST"),
            route("/jobs/{job}/cancel", routes.cancel, "POST"), route("/jobs/{job}/retry", routes.retry, "POST"),
            route("/files/{job}/{name:path}", routes.file), Mount("/page", StaticFiles(directory=PAGE)),
        ],
        exception_handlers={
            ComposerError: _refused, HTTPException: _http_error, Exception: _failed,
            OperationalError: _disk_full, OSError: _disk_full,
        },
    )  # fmt: skip
    guard = Guard(app, token, hosts)
    routes.guard = guard
    return guard, routes


async def json_object(request: Request) -> dict[str, Any]:
    """Read a body that is a JSON object.

    Args:
        request: The request.

    Raises:
        ComposerError: It is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ComposerError("Content-Type", kind or None, "must be application/json")
    try:
        value = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ComposerError("body", None, f"is no JSON: {str(error)[:200] or 'too many levels'}") from None
    if not isinstance(value, dict):
        raise ComposerError("body", None, "must be a JSON object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def number_of(text: str) -> Any:
    """Read a field of a form, where numbers are text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def client_of(request: Request, fields: dict[str, Any]) -> str:
    """Who asks, for fairness: the field `user` or `client`, else the address.

    Args:
        request: The request.
        fields: Its fields.
    """
    given = fields.get("user") or fields.get("client")
    if given is None:
        return request.client.host if request.client else ""
    if not isinstance(given, str) or len(given) > MAX_NAME:
        raise ComposerError("user", str(given), f"must be a text of at most {MAX_NAME} characters")
    return given


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ComposerError)
    is_full = isinstance(error, QueueFull)
    return JSONResponse(error_body(error), 429 if is_full else 400, {"retry-after": "10"} if is_full else None)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "there is no such page or job", 405: "has no such method here"}.get(error.status_code, error.detail)
    return JSONResponse(error_body(ComposerError(request.url.path, None, reason)), error.status_code, error.headers)


async def _disk_full(request: Request, error: Exception) -> Response:
    """An error of the database or of a file: the client may try again later if there is no space."""
    if not is_disk_full(error):
        raise error
    refused = error_body(ComposerError("disk", None, "of the service is full: try again later"))
    return JSONResponse(refused, 503, {"retry-after": "10"})


async def _failed(request: Request, error: Exception) -> Response:
    reason = f"{type(error).__name__}: the log of the service shows where"
    return JSONResponse({"error": {"type": "server_error", "message": reason, "param": None, "code": None}}, 500)
