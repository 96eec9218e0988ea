"""A hub on the loopback: the part of the hub's HTTP API that its own client library asks for, with files of a
folder.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub(name: str, folder: Path, tags: list[str]):
    """Serve one repository; yields the address and the list of paths that were requests for."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    requests: list[str] = []

    def facts(path: str) -> dict:
        data = files[path].read_bytes()
        lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        is_large = path.endswith(".safetensors")
        return {"type": "file", "path": path, "rfilename": path, "size": len(data), "oid": sha1(data),
            "blobId": sha1(data),
                **({"lfs": {**lfs, "sha256": lfs["oid"]}} if is_large else {})}  # fmt: skip

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            requests.append(path)
            info = {"id": name, "modelId": name, "sha": COMMIT, "tags": tags, "pipeline_tag": "text-to-image",
                "downloads": 7,
                    "gated": False, "private": False, "siblings": [facts(file) for file in sorted(files)]}  # fmt: skip
            if path == "/api/models":
                self.answer(json.dumps([info]).encode())
            elif path.startswith(f"/api/models/{name}/tree/"):
                self.answer(json.dumps([facts(file) for file in sorted(files)]).encode())
            elif path == f"/api/models/{name}" or path.startswith(f"/api/models/{name}/revision/"):
                self.answer(json.dumps(info).encode())
            elif path.startswith(f"/{name}/resolve/"):
                file = path.split("/", 5)[5]
                data, about = files[file].read_bytes(), facts(file)
                etag = about["lfs"]["sha256"] if "lfs" in about else about["oid"]
                self.answer(data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{etag}"',
                                   "X-Linked-Size": str(len(data))})  # fmt: skip
            else:
                self.answer(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

        def answer(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
