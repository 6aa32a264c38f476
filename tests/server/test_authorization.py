"""Authentication and authorization: every endpoint with every kind of credentials."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from jupyter_server.auth import Authorizer, User
from jupyter_server.base.handlers import JupyterHandler
from tornado.routing import PathMatches, Rule

from pico_jupyter.server.handlers import DialectHandler
from pico_jupyter.server.ollama_handlers import OllamaRootHandler
from pico_jupyter.server.routes import ENDPOINTS as ROUTES
from pico_jupyter.server.routes import OWN_ENDPOINTS as OWN_ROUTES
from pico_jupyter.server.routes import PROTOCOL_ENDPOINTS
from tests.fakes.downloads import FakeDownloads
from tests.server.conftest import TOKEN, RunningServer, StartServer

QUESTION = [{"role": "user", "content": "12 + 35?"}]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path: the action that it requires, and its status when permitted."""

    method: str
    path: str
    action: str
    status: int
    body: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


CHAT = {"model": "tiny", "messages": QUESTION}
ENDPOINTS = [
    Endpoint("POST", "v1/chat/completions", "execute", 200, CHAT),
    Endpoint("POST", "v1/chat", "execute", 200, CHAT),
    Endpoint("POST", "v1/responses", "execute", 200, {"model": "tiny", "input": "12 + 35?"}),
    Endpoint("GET", "v1/responses/resp_1", "read", 404),
    Endpoint("HEAD", "v1/responses/resp_1", "read", 404),
    Endpoint("DELETE", "v1/responses/resp_1", "write", 404),
    Endpoint("GET", "v1/responses/resp_1/input_items", "read", 404),
    Endpoint("HEAD", "v1/responses/resp_1/input_items", "read", 404),
    Endpoint("POST", "v1/chat/completions/render", "execute", 200, CHAT),
    Endpoint("POST", "v1/completions", "execute", 200, {"model": "tiny", "prompt": "12 + 35 ="}),
    Endpoint("POST", "v1/messages", "execute", 200, CHAT),
    Endpoint("POST", "v1/messages/count_tokens", "execute", 200, CHAT),
    Endpoint("POST", "v1/tokenize", "execute", 200, {"model": "tiny", "prompt": "hi"}),
    Endpoint("POST", "v1/detokenize", "execute", 200, {"model": "tiny", "tokens": [1]}),
    Endpoint("GET", "v1/models", "read", 200),
    Endpoint("HEAD", "v1/models", "read", 200),
    Endpoint("GET", "v1/models/tiny", "read", 200),
    Endpoint("HEAD", "v1/models/tiny", "read", 200),
    Endpoint("GET", "v1/memory", "read", 200),
    Endpoint("HEAD", "v1/memory", "read", 200),
    Endpoint("GET", "v1/usage", "read", 200),
    Endpoint("HEAD", "v1/usage", "read", 200),
    Endpoint("GET", "v1", "read", 200),
    Endpoint("HEAD", "v1", "read", 200),
    Endpoint("POST", "api/chat", "execute", 200, CHAT),
    Endpoint("POST", "api/generate", "execute", 200, {"model": "tiny", "prompt": "12 + 35?"}),
    Endpoint("GET", "api/tags", "read", 200),
    Endpoint("HEAD", "api/tags", "read", 200),
    Endpoint("GET", "api/ps", "read", 200),
    Endpoint("HEAD", "api/ps", "read", 200),
    Endpoint("GET", "api/version", "read", 200),
    Endpoint("HEAD", "api/version", "read", 200),
    Endpoint("POST", "api/show", "read", 200, {"model": "tiny"}),
    Endpoint("POST", "api/pull", "write", 200, {"model": "tiny"}),
    Endpoint("DELETE", "api/delete", "write", 403, {"model": "tiny"}),  # a model in a folder
    Endpoint("POST", "api/copy", "write", 501),
    Endpoint("POST", "api/create", "write", 501),
    Endpoint("POST", "api/push", "write", 501),
    Endpoint("POST", "api/blobs/sha256:00", "write", 501),
    Endpoint("HEAD", "api/blobs/sha256:00", "write", 501),
    Endpoint("POST", "v1/embeddings", "execute", 200, {"model": "tiny", "input": "hi"}),
    Endpoint("POST", "v1/rerank", "execute", 200, {"model": "tiny", "query": "hi", "documents": ["hi"]}),
    Endpoint("POST", "api/embed", "execute", 200, {"model": "tiny", "input": "hi"}),
    Endpoint("POST", "api/embeddings", "execute", 200, {"model": "tiny", "prompt": "hi"}),
]
OWN_ENDPOINTS = [
    Endpoint("GET", "pico/downloads", "read", 200),
    Endpoint("HEAD", "pico/downloads", "read", 200),
    Endpoint("POST", "pico/downloads", "write", 202, {"model": "org/small"}),
    Endpoint("PATCH", "pico/downloads/org/small", "write", 200, {"state": "running"}),
    Endpoint("DELETE", "pico/downloads/org/small", "write", 200),
    Endpoint("GET", "pico/skipped", "read", 200),
    Endpoint("HEAD", "pico/skipped", "read", 200),
    Endpoint("GET", "pico/hub/recommended", "read", 200),
    Endpoint("HEAD", "pico/hub/recommended", "read", 200),
    Endpoint("GET", "pico/hub/search?q=small", "read", 200),
    Endpoint("HEAD", "pico/hub/search?q=small", "read", 200),
    Endpoint("GET", "pico/hub/models/org/small", "read", 200),
    Endpoint("HEAD", "pico/hub/models/org/small", "read", 200),
    Endpoint("GET", "pico/tools", "read", 200),
    Endpoint("HEAD", "pico/tools", "read", 200),
    Endpoint("POST", "pico/tools/none__tool", "execute", 404, {}),
    Endpoint("POST", "pico/mcp", "execute", 400, {}),  # not JSON-RPC
]
MOUNTS = ("", "pico/")
MOUNTED = [(mount, endpoint) for mount in MOUNTS for endpoint in ENDPOINTS] + [("", one) for one in OWN_ENDPOINTS]
ALLOWED = {"PicoJupyter": {"allow_pull": True}}


async def statuses(server: RunningServer, **kwargs: Any) -> dict[str, int]:
    """The status of every endpoint on both mounts."""
    server.extension.context.downloads = FakeDownloads()
    found = {}
    for mount, endpoint in MOUNTED:
        response = await server.request(endpoint.method, mount + endpoint.path, json=endpoint.body, **kwargs)
        found[mount + str(endpoint)] = response.status_code
    return found


EXPECTED = {mount + str(endpoint): endpoint.status for mount, endpoint in MOUNTED}
ALL_401 = dict.fromkeys(EXPECTED, 401)

BASIC = base64.b64encode(f"user:{TOKEN}".encode()).decode()


def test_every_method_of_every_route_is_in_the_list() -> None:
    routes = [
        (method, path)
        for path, handler, arguments in (*ROUTES, *OWN_ROUTES, *PROTOCOL_ENDPOINTS)
        for method in arguments.get("methods") or handler.methods
    ]
    assert len(routes) > 20
    for method, path in routes:
        listed = [
            one
            for one in (*ENDPOINTS, *OWN_ENDPOINTS)
            if one.method == method and re.fullmatch(path, one.path.partition("?")[0])
        ]
        assert listed, f"{method} {path}"


@pytest.mark.parametrize(
    "credentials",
    [
        {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        {"headers": {"Authorization": f"bearer {TOKEN}"}},
        {"headers": {"Authorization": f"token {TOKEN}"}},
        {"headers": {"Authorization": f"Basic {BASIC}"}},
        {"headers": {"X-API-Key": TOKEN}},
        {"params": {"token": TOKEN}},
        {"headers": {"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}},
    ],
    ids=["Bearer", "bearer", "token", "Basic", "X-API-Key", "?token=", "Bearer from another site"],
)
async def test_a_token_gives_access_to_every_endpoint(server: RunningServer, credentials: dict[str, Any]) -> None:
    assert await statuses(server, token="", **credentials) == EXPECTED


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": "token wrong"}},
        {"headers": {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}},
        {"headers": {"X-API-Key": "wrong"}},
        {"params": {"token": "wrong"}},
        {"headers": {"Cookie": "username-127-0-0-1=forged"}},
        {"headers": {"X-XSRFToken": "x", "Cookie": "_xsrf=x"}},
    ],
    ids=["nothing", "Bearer", "token", "Basic", "X-API-Key", "?token=", "cookie", "xsrf only"],
)
async def test_every_endpoint_refuses_missing_or_wrong_credentials(
    server: RunningServer, credentials: dict[str, Any]
) -> None:
    assert await statuses(server, token="", **credentials) == ALL_401
    assert server.engine.requests == []


async def test_every_endpoint_refuses_a_page_of_another_site_without_a_token(server: RunningServer) -> None:
    assert await statuses(server, token="", headers={"Origin": "https://evil.example"}) == ALL_401
    assert server.engine.requests == []


async def test_every_endpoint_requires_a_token_even_without_xsrf_checks(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"disable_check_xsrf": True})
    assert await statuses(server, token="") == ALL_401


async def test_allow_unauthenticated_access_false_changes_nothing(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"allow_unauthenticated_access": False})
    assert await statuses(server, token="") == ALL_401
    assert await statuses(server) == EXPECTED


async def test_missing_credentials_are_reported_in_the_format_of_the_dialect(server: RunningServer) -> None:
    openai = await server.post("v1/chat/completions", CHAT, token="")
    assert openai.headers["WWW-Authenticate"] == "Bearer"
    assert openai.json()["error"]["type"] == "authentication_error"
    assert openai.json()["error"]["code"] == "invalid_api_key"
    assert "Authorization: Bearer" in openai.json()["error"]["message"]
    ollama = await server.get("api/tags", token="")
    assert ollama.headers["WWW-Authenticate"] == "Bearer"
    assert ollama.json() == {"error": "unauthorized"}
    anthropic = await server.post("v1/messages", CHAT, token="")
    assert anthropic.json()["error"]["type"] == "authentication_error"
    assert anthropic.json()["request_id"] == anthropic.headers["request-id"]


def path_of(rule: Rule) -> str | None:
    """An example path of one of our routing rules, relative to the base URL; None for rules of Jupyter."""
    if not (isinstance(rule.matcher, PathMatches) and issubclass(rule.target, DialectHandler)):
        return None
    path = rule.matcher.regex.pattern.removesuffix("$").removesuffix("/*").replace("(?:/*)", "").replace("/+", "/")
    path = re.sub(r"\(\?:([^|)]*)[^)]*\)\??", r"\1", path)
    return re.sub(r"\(\[\^/\](?:\.\*\?|\+)\)|\.\+\?|\.\*", "x", path).removeprefix("/")


async def test_no_method_of_any_registered_rule_is_open(server: RunningServer) -> None:
    groups = [group.target for group in server.app.web_app.default_router.rules]
    ours = [(path_of(rule), rule.target) for group in groups for rule in group.rules]
    paths = {path: target for path, target in ours if path is not None}
    assert len(paths) > 2 * 17
    opened = set()
    for path, target in paths.items():
        for method in target.SUPPORTED_METHODS:
            response = await server.request(method, path, token="")
            if response.status_code != 401:
                opened.add((method, target.__name__ if method != "OPTIONS" else "", response.status_code))
    assert opened == {
        ("OPTIONS", "", 204),
        ("GET", OllamaRootHandler.__name__, 200),
        ("HEAD", OllamaRootHandler.__name__, 200),
    }


class DenyOne(Authorizer):
    """Denies the action `denied`, and allows the others."""

    denied = ""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        assert resource == "pico"
        return action != self.denied


class DenyRead(DenyOne):
    denied = "read"


class DenyExecute(DenyOne):
    denied = "execute"


class DenyWrite(DenyOne):
    denied = "write"


@pytest.mark.parametrize("authorizer", [DenyRead, DenyExecute, DenyWrite])
async def test_each_action_can_be_denied_separately(start_server: StartServer, authorizer: type[DenyOne]) -> None:
    server = await start_server(ServerApp={"authorizer_class": authorizer})
    denied = {mount + str(endpoint): 403 for mount, endpoint in MOUNTED if endpoint.action == authorizer.denied}
    assert denied
    assert await statuses(server) == EXPECTED | denied


async def test_a_denied_action_is_reported_in_the_format_of_the_dialect(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"authorizer_class": DenyExecute})
    openai = (await server.post("v1/chat/completions", CHAT)).json()["error"]
    assert openai["type"] == "permission_error"
    assert openai["message"] == "User is not authorized to execute on resource: pico."
    ollama = (await server.post("api/chat", CHAT)).json()
    assert ollama == {"error": "User is not authorized to execute on resource: pico."}


@pytest.mark.parametrize("path", ["api/chat", "api/generate"])
async def test_unloading_requires_the_write_action(start_server: StartServer, path: str) -> None:
    server = await start_server(ServerApp={"authorizer_class": DenyWrite})
    assert (await server.post(path, {"model": "tiny", "keep_alive": 0})).status_code == 403
    assert (await server.post(path, {"model": "tiny"})).status_code == 200
    assert [call for call, _, _ in server.engine.calls] == ["load"]


async def test_the_heartbeat_of_ollama_clients_needs_no_token(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"allow_unauthenticated_access": False})
    for path in ("pico", "pico/"):
        response = await server.get(path, token="")
        assert (response.status_code, response.text) == (200, "Ollama is running")
        assert response.headers["Content-Type"].startswith("text/plain")
        assert (await server.request("HEAD", path, token="")).status_code == 200
        assert (await server.post(path, token="")).status_code == 401


@dataclass
class Browser:
    """A page of the server itself, authenticated by its cookie."""

    cookies: dict[str, str]

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    @property
    def xsrf(self) -> dict[str, str]:
        return {**self.headers, "X-XSRFToken": self.cookies["_xsrf"]}


async def log_in(server: RunningServer) -> Browser:
    async with httpx.AsyncClient() as client:
        await client.get(server.url + "login")
        await client.get(server.url + "api/status", params={"token": TOKEN})
        return Browser({cookie.name: cookie.value or "" for cookie in client.cookies.jar})


async def test_a_page_of_the_server_is_authenticated_by_cookie_and_xsrf_header(server: RunningServer) -> None:
    page = await log_in(server)
    assert await statuses(server, token="", headers=page.xsrf) == EXPECTED


async def test_a_cookie_without_the_xsrf_header_permits_get_only(server: RunningServer) -> None:
    page = await log_in(server)
    same_site = {**page.headers, "Referer": server.url}
    response = await server.post("v1/chat/completions", CHAT, token="", headers=same_site)
    assert response.status_code == 403
    assert response.json()["error"]["type"] == "permission_error"
    assert "X-XSRFToken" in response.json()["error"]["message"]
    assert (await server.get("v1/models", token="", headers=same_site)).status_code == 200


async def test_a_page_of_another_site_is_refused_even_with_the_cookie(server: RunningServer) -> None:
    page = await log_in(server)
    evil = {**page.headers, "Origin": "https://evil.example"}
    for mount in MOUNTS:
        post = await server.post(mount + "v1/chat/completions", CHAT, token="", headers=evil)
        get = await server.get(mount + "api/tags", token="", headers=evil)
        assert (post.status_code, get.status_code) == (403, 403)
        assert post.json()["error"]["type"] == "permission_error"
        assert "ServerApp.allow_origin" in post.json()["error"]["message"]
        assert "ServerApp.allow_origin" in get.json()["error"]
    assert server.engine.requests == []


async def test_a_server_without_authentication_refuses_foreign_pages_only(start_server: StartServer) -> None:
    server = await start_server(token="", **ALLOWED)
    assert await statuses(server, token="") == EXPECTED
    received = len(server.engine.requests)
    evil = await server.post("api/chat", CHAT, token="", headers={"Origin": "https://evil.example"})
    own = await server.post("api/chat", CHAT, token="", headers={"Origin": server.url.rstrip("/")})
    assert (evil.status_code, own.status_code) == (403, 403)
    assert "ServerApp.allow_origin" in evil.json()["error"]
    assert len(server.engine.requests) == received


async def test_a_foreign_host_name_is_reported_in_the_format_of_the_dialect(server: RunningServer) -> None:
    response = await server.get("v1/models", headers={"Host": "mac.example"})
    assert response.status_code == 403
    assert response.json()["error"]["type"] == "permission_error"
    assert (await server.get("pico/", token="", headers={"Host": "mac.example"})).status_code == 403
