"""The OpenAPI description of the service, and a page that shows it. https://spec.openapis.org/oas/v3.1.0"""

from __future__ import annotations

from html import escape
from typing import Any

from composer.version import __version__

_TEXT, _FLAG, _LIST = {"type": "string"}, {"type": "boolean"}, {"type": "array", "items": {"type": "string"}}
_GENERATION = {
    "prompt": _TEXT, "model": _TEXT, "n": {"type": "integer"}, "size": _TEXT,
    "response_format": {"enum": ["b64_json", "url"]},
    "negative_prompt": _TEXT, "seed": {"type": "integer"}, "steps": {"type": "integer"}, "guidance": {"type": "number"},
    "scheduler": _TEXT, "output_format": _TEXT, "user": _TEXT, "overrides": _LIST,
}  # fmt: skip
_EDIT = {**_GENERATION, "image": {"type": "string", "format": "binary"}, "mask": {"type": "string", "format": "binary"}}
_JOBS = {"overrides": _LIST, "sweep": _FLAG, "client": _TEXT}
_JSON = "application/json"

#: Method and path → what it does, and the content type and properties of its body.
OPERATIONS: dict[tuple[str, str], tuple[str, str | None, dict[str, Any]]] = {
    ("post", "/v1/images/generations"): (
        "Generate images and wait for them, as OpenAI's API does.",
        _JSON,
        _GENERATION,
    ),
    ("post", "/v1/images/edits"): ("Change an image, with a mask or without, and wait.", "multipart/form-data", _EDIT),
    ("get", "/v1/models"): ("List the model options.", None, {}),
    ("post", "/jobs"): ("Queue a job, or with sweep a job of each combination of values.", _JSON, _JOBS),
    ("get", "/jobs"): (
        "List jobs, the newest first: "
        "?state=failed,queued&before=NUMBER&limit=100&contains=TEXT&favourite=true&sweep=NAME.",
        None,
        {},
    ),
    ("get", "/jobs/{job}"): ("Show a job.", None, {}),
    ("get", "/jobs/{job}/events"): ("Follow a job by server-sent events, named by its state.", None, {}),
    ("post", "/jobs/{job}/cancel"): ("Cancel a job that waits or runs.", None, {}),
    ("post", "/jobs/{job}/retry"): ("Run a job again that failed or was cancelled.", None, {}),
    ("post", "/jobs/{job}/favourite"): (
        "Mark a job as a favourite, whose files stay when old ones are removed.",
        _JSON,
        {"favourite": _FLAG},
    ),
    ("post", "/check"): ("Check overrides and queue nothing.", _JSON, {"overrides": _LIST}),
    ("post", "/uploads"): ("Keep an image; overrides name it by upload:ID.", "image/*", {}),
    ("get", "/uploads/{upload}"): ("An image that was uploaded, by the ID after upload:.", None, {}),
    ("get", "/models"): ("Models on the disk of the service: size, licence, tasks.", None, {}),
    ("get", "/files/{job}/{name}"): ("A file of a job: image, run.json, preview.", None, {}),
    ("get", "/schema"): ("The JSON Schema of the config.", None, {}),
    ("get", "/options"): ("The schedulers and tasks that fit a model: ?model=NAME.", None, {}),
    ("get", "/metrics"): ("Counts in the text format of Prometheus.", None, {}),
    ("get", "/healthz"): ("Whether the service works.", None, {}),
}


def describe() -> dict[str, Any]:
    """Describe the service.

    Returns:
        An OpenAPI 3.1 document.
    """
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), (summary, kind, properties) in OPERATIONS.items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        operation: dict[str, Any] = {"summary": summary, "responses": {
            "200": {"description": "done"}, "400": {"description": "refused: error has key, value, reason, allowed"},
        }}  # fmt: skip
        if names:
            operation["parameters"] = [{"name": n, "in": "path", "required": True, "schema": _TEXT} for n in names]
        if kind:
            schema = (
                {"type": "object", "properties": properties} if properties else {"type": "string", "format": "binary"}
            )
            operation["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "composer", "version": __version__, "description": "compose serve, see docs/serve.md"},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def docs_page() -> str:
    """Write the description as an HTML page without scripts."""
    rows = [
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(summary)}</td>"
        f"<td>{', '.join(f'<code>{escape(name)}</code>' for name in properties)}</td></tr>"
        for (method, path), (summary, _, properties) in OPERATIONS.items()
    ]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>composer: API</title>'
    style = '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/page/page.css">'
    return (
        f'{head}{style}<main><h1>API</h1><p><a href="/openapi.json">openapi.json</a> describes it for programs.</p>'
        f"<table><tr><th>request</th><th></th><th>fields</th></tr>{''.join(rows)}</table></main></html>"
    )


DESCRIPTION = describe()
DOCS = docs_page()
