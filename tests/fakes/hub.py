"""A hub on loopback that speaks the API of the Hugging Face hub, with the faults that a test configures.

Run as a program, it serves folders until its standard input is closed: `python -m tests.fakes.hub owner/name=FOLDER …`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 1 << 14
LFS_SUFFIX = ".safetensors"


@dataclass
class Fault:
    """A fault of the next `times` responses whose path contains `path`.

    reset, truncate: end the connection after `after` bytes of the body. wrong: change one byte of the body.
    status: answer with `status` and `headers`. slow: send `rate` bytes per second. whole: ignore the range.
    """

    kind: Literal["reset", "truncate", "wrong", "status", "slow", "whole"]
    path: str = ""
    times: int = 1
    after: int = 0
    status: int = 500
    rate: int = 1 << 20
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Transfer:
    """The body of a response: `sent` bytes of the content `blob`, from `start`. `faulty`: a byte was changed."""

    blob: str
    start: int
    sent: int = 0
    faulty: bool = False


class HubRepo:
    """The files of a folder as a repository."""

    def __init__(self, name: str, folder: Path, *, gated: bool = False, private: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.gated = gated
        self.private = private
        self.files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self.blobs = {name: _blob(path) for name, path in self.files.items()}
        self.commit = hashlib.sha1(json.dumps(self.blobs).encode()).hexdigest()

    def is_lfs(self, file: str) -> bool:
        return file.endswith(LFS_SUFFIX)

    def describe(self) -> dict[str, Any]:
        """The answer of api/models/NAME?blobs=true."""
        return {
            "id": self.name,
            "modelId": self.name,
            "sha": self.commit,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "downloads": 7,
            "tags": ["mlx", "safetensors", "license:apache-2.0"],
            "pipeline_tag": "text-generation",
            "siblings": [self._sibling(name) for name in self.files],
        }

    def _sibling(self, name: str) -> dict[str, Any]:
        size, blob = self.files[name].stat().st_size, self.blobs[name]
        sibling = {"rfilename": name, "size": size, "blobId": hashlib.sha1(blob.encode()).hexdigest()}
        if not self.is_lfs(name):
            return {**sibling, "blobId": blob}
        return {**sibling, "lfs": {"sha256": blob, "size": size, "pointerSize": 134}}

    def tree(self) -> list[dict[str, Any]]:
        """The answer of api/models/NAME/tree/REVISION."""
        return [
            {
                "type": "file",
                "path": sibling["rfilename"],
                "size": sibling["size"],
                "oid": sibling["blobId"],
                **(
                    {"lfs": {"oid": sibling["lfs"]["sha256"], "size": sibling["size"], "pointerSize": 134}}
                    if "lfs" in sibling
                    else {}
                ),
            }
            for sibling in map(self._sibling, self.files)
        ]


class FakeHub:
    """The repositories, the faults to come, and what was requested and sent.

    `token`: required for gated and private repositories. `is_down`: connections are reset at once.
    """

    def __init__(self, *repos: HubRepo, token: str = "hf_token") -> None:
        self.repos = {repo.name: repo for repo in repos}
        self.token = token
        self.is_down = False
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.transfers: list[Transfer] = []
        self.authorized_paths: list[str] = []
        self.url = self.storage_url = ""
        self._lock = threading.Lock()

    def add(self, name: str, folder: Path, **options: bool) -> HubRepo:
        repo = self.repos[name] = HubRepo(name, folder, **options)
        return repo

    def fault(self, path: str, *kinds: str) -> Fault | None:
        """Take the next fault of one of `kinds` for `path`."""
        with self._lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.path in path:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def sent(self, blob: str = "") -> int:
        """The bytes of bodies that were sent, of one content or of all."""
        return sum(transfer.sent for transfer in self.transfers if blob in ("", transfer.blob))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".rstrip())
        if "Authorization" in self.headers:
            self.hub.authorized_paths.append(path)
        if self.hub.is_down:
            self._reset()
            return
        fault = self.hub.fault(path, "status")
        if fault is not None:
            self._answer({"error": "injected"}, fault.status, **fault.headers)
        elif path == "/api/models":
            self._search(query)
        elif found := re.fullmatch(r"/cdn/([0-9a-f]+)", path):
            self._send_blob(found[1])
        elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(revision|tree)/([^/]+))?", path):
            self._model(found[1], found[2] or "", found[3] or "main")
        elif found := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(found[1], found[2], found[3])
        else:
            self._answer({"error": "not found"}, 404)

    def _repo(self, name: str, revision: str) -> HubRepo | None:
        repo = self.hub.repos.get(name)
        has_token = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if repo is None or (repo.private and not has_token):
            self._answer({"error": "Repository not found"}, 401, **{"X-Error-Code": "RepoNotFound"})
            return None
        if revision not in ("main", repo.commit):
            self._answer({"error": "Invalid rev id"}, 404, **{"X-Error-Code": "RevisionNotFound"})
            return None
        return repo

    def _is_refused(self, repo: HubRepo) -> bool:
        if not repo.gated or self.headers.get("Authorization") == f"Bearer {self.hub.token}":
            return False
        status = 403 if "Authorization" in self.headers else 401
        self._answer({"error": "Access to model is restricted"}, status, **{"X-Error-Code": "GatedRepo"})
        return True

    def _model(self, name: str, kind: str, revision: str) -> None:
        repo = self._repo(name, revision)
        if repo is not None:
            self._answer(repo.tree() if kind == "tree" else repo.describe())

    def _search(self, query: dict[str, str]) -> None:
        words = query.get("search", "").lower().split()
        found = [
            repo.describe() for name, repo in self.hub.repos.items() if all(word in name.lower() for word in words)
        ]
        self._answer(found[: int(query.get("limit", 100))])

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repo = self._repo(name, revision)
        if repo is None or self._is_refused(repo):
            return
        if file not in repo.files:
            self._answer({"error": "Entry not found"}, 404, **{"X-Error-Code": "EntryNotFound"})
            return
        blob = repo.blobs[file]
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{blob}"'}
        if not repo.is_lfs(file):
            self._send_file(repo.files[file], blob, headers)
            return
        size = str(repo.files[file].stat().st_size)
        linked = {"X-Linked-Etag": f'"{blob}"', "X-Linked-Size": size}
        self._answer({}, 302, **headers, **linked, Location=f"{self.hub.storage_url}/cdn/{blob}")

    def _send_blob(self, blob: str) -> None:
        for repo in self.hub.repos.values():
            for name, known in repo.blobs.items():
                if known == blob:
                    self._send_file(repo.files[name], blob, {"ETag": f'"{blob}"'})
                    return
        self._answer({"error": "not found"}, 404)

    def _send_file(self, path: Path, blob: str, headers: dict[str, str]) -> None:
        content = path.read_bytes()
        start, end = 0, len(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is not None and self.hub.fault(self.path, "whole") is None:
            start, end = int(found[1]), min(end, int(found[2]) + 1 if found[2] else end)
            if start >= len(content):
                self._answer({}, 416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self._send_body(content[start:end], Transfer(blob, start))

    def _send_body(self, body: bytes, transfer: Transfer) -> None:
        fault = self.hub.fault(self.path, "reset", "truncate", "wrong", "slow")
        if fault is not None and fault.kind == "wrong" and body:
            transfer.faulty = True
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.hub.transfers.append(transfer)
        stop = len(body) if fault is None or fault.kind in ("wrong", "slow") else min(fault.after, len(body))
        size = CHUNK if fault is None or fault.kind != "slow" else max(1, min(CHUNK, fault.rate // 20))
        try:
            for begin in range(0, stop, size):
                if self.hub.is_down:
                    self._reset()
                    return
                piece = body[begin : min(begin + size, stop)]
                self.wfile.write(piece)
                transfer.sent += len(piece)
                if fault is not None and fault.kind == "slow":
                    time.sleep(len(piece) / fault.rate)
        except OSError:
            self.close_connection = True
            return
        if fault is not None and fault.kind == "reset":
            self._reset()
        elif stop < len(body):
            self.close_connection = True

    def _reset(self) -> None:
        """End the connection with RST. The other side may lose bytes that it has not read yet."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # shutdown() would send FIN, so the socket is closed at once.
            self.connection.close()
        self.close_connection = True

    def _answer(self, value: object, status: int = 200, **headers: str) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: clients of these tests disconnect at any time."""

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            super().shutdown_request(request)


@contextlib.contextmanager
def running_hub(hub: FakeHub, port: int = 0) -> Iterator[FakeHub]:
    """Serve `hub` on loopback."""
    handler = type("HubHandler", (_Handler,), {"hub": hub})
    with _Server(("127.0.0.1", port), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        # Another host, as on the real hub: a client must not send its token there.
        hub.storage_url = f"http://localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield hub
        server.shutdown()


def _blob(path: Path) -> str:
    content = path.read_bytes()
    if path.name.endswith(LFS_SUFFIX):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def main() -> None:
    """Serve the folders in the arguments until standard input is closed. Prints the URL."""
    repos = [HubRepo(name, Path(folder)) for name, _, folder in (word.partition("=") for word in sys.argv[1:])]
    with running_hub(FakeHub(*repos)) as hub:
        print(hub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
