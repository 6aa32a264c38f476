"""What all endpoints have in common: bodies, paths, methods, preflight requests."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from jupyter_server.base.handlers import JupyterHandler

from tests.fakes.engine_client import MODEL
from tests.server.conftest import TOKEN, RunningServer, StartServer
from tests.server.raw import raw_post
from tests.server.test_authorization import CHAT, ENDPOINTS, MOUNTS, Endpoint

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CHAT_PATHS = ["v1/chat/completions", "v1/chat", "api/chat", "pico/v1/chat/completions", "pico/api/chat"]


def chat_body(text: str) -> bytes:
    return json.dumps({"model": "tiny", "stream": False, "messages": [{"role": "user", "content": text}]}).encode()


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize(
    "text",
    ["a&token=zzz", "&token=zzz&", "&".join("abc" * 800), "a=b;c&no_track_activity=1", "%&=+"],
    ids=["token", "only token", "many fields", "other fields", "reserved characters"],
)
async def test_a_body_with_a_form_content_type_is_read_as_json(server: RunningServer, path: str, text: str) -> None:
    response = await server.request("POST", path, content=chat_body(text), headers=FORM)
    assert response.status_code == 200
    assert text in repr(server.engine.requests[0].prompt)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=utf-8", "multipart/form-data"])
async def test_the_content_type_is_ignored(server: RunningServer, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    assert (await server.request("POST", "api/chat", content=chat_body("hi"), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "missing request body"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"model": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "nested"),
    ],
    ids=["empty", "broken", "not an object", "not UTF-8", "deep"],
)
async def test_a_body_that_is_not_a_json_object_is_refused(server: RunningServer, body: bytes, message: str) -> None:
    openai = await server.request("POST", "v1/chat/completions", content=body)
    assert openai.status_code == 400
    assert openai.json()["error"]["type"] == "invalid_request_error"
    assert message in openai.json()["error"]["message"]
    ollama = await server.request("POST", "api/chat", content=body)
    assert ollama.status_code == 400
    assert message in ollama.json()["error"]


async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


@pytest.mark.parametrize("path", ["v1/chat/completions", "api/chat", "api/show", "v1/nothing"])
async def test_a_body_over_the_limit_is_refused(start_server: StartServer, path: str) -> None:
    server = await start_server(PicoJupyter={"max_request_bytes": 1000})
    response = await server.request("POST", path, content=b" " * 1001)
    assert response.status_code == 413
    assert "1000 bytes" in str(response.json()["error"])


@pytest.mark.parametrize("path", ["v1/chat/completions", "api/generate", "api/show"])
async def test_a_chunked_body_over_the_limit_is_refused(start_server: StartServer, path: str) -> None:
    server = await start_server(PicoJupyter={"max_request_bytes": 1000})
    response = await server.request("POST", path, content=chunks(300, 40))
    assert response.status_code == 413


async def test_a_body_of_exactly_the_limit_is_accepted(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"max_request_bytes": 1000})
    body = chat_body("x" * 800).ljust(1000)
    assert (await server.request("POST", "api/chat", content=body)).status_code == 200
    assert (await server.request("POST", "api/chat", content=chunks_of(body))).status_code == 200


async def chunks_of(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("size", [1000, 20_000_000])
async def test_a_refused_upload_receives_a_readable_response(server: RunningServer, size: int) -> None:
    for path, kwargs, status in (
        ("v1/chat/completions", {"token": ""}, 401),
        ("v1/nothing", {}, 404),
        ("api/tags", {}, 405),
    ):
        response = await server.request("POST", path, content=chunks(size // 10, 10), **kwargs)
        assert response.status_code == status
        assert response.json()["error"]
    assert (await server.post("api/copy", {"source": "x" * size})).status_code == 501


async def test_a_refused_request_with_expect_continue_is_not_continued(server: RunningServer) -> None:
    async with raw_post(server, "v1/nothing", {}, length=50_000_000, headers="Expect: 100-continue\r\n") as request:
        refusal = await request.until(b"\r\n\r\n")
    assert b"404" in refusal
    assert b"Connection: close" in refusal


@pytest.mark.parametrize(
    ("refused", "token", "status"),
    [
        ("GET /v1/models", "wrong", b"401"),
        ("GET /v1/nothing", TOKEN, b"404"),
        ("GET /api/chat", TOKEN, b"405"),
        ("PUT /pico/x", TOKEN, b"404"),
    ],
)
async def test_after_a_refusal_the_connection_serves_the_next_request(
    server: RunningServer, refused: str, token: str, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    host = f"Host: 127.0.0.1:{server.port}"
    for request, expected in [
        (f"{refused} HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\r\n\r\n", status),
        (f"HEAD /pico/ HTTP/1.1\r\n{host}\r\n\r\n", b"200"),
    ]:
        writer.write(request.encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert expected in head.splitlines()[0]
        lengths = [int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"Content-Length")]
        await reader.readexactly(0 if request.startswith("HEAD") else lengths[0])
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("length", ["abc", "-1", "1,2"])
async def test_an_invalid_content_length_does_not_disturb_the_server(server: RunningServer, length: str) -> None:
    head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + b"\r\n\r\n{}")
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    writer.close()
    await writer.wait_closed()
    assert (await server.get("v1/models")).status_code == 200


async def test_expect_continue_is_supported(server: RunningServer) -> None:
    headers = {"Expect": "100-continue"}
    assert (await server.request("POST", "api/chat", content=chat_body("hi"), headers=headers)).status_code == 200


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_trailing_slash_makes_no_difference(server: RunningServer, mount: str) -> None:
    for endpoint in ENDPOINTS:
        response = await server.request(endpoint.method, f"{mount}{endpoint.path}/", json=endpoint.body)
        assert response.status_code == endpoint.status, endpoint


@pytest.mark.parametrize("mount", MOUNTS)
async def test_an_unsupported_method_is_refused_with_the_allowed_ones(server: RunningServer, mount: str) -> None:
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    for path, endpoints in by_path.items():
        allowed = {endpoint.method for endpoint in endpoints} | {"OPTIONS"}
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - allowed:
            response = await server.request(method, mount + path)
            assert response.status_code == 405, (method, path)
            assert set(response.headers["Allow"].split(", ")) == allowed
            if method != "HEAD":
                assert response.json()["error"]


async def test_an_unsupported_method_is_reported_in_the_format_of_the_dialect(server: RunningServer) -> None:
    openai = await server.get("v1/chat/completions")
    assert openai.json()["error"]["code"] == "method_not_allowed"
    ollama = await server.get("api/chat")
    assert ollama.json() == {"error": "GET is not allowed here"}


async def test_an_unknown_method_is_reported_in_the_format_of_the_dialect(server: RunningServer) -> None:
    response = await server.request("BREW", "v1/models")
    assert response.status_code == 405
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_head_returns_the_headers_of_get_without_a_body(server: RunningServer) -> None:
    for path in ("v1/models", "v1/models/tiny", "api/tags", "api/version", "pico/", "pico/api/version"):
        get, head = await server.get(path), await server.request("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
        assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("path", ["v1/audio/speech", "v1/chat/nothing", "v1/nothing/at/all", "pico/v1/files"])
async def test_an_unknown_path_below_v1_is_reported_as_json(server: RunningServer, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = await server.request(method, path)
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("path", ["pico/api/nothing", "pico/nothing", "pico/api/status", "pico/lab"])
async def test_an_unknown_path_of_the_second_mount_is_reported_as_json(server: RunningServer, path: str) -> None:
    response = await server.post(path, {})
    assert response.status_code == 404
    assert response.json()["error"].startswith(f"There is no such endpoint: POST /{path}. This server has v1/chat")


@pytest.mark.parametrize(
    "path", ["v1/audio/speech", "v1/files", "completions", "chat/completions", "embeddings", "models", "rerank"]
)
async def test_an_endpoint_of_openai_that_is_missing_is_a_404_that_says_what_is_served(
    server: RunningServer, path: str
) -> None:
    for mount in MOUNTS:
        response = await server.post(mount + path, {"model": "tiny"})
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "not_found_error"
        assert "v1/chat/completions" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["v1/messages/batches", "v1/complete", "v1/messages/batches?beta=true"])
async def test_an_endpoint_of_anthropic_is_refused_in_anthropics_format_without_blaming_the_model(
    server: RunningServer, path: str
) -> None:
    for mount in MOUNTS:
        response = await server.post(mount + path, {"model": "tiny"})
        assert response.status_code == 404
        assert response.json()["type"] == "error"
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert "v1/chat/completions" in response.json()["error"]["message"]
        assert (await server.post(mount + path, {}, token="")).json()["error"]["type"] == "authentication_error"


DOUBLED = [
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "v1//chat//completions", CHAT),
    ("POST", "/v1/chat/completions//", CHAT),
    ("POST", "//v1///chat", CHAT),
    ("POST", "v1//messages", CHAT),
    ("POST", "v1/messages//count_tokens/", CHAT),
    ("POST", "/api/chat", CHAT),
    ("POST", "api//chat/", CHAT),
    ("POST", "/pico//api/chat", CHAT),
    ("POST", "pico//v1/chat/completions", CHAT),
    ("GET", "/v1/models", None),
    ("GET", "v1//models//tiny", None),
    ("GET", "/v1", None),
    ("GET", "/api/tags", None),
    ("GET", "pico//", None),
    ("HEAD", "/pico", None),
    ("GET", "/pico//openapi.json", None),
]


@pytest.mark.parametrize("base_url", ["/", "/user/ann/"])
async def test_several_slashes_count_as_one(start_server: StartServer, base_url: str) -> None:
    server = await start_server(base_url=base_url)
    for method, path, body in DOUBLED:
        response = await server.request(method, path, json=body)
        assert response.status_code == 200, path


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "v1//nothing", "/pico//nothing", "v1/models//", "/v1/messages/batches"]
)
async def test_an_unknown_path_with_several_slashes_is_reported_as_json(server: RunningServer, path: str) -> None:
    response = await server.post(path, {})
    assert response.status_code in (404, 405)
    assert response.json()["error"]


@pytest.mark.parametrize("base_url", ["/", "/user/ann/"])
async def test_head_of_the_root_is_answered_for_ollamas_clients_without_a_token(
    start_server: StartServer, base_url: str
) -> None:
    server = await start_server(base_url=base_url)
    for path in ("", "/"):
        head = await server.request("HEAD", path, token="")
        assert (head.status_code, head.content) == (200, b"")
    page = await server.get("")
    assert "Ollama" not in page.text


@pytest.mark.parametrize(
    "path", ["api", "api/status", "api/me", "api/contents", "api/kernels", "api/sessions", "api/kernelspecs"]
)
async def test_jupyters_own_paths_are_unchanged(server: RunningServer, path: str) -> None:
    response = await server.get(path)
    assert response.status_code == 200
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "x-request-id" not in response.headers


async def test_another_extension_can_have_paths_below_v1(start_server: StartServer) -> None:
    server = await start_server(started=False)

    class Other(JupyterHandler):
        def get(self) -> None:
            self.finish("other")

    server.app.web_app.add_handlers(".*$", [(server.app.base_url + "v1/other", Other)])
    await server.app.extension_manager.start_all_extensions()
    assert (await server.get("v1/other")).text == "other"
    assert (await server.get("v1/nothing")).json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("base_url", ["/a%40b/", "/user/ann/", "/x.y/"])
async def test_every_endpoint_is_below_the_base_url(start_server: StartServer, base_url: str) -> None:
    server = await start_server(base_url=base_url)
    assert server.url.endswith(base_url)
    for mount in MOUNTS:
        for endpoint in ENDPOINTS:
            response = await server.request(endpoint.method, mount + endpoint.path, json=endpoint.body)
            assert response.status_code == endpoint.status, endpoint
        assert (await server.get(mount + "v1/nothing")).json()["error"]
    root = server.url.removesuffix(base_url)
    outside = await server.client.get(root + "/v1/models", headers={"Authorization": f"Bearer {TOKEN}"})
    assert outside.status_code == 404


async def test_a_model_name_may_contain_a_slash_encoded_or_not(server: RunningServer) -> None:
    for path in ("v1/models/org/tiny", "v1/models/org%2Ftiny", "v1/models/org/tiny/"):
        response = await server.get(path)
        assert response.json()["id"] == MODEL.name


async def test_every_response_has_a_unique_id(server: RunningServer) -> None:
    responses = [await server.get("v1/models") for _ in range(2)]
    responses += [
        await server.get("v1/models", token=""),
        await server.get("v1/nothing"),
        await server.post("api/chat"),
    ]
    responses += [await server.post("v1/chat/completions", {**CHAT, "stream": True})]
    assert len({response.headers["x-request-id"] for response in responses}) == len(responses)


async def test_requests_are_logged_by_jupyter_without_the_token(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await server.get("v1/models", token="", params={"token": TOKEN})
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name == "QuietServerApp")
    assert "200 GET /v1/models" in logged
    assert TOKEN not in logged


PREFLIGHT = {
    "Origin": "https://app.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
}


async def preflight(server: RunningServer, path: str) -> httpx.Response:
    return await server.request("OPTIONS", path, token="", headers=PREFLIGHT)


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_preflight_lists_methods_and_headers_and_allows_no_origin_by_default(
    server: RunningServer, mount: str
) -> None:
    for path in {endpoint.path for endpoint in ENDPOINTS}:
        response = await preflight(server, mount + path)
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, PATCH, DELETE, HEAD, OPTIONS"
        assert response.headers["Access-Control-Allow-Headers"] == PREFLIGHT["Access-Control-Request-Headers"]
        assert response.headers["Access-Control-Max-Age"] == "600"
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"allow_origin": "*"}, "*"),
        ({"allow_origin": "https://app.example"}, "https://app.example"),
        ({"allow_origin_pat": r"https://.*\.example"}, "https://app.example"),
        ({"allow_origin_pat": r"https://other"}, None),
    ],
)
async def test_an_origin_is_allowed_if_the_server_allows_it(
    start_server: StartServer, setting: dict[str, str], allowed: str | None
) -> None:
    server = await start_server(ServerApp=setting)
    assert (await preflight(server, "v1/chat/completions")).headers.get("Access-Control-Allow-Origin") == allowed
    origin = {"Origin": PREFLIGHT["Origin"]}
    for path, body in (("v1/chat/completions", CHAT), ("v1/chat/completions", {}), ("v1/chat", CHAT)):
        response = await server.post(path, body, headers=origin)
        assert response.headers.get("Access-Control-Allow-Origin") == allowed


async def test_answers_and_errors_allow_no_origin_that_the_preflight_refuses(server: RunningServer) -> None:
    for body in (CHAT, {}):
        response = await server.post("v1/chat/completions", body, headers={"Origin": "https://app.example"})
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_header_that_the_owner_sets_for_all_answers_is_kept(start_server: StartServer) -> None:
    headers = {"Access-Control-Allow-Origin": "https://app.example"}
    server = await start_server(ServerApp={"tornado_settings": {"headers": headers}})
    for response in (await preflight(server, "v1/models"), await server.get("v1/models")):
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_an_incomplete_request_does_not_disturb_the_server(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x")
    assert (await server.get("v1/models")).status_code == 200


async def test_an_error_before_the_credentials_are_checked_says_that_the_connection_closes(
    server: RunningServer,
) -> None:
    response = await server.get("v1/models/%ff")
    assert response.status_code == 400
    assert response.headers["Connection"] == "close"
    assert (await server.get("v1/models")).status_code == 200
