"""Hostile requests: each is answered with 4xx, queues nothing, and writes nothing outside of the service's own
files.
"""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from served import TOKEN
from tiers import every

CONF = Path(__file__).parents[2] / "conf"
#: Overrides that a request must not have.
WORDS = [
    "prompt=@/etc/passwd",
    "negative_prompt=@~/.ssh/id_rsa",
    "prompt='${oc.env:HOME}'",
    "seed=${oc.env:HOME}",
    'prompt="${hydra.run.dir}"',
    "task=img2img image=/etc/passwd",
    "task=img2img image=../../a.png",
    "task=img2img image=~/a.png",
    "task=img2img image=a.png",
    "task=img2img image=upload:../../queue.db",
    "task=img2img image=upload:00000000000000000000000000000000",
    "task=img2img image=[sample:scene,/etc/passwd]",
    "task=inpaint mask=/etc/passwd",
    "task=img2img ++image=/etc/passwd",
    "task=edit references=[/etc/passwd]",
    "model._target_=os.system",
    "scheduler._target_=os.system",
    "task={_target_: os.system}",
    "callbacks={x: {_target_: os.system}}",
    "++callbacks.x._target_=os.system",
    "+guidance._target_=subprocess.Popen",
    "scheduler@task=euler",
    "model.source=/etc",
    "model.source=owner/name",
    "model=local model.source=x",
    "model.components.vae=/etc",
    "model.allow_pickle=true",
    "++model.allow_pickle=true",
    "~model",
    "model.config=/etc",
    "model.refiner=/etc",
    "lora=/etc/passwd",
    "lora=owner/name",
    "lora.x=a.safetensors",
    "control=/etc/passwd",
    "control=owner/name",
    "control.x=./name",
    "control.image=/etc/passwd",
    "control.image={model: owner/name}",
    "control.x.image=/etc/passwd",
    "control.preprocess.model=owner/name",
    "control.image.model=owner/name",
    "output.folder=/tmp/x",
    "output.folder=../x",
    "++output.folder=x",
    "hydra.run.dir=/tmp",
    "hydra/launcher=joblib",
    "+hydra.callbacks.x=1",
    "hydra.searchpath=[pkg://os]",
    "sweep.jobs=/etc/passwd",
    "search.reference=/etc/passwd",
    "ray.address=auto",
    "sheet.x=steps",
    "--config-dir=/etc",
    "-m",
    "seed=1,2",
    "scheduler=glob(*)",
    "steps=0",
    "steps=abc",
    "steps=true",
    "images=1000",
    "height=100000 width=8",
    "batch=100000",
    "seed=-5",
    "scheduler=nothing",
    "model=../../etc",
    "model=/etc/passwd",
    "preset=../x",
    "nothing=1",
    "prompt",
    "=",
    "",
    " ",
    "a=b=c",
    "callbacks=[preview] callbacks.preview.path=/etc/x",
    "accel=[compile] accel.compile.mode=../../x",
    "prompt=a\0b",
    "steps=1\nseed=2",
    "device.type=/dev/null",
    "callbacks=[preview] callbacks.preview.every=0",
    "prompt=" + "x" * 30_000,
    "precision={dtype: /etc}",
]
#: Sweeps that are too large or read files.
SWEEPS = [
    "seed=range(1000000000)",
    "seed=range(1e9)",
    "seed=range(0,2000,1) steps=range(1,900)",
    "seed=interval(0,1)",
    "sweep.jobs=/etc/passwd seed=1,2",
    "prompt=@/etc/passwd",
    "prompt='${oc.env:HOME}','b'",
    "sweep.name=../x seed=1,2",
    "sweep.fresh=true seed=1,2",
    "sweep.where='__import__(1)' seed=1,2",
    "seed=1,2 image=/etc/passwd task=img2img",
    "hydra/launcher=ray seed=1,2",
    "hydra/sweeper=optuna steps=1,2",
    "sweep.zip=[a,b] seed=1,2",
]
#: Bodies that are no request.
BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"a"',
    b"1",
    b"{}",
    b'{"overrides": null}',
    b'{"overrides": {}}',
    b'{"overrides": "steps=1"}',
    b'{"overrides": [1]}',
    b'{"overrides": [["steps=1"]]}',
    b'{"overrides": [NaN]}',
    b'{"overrides": [], "x": 1}',
    b'{"overrides": [], "sweep": "yes"}',
    b"\xff\xfe",
    b'{"overrides": [], "client": 1}',
    b'{"overrides": [], "client": "' + b"x" * 200 + b'"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"overrides": ["' + b"x" * 30_000 + b'=1"]}',
    b'{"overrides": [' + b'"steps=1",' * 500 + b'"seed=1"]}',
    b'{"overrides": ["\\ud800=1"]}',
    b'{"overrides": ["prompt=\\ud800"]}',
]
#: Fields of OpenAI's images API.
FIELDS = [
    {},
    {"prompt": 1},
    {"prompt": None},
    {"prompt": ["a"]},
    {"prompt": "x" * 30_000},
    {"prompt": "a", "model": "../x"},
    {"prompt": "a", "model": 1},
    {"prompt": "a", "model": "nothing"},
    {"prompt": "a", "model": "tiny lora=x"},
    {"prompt": "a", "n": "2,3"},
    {"prompt": "a", "n": 0},
    {"prompt": "a", "n": 1000},
    {"prompt": "a", "n": True},
    {"prompt": "a", "size": "1x"},
    {"prompt": "a", "size": "99999x99999"},
    {"prompt": "a", "size": [1]},
    {"prompt": "a", "seed": "${x}"},
    {"prompt": "a", "seed": {"a": 1}},
    {"prompt": "a", "steps": 1e9},
    {"prompt": "a", "response_format": "html"},
    {"prompt": "a", "stream": True},
    {"prompt": "a", "style": "vivid"},
    {"prompt": "a", "x": 1},
    {"prompt": "a", "image": "/etc/passwd"},
    {"prompt": "a", "mask": "upload:0"},
    {"prompt": "a", "overrides": "steps=1"},
    {"prompt": "a", "overrides": ["output.folder=/x"]},
    {"prompt": "a", "user": 3},
    {"prompt": "a", "output_format": "exe"},
    {"prompt": "a", "scheduler": "euler,ddim"},
]
#: Requests to routes other than those above: method, path, and the body as JSON, or None.
ROUTES = [
    ("POST", "/jobs/JOB/favourite", {}),
    ("POST", "/jobs/JOB/favourite", {"favourite": 1}),
    ("POST", "/jobs/JOB/favourite", {"favourite": "true"}),
    ("POST", "/jobs/JOB/favourite", {"favourite": True, "state": "done"}),
    ("POST", "/jobs/JOB/favourite", [True]),
    ("POST", "/jobs/nothing/favourite", {"favourite": True}),
    ("GET", "/jobs/JOB/favourite", None),
    ("GET", "/jobs?favourite=yes", None),
    ("GET", "/jobs?contains=" + "x" * 101, None),
    ("GET", "/jobs?sweep=" + "x" * 101, None),
    ("GET", "/jobs?before=1e3", None),
    ("GET", "/jobs?before=-1", None),
    ("GET", "/jobs?limit=%D9%A3", None),
    ("GET", "/jobs?state=done,%00", None),
    ("GET", "/jobs/nothing/events", None),
    ("POST", "/jobs/nothing/retry", {}),
    ("POST", "/jobs/..%2f..%2fqueue.db/retry", {}),
    ("DELETE", "/jobs/JOB", None),
    ("PUT", "/jobs/JOB", {"state": "done"}),
    ("PATCH", "/jobs/JOB", {"files": ["../../queue.db"]}),
    ("GET", "/uploads", None),
    ("GET", "/uploads/queue.db", None),
    ("GET", "/uploads/..%2fqueue.db", None),
    ("GET", "/uploads/%2e%2e%2fqueue.db", None),
    ("GET", "/uploads/" + "0" * 32, None),
    ("GET", "/uploads/" + "A" * 32, None),
    ("GET", "/uploads/" + "0" * 32 + "%00", None),
    ("GET", "/uploads/" + "0" * 32 + "%0a", None),
    ("GET", "/uploads/" + "0" * 32 + ".unchecked", None),
    ("DELETE", "/uploads/" + "0" * 32, None),
    ("PUT", "/uploads/" + "0" * 32, {"a": 1}),
    ("POST", "/models", {"pull": "owner/name"}),
    ("DELETE", "/models/tiny", None),
    ("GET", "/models/..%2f..", None),
    ("GET", "/models/tiny", None),
    ("POST", "/v1/models", {}),
    ("GET", "/options?model=../x", None),
    ("GET", "/options?model=/etc/passwd", None),
    ("GET", "/options?model=owner/name", None),
    ("GET", "/options?model=$%7Boc.env:HOME%7D", None),
    ("GET", "/options?model=%7B_target_:os.system%7D", None),
    ("GET", "/options?model=tiny,sdxl", None),
    ("GET", "/options?model=%00", None),
    ("GET", "/options?model=local", None),
    ("POST", "/check", {}),
    ("POST", "/check", {"overrides": "steps=1"}),
    ("POST", "/check", {"overrides": ["output.folder=/tmp"]}),
    ("POST", "/check", {"overrides": ["task=inpaint", "image=sample:scene", "mask=/etc/passwd"]}),
    ("POST", "/check", {"overrides": ["task=inpaint", "image=sample:scene", "mask=upload:" + "0" * 32]}),
    ("POST", "/check", {"overrides": ["task=inpaint", "image=sample:scene", "mask=upload:../queue.db"]}),
    ("POST", "/check", {"overrides": ["seed=1,2"]}),
    ("GET", "/files/JOB/", None),
    ("GET", "/files/JOB/config.yaml%00", None),
    ("GET", "/files/JOB/.draft-x", None),
    ("GET", "/files/JOB/preview.jpg", None),
    ("GET", "/files/nothing/run.json", None),
    ("PUT", "/files/JOB/run.json", {}),
    ("DELETE", "/files/JOB/000.png", None),
    ("GET", "/outputs", None),
    ("POST", "/outputs/rm", {"keep": 0}),
    ("GET", "/diff?a=JOB&b=/etc/passwd", None),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
    ("GET", "/sse", None),
    ("POST", "/messages/", {"jsonrpc": "2.0", "id": 1, "method": "initialize"}),
    ("POST", "/metrics", {}),
    ("POST", "/healthz", {}),
    ("GET", "/page/", None),
    ("GET", "/page/..%2f..%2f..%2fpyproject.toml", None),
]
#: Files and fields of an edit, and what its mask is.
EDITS = [
    {"mask": b"GIF89a"},
    {"mask": b""},
    {"mask": b"<svg xmlns='http://www.w3.org/2000/svg'/>"},
    {"image": "/etc/passwd"},
    {"image": "upload:../queue.db", "mask": "/etc/passwd"},
    {"mask": "/etc/passwd"},
    {"overrides": "mask=/etc/passwd"},
    {"overrides": "output.folder=/tmp/x"},
    {"strength": "-1"},
    {"x": b"a"},
]
GOOD = f"Host: HOST\r\nAuthorization: Bearer {TOKEN}\r\n"
#: Raw requests: hosts, origins, tokens, paths and lengths.
RAW = {
    "no host": f"GET /jobs HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
    "another host": f"GET /jobs HTTP/1.1\r\nHost: evil.example:PORT\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
    "another host, open page": "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "an address in the host": f"GET /jobs HTTP/1.1\r\nHost: 127.0.0.1@evil.example\r\nAuthorization: Bearer "
    f"{TOKEN}\r\n\r\n",
    "two hosts": f"GET /jobs HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
    "another origin": f"GET /jobs HTTP/1.1\r\n{GOOD}Origin: http://evil.example\r\n\r\n",
    "null origin": f"POST /jobs HTTP/1.1\r\n{GOOD}Origin: null\r\nContent-Length: 0\r\n\r\n",
    "another port": f"GET /jobs HTTP/1.1\r\n{GOOD}Origin: http://127.0.0.1:1\r\n\r\n",
    "cross site": f"GET /jobs HTTP/1.1\r\n{GOOD}Sec-Fetch-Site: cross-site\r\n\r\n",
    "preflight": "OPTIONS /jobs HTTP/1.1\r\nHost: HOST\r\nOrigin: "
    "http://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    "no token": "GET /jobs HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "wrong token": "GET /jobs HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer x\r\n\r\n",
    "empty token": "GET /jobs HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer \r\n\r\n",
    "another scheme": f"GET /jobs HTTP/1.1\r\nHost: HOST\r\nAuthorization: Basic {TOKEN}\r\n\r\n",
    "token in the query": f"GET /jobs?token={TOKEN} HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "longer token": f"GET /metrics HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {TOKEN}x\r\n\r\n",
    "no token for a job": "POST /jobs HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: "
    "2\r\n\r\n{}",
    "wrong key of a file": "GET /files/0000000000000000/000.png?key=0 HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "up from a file": f"GET /files/JOB/../../queue.db HTTP/1.1\r\n{GOOD}\r\n",
    "encoded up": f"GET /files/JOB/%2e%2e/%2e%2e/queue.db HTTP/1.1\r\n{GOOD}\r\n",
    "encoded slash": f"GET /files/JOB/..%2f..%2fqueue.db HTTP/1.1\r\n{GOOD}\r\n",
    "absolute file": f"GET /files/JOB//etc/passwd HTTP/1.1\r\n{GOOD}\r\n",
    "up from the page": "GET /page/../app.py HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "encoded up from the page": "GET /page/%2e%2e/app.py HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "up by backslash": "GET /page/..%5capp.py HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "null in a path": f"GET /files/JOB/000.png%00 HTTP/1.1\r\n{GOOD}\r\n",
    "job up": f"GET /jobs/..%2f.. HTTP/1.1\r\n{GOOD}\r\n",
    "no such job": f"POST /jobs/nothing/cancel HTTP/1.1\r\n{GOOD}Content-Length: 0\r\n\r\n",
    "no such page": f"GET /nothing HTTP/1.1\r\n{GOOD}\r\n",
    "another method": f"DELETE /jobs HTTP/1.1\r\n{GOOD}\r\n",
    "trace": f"TRACE / HTTP/1.1\r\n{GOOD}\r\n",
    "huge length": f"POST /jobs HTTP/1.1\r\n{GOOD}Content-Type: application/json\r\nContent-Length: "
    f"99999999999\r\n\r\n",
    "negative length": f"POST /jobs HTTP/1.1\r\n{GOOD}Content-Type: application/json\r\nContent-Length: -1\r\n\r\n",
    "odd length": f"POST /jobs HTTP/1.1\r\n{GOOD}Content-Type: application/json\r\nContent-Length: ten\r\n\r\n",
    "form for JSON": f"POST /jobs HTTP/1.1\r\n{GOOD}Content-Type: text/plain\r\nContent-Length: 17\r\n\r\n"
    + '{"overrides": []}',
    "a body without a token": "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 100000\r\n\r\n",
    "a body for an open page": "GET /healthz HTTP/1.1\r\nHost: HOST\r\nContent-Type: image/png\r\nContent-Length: "
    "99\r\n\r\n",
    "odd limit": f"GET /jobs?limit=-1 HTTP/1.1\r\n{GOOD}\r\n",
    "huge limit": f"GET /jobs?limit=99999999999999999999 HTTP/1.1\r\n{GOOD}\r\n",
    "odd state": f"GET /jobs?state=%27%20OR%201=1-- HTTP/1.1\r\n{GOOD}\r\n",
    "long header": f"GET /jobs HTTP/1.1\r\n{GOOD}X: {'x' * 100_000}\r\n\r\n",
    "no HTTP": "hello\r\n\r\n",
}


@pytest.fixture(autouse=True)
def unchanged(service):
    """No job, and no file beside the service's own."""
    before = service.request("GET", "/jobs").json()["counts"]
    above = sorted(path.name for path in service.folder.parent.iterdir())
    yield
    assert service.request("GET", "/jobs").json()["counts"] == before and service.process.poll() is None
    assert sorted(path.name for path in service.folder.parent.iterdir()) == above
    assert {path.name.partition("-")[0] for path in service.folder.iterdir()} <= {
        "queue.db",
        "worker",
        "uploads",
        "jobs",
    }


def assert_refused(answer) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    message = answer.json()["error"]["message"]
    assert message and "\n" not in message and "Traceback" not in answer.text


def post(service, words: str, **fields):
    listed = (
        words.split(" ")
        if " " in words and not words.startswith(("task={", "callbacks={", "precision={")) and words.strip()
        else [words]
    )
    return service.request("POST", "/jobs", json={"overrides": listed, **fields})


@pytest.mark.parametrize("words", every(4, WORDS), ids=lambda words: words[:40])
def test_overrides_are_refused(service, words):
    assert_refused(post(service, words))


@pytest.mark.parametrize("words", every(4, SWEEPS))
def test_sweeps_are_refused(service, words):
    assert_refused(post(service, words, sweep=True))


@pytest.mark.parametrize("body", every(4, BODIES), ids=lambda body: str(body[:30]))
def test_bodies_are_refused(service, body):
    assert_refused(service.request("POST", "/jobs", content=body, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("fields", every(4, FIELDS), ids=lambda fields: json.dumps(fields)[:50])
def test_fields_of_the_images_api_are_refused(service, fields):
    assert_refused(service.request("POST", "/v1/images/generations", json=fields))


@pytest.mark.parametrize(("method", "path", "body"), every(4, ROUTES), ids=lambda value: str(value)[:40])
def test_other_routes_refuse_what_is_not_theirs(service, method, path, body):
    path = path.replace("JOB", _some_job(service))
    answer = service.request(method, path, **({} if body is None else {"json": body}))
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert "Traceback" not in answer.text and "root:" not in answer.text and "SQLite" not in answer.text


@pytest.mark.parametrize(
    "path", every(3, ["/models", "/schema", "/options", "/jobs", "/metrics", "/v1/models", "/uploads/" + "0" * 32])
)
def test_what_is_not_the_page_needs_the_token(service, path):
    assert_refused(service.request("GET", path, headers={"authorization": "Bearer " + "x" * len(TOKEN)}))


@pytest.mark.parametrize("given", every(5, EDITS), ids=lambda given: str(given)[:40])
def test_edits_with_odd_masks_and_fields_are_refused(service, given):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    files = {name: value for name, value in given.items() if isinstance(value, bytes)}
    data = {name: value for name, value in given.items() if isinstance(value, str)}
    if "image" not in data:
        files["image"] = buffer.getvalue()
    assert_refused(service.request("POST", "/v1/images/edits", files=files, data={"prompt": "a", **data}))


def test_the_battery_has_more_than_two_hundred_requests():
    several = (WORDS, SWEEPS, BODIES, FIELDS, RAW, ROUTES, EDITS)
    assert sum(map(len, several)) >= 260


@pytest.mark.parametrize("name", every(2, RAW))
def test_raw_requests_are_refused(service, name):
    parts = urlsplit(service.address)
    text = RAW[name].replace("HOST", parts.netloc).replace("PORT", str(parts.port)).replace("JOB", _some_job(service))
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(text.encode("latin-1"))
        head = connection.recv(65536).decode("latin-1")
    assert head.startswith("HTTP/1.1 4"), head[:200]
    assert "access-control-allow" not in head.lower() and "root:" not in head and "SQLite" not in head


def _some_job(service) -> str:
    jobs = service.request("GET", "/jobs?state=done&limit=1").json()["jobs"]
    return jobs[0]["id"] if jobs else "0000000000000000"


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"%!PS"]
)
def test_uploads_that_are_no_images_are_refused(service, data):
    assert_refused(service.request("POST", "/uploads", content=data, headers={"content-type": "image/png"}))
    assert not [path for path in (service.folder / "uploads").iterdir() if "." in path.name]


def test_an_image_of_too_many_pixels_is_refused(service):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    assert_refused(
        service.request("POST", "/uploads", content=buffer.getvalue(), headers={"content-type": "image/png"})
    )


def test_an_edit_without_an_image_or_with_other_files_is_refused(service):
    assert_refused(service.request("POST", "/v1/images/edits", files={"x": b"a"}, data={"prompt": "a"}))
    assert_refused(service.request("POST", "/v1/images/edits", files={"mask": b"a"}, data={"prompt": "a"}))
    assert_refused(
        service.request("POST", "/v1/images/edits", content=b"--x", headers={"content-type": "multipart/form-data"})
    )


def test_a_body_that_never_ends_is_refused(service):
    def endless():
        while True:
            yield b"x" * 65536

    try:
        assert_refused(
            service.request("POST", "/jobs", content=endless(), headers={"content-type": "application/json"})
        )
    except Exception as error:  # the service closed the connection before all was sent
        assert "closed" in str(error).lower() or "broken" in str(error).lower() or "reset" in str(error).lower(), error


def test_answers_allow_no_other_site_and_no_frame(service):
    headers = service.request("GET", "/").headers
    assert headers["x-frame-options"] == "DENY" and "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers
