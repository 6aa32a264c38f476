"""The OpenAPI document of a running server."""

from __future__ import annotations

import re

import httpx

from pico_jupyter import __version__
from pico_jupyter.dialects.openapi import openapi_document
from pico_jupyter.server.routes import ENDPOINTS, OWN_ENDPOINTS
from tests.server.conftest import RunningServer, StartServer

PATHS = openapi_document(base_url="/", version="1", authenticated=True)["paths"]
OF_THE_SECOND_MOUNT = {"/", "/openapi.json"}
RULES = {rule.removeprefix("pico/") for rule, _, _ in (*ENDPOINTS, *OWN_ENDPOINTS)}


async def test_the_document_is_that_of_this_server(start_server: StartServer) -> None:
    server = await start_server(base_url="/user/a%40b/")
    response = await server.get("pico/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == openapi_document(base_url="/user/a%40b/", version=__version__, authenticated=True)


async def test_the_document_of_a_server_without_a_token_requires_none(start_server: StartServer) -> None:
    server = await start_server(token="")
    document = (await server.get("pico/openapi.json", token="")).json()
    assert document == openapi_document(base_url="/", version=__version__, authenticated=False)


async def test_the_document_requires_authentication(server: RunningServer) -> None:
    assert (await server.get("pico/openapi.json", token="")).status_code == 401
    assert (await server.request("HEAD", "pico/openapi.json")).status_code == 200


def test_the_document_has_exactly_the_endpoints() -> None:
    paths = set(PATHS) - OF_THE_SECOND_MOUNT
    matched = {path: {rule for rule in RULES if re.fullmatch(f"/{rule}", path)} for path in paths}
    assert [path for path, rules in matched.items() if not rules] == []
    assert set().union(*matched.values()) == RULES


async def test_the_document_has_exactly_the_methods_of_each_path(server: RunningServer) -> None:
    for path, item in PATHS.items():
        response = await server.request("PUT", "pico" + re.sub(r"\{\w+\}", "tiny", path))
        allowed = {verb.lower() for verb in response.headers["Allow"].split(", ")} - {"options"}
        assert allowed == set(item) - {"servers"}, path


async def test_every_documented_way_to_authenticate_works(server: RunningServer) -> None:
    ways = (await server.get("pico/openapi.json")).json()["components"]["securitySchemes"]
    token = "s3cret"
    assert {way["type"] for way in ways.values()} == {"http", "apiKey"}
    assert (await server.get("v1/models", token="")).status_code == 401
    for way in ways.values():
        match way:
            case {"type": "http", "scheme": "bearer"}:
                sent = {"headers": {"Authorization": f"Bearer {token}"}}
            case {"type": "http", "scheme": "basic"}:
                sent = {"headers": {"Authorization": httpx.BasicAuth("anybody", token)._auth_header}}
            case {"in": "query", "name": name}:
                sent = {"params": {name: token}}
            case {"in": "header", "name": "Authorization"}:
                sent = {"headers": {"Authorization": f"token {token}"}}
            case {"in": "header", "name": name}:
                sent = {"headers": {name: token}}
            case _:
                raise AssertionError(f"no request is made for {way}")
        assert (await server.get("v1/models", token="", **sent)).status_code == 200
