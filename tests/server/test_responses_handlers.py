"""The endpoints of v1/responses over HTTP, down to an engine that plays a script."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from jupyter_server.auth import IdentityProvider, User
from openai.types.responses import Response, ResponseItemList
from tornado.web import RequestHandler

from pico_jupyter.errors import EngineFailed, ModelLoadFailed
from pico_jupyter.types import ChatPrompt, TextDelta, TextPart
from tests.fakes.engine_client import ACCEPTED
from tests.server.conftest import RunningServer, StartServer, until

ASK = {"model": "tiny", "input": "12 + 35?"}


async def answered(server: RunningServer, **members: object) -> dict[str, Any]:
    response = await server.post("v1/responses", {**ASK, **members})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def texts(server: RunningServer) -> list[str]:
    """The texts of the latest request's prompt."""
    prompt = server.engine.requests[-1].prompt
    assert isinstance(prompt, ChatPrompt)
    return [part.text for message in prompt.messages for part in message.content if isinstance(part, TextPart)]


async def test_a_request_is_answered_whole(server: RunningServer) -> None:
    response = await server.post("v1/responses", ASK)
    assert response.headers["Content-Type"] == "application/json"
    parsed = Response.model_validate_json(response.text, strict=True)
    assert (parsed.output_text, parsed.status) == ("47", "completed")


async def test_a_request_is_answered_as_a_stream(server: RunningServer) -> None:
    response = await server.post("v1/responses", {**ASK, "stream": True})
    assert response.headers["Content-Type"] == "text/event-stream"
    events = [json.loads(event.partition("\ndata: ")[2]) for event in response.text.split("\n\n")[:-1]]
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "47"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_response_is_stored(server: RunningServer, stream: bool) -> None:
    text = (await server.post("v1/responses", {**ASK, "stream": stream})).text
    response = json.loads(text.strip().split("data: ")[-1])
    response = response.get("response", response)
    assert (await server.get(f"v1/responses/{response['id']}")).json() == response


async def test_a_response_that_the_client_declines_is_not_stored(server: RunningServer) -> None:
    response = await answered(server, store=False)
    assert response["store"] is False
    missing = await server.get(f"v1/responses/{response['id']}")
    assert missing.status_code == 404
    assert missing.json()["error"]["message"] == f"Response with id '{response['id']}' not found."


async def test_a_failed_response_is_not_stored(server: RunningServer) -> None:
    server.engine.script = (ACCEPTED, TextDelta("4"), EngineFailed("boom"))
    text = (await server.post("v1/responses", {**ASK, "stream": True})).text
    failed = json.loads(text.strip().split("data: ")[-1])["response"]
    assert failed["status"] == "failed"
    assert (await server.get(f"v1/responses/{failed['id']}")).status_code == 404


async def test_an_error_before_the_first_token_has_a_status(server: RunningServer) -> None:
    server.engine.script = (ACCEPTED, ModelLoadFailed("no weights"))
    response = await server.post("v1/responses", {**ASK, "stream": True})
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "no weights"


async def test_a_conversation_continues(server: RunningServer) -> None:
    first = await answered(server)
    second = await answered(server, input="And 1 + 1?", previous_response_id=first["id"])
    await answered(server, input="And 2 + 2?", previous_response_id=second["id"])
    assert texts(server) == ["12 + 35?", "47", "And 1 + 1?", "47", "And 2 + 2?"]


async def test_a_conversation_without_its_beginning_is_refused(server: RunningServer) -> None:
    first = await answered(server)
    assert (await server.request("DELETE", f"v1/responses/{first['id']}")).json() == {
        "id": first["id"],
        "object": "response",
        "deleted": True,
    }
    refused = await server.post("v1/responses", {**ASK, "previous_response_id": first["id"]})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "previous_response_not_found"


async def test_the_input_items_are_listed(server: RunningServer) -> None:
    first = await answered(server)
    second = await answered(server, input="And 1 + 1?", previous_response_id=first["id"])
    path = f"v1/responses/{second['id']}/input_items"
    listed = await server.get(path)
    ResponseItemList.model_validate_json(listed.text, strict=True)
    kinds = [item["type"] for item in listed.json()["data"]]
    assert kinds == ["message", "message", "reasoning", "message"]
    page = (await server.get(path, params={"limit": 1, "order": "asc", "after": listed.json()["last_id"]})).json()
    assert ([item["type"] for item in page["data"]], page["has_more"]) == (["reasoning"], True)


@pytest.mark.parametrize(
    ("name", "value"), [("limit", "0"), ("limit", "101"), ("limit", "x"), ("limit", "9" * 5000), ("order", "up")]
)
async def test_wrong_parameters_of_the_list_are_named(server: RunningServer, name: str, value: str) -> None:
    response = await server.get("v1/responses/resp_1/input_items", params={name: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name


async def test_a_stored_response_is_not_streamed(server: RunningServer) -> None:
    response = await server.get("v1/responses/resp_1", params={"stream": "true"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "stream")


async def test_the_oldest_responses_make_room(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"response_store_bytes": 4000})
    ids = [(await answered(server))["id"] for _ in range(5)]
    found = [(await server.get(f"v1/responses/{name}")).status_code for name in ids]
    assert (found[0], found[-1]) == (404, 200)


async def test_responses_expire(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"response_store_seconds": 0.0})
    response = await answered(server)
    assert (await server.get(f"v1/responses/{response['id']}")).status_code == 404


async def test_closing_the_connection_aborts_the_request(server: RunningServer) -> None:
    server.engine.script = (ACCEPTED, TextDelta("4"), asyncio.Event())
    async with server.client.stream(
        "POST",
        server.url + "v1/responses",
        json={**ASK, "stream": True},
        headers={"Authorization": "Bearer s3cret"},
    ) as response:
        assert "response.created" in await anext(response.aiter_text())
    await until(server.engine.aborted.is_set)


class NamedUsers(IdentityProvider):
    """The user's name is the token."""

    async def get_user_token(self, handler: RequestHandler) -> User | None:
        return User(self.get_token(handler) or "")


async def test_a_user_does_not_see_the_responses_of_another(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"identity_provider_class": NamedUsers})
    response = (await server.post("v1/responses", ASK, token="ada")).json()
    path = f"v1/responses/{response['id']}"
    assert (await server.get(path, token="ada")).status_code == 200
    for refused in (path, f"{path}/input_items"):
        assert (await server.get(refused, token="bob")).status_code == 404
    assert (await server.request("DELETE", path, token="bob")).status_code == 404
    continued = {**ASK, "previous_response_id": response["id"]}
    assert (await server.post("v1/responses", continued, token="bob")).status_code == 400
    assert (await server.post("v1/responses", continued, token="ada")).status_code == 200


async def test_a_wrong_field_is_named(server: RunningServer) -> None:
    response = await server.post("v1/responses", {**ASK, "background": True})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "background")
    assert server.engine.requests == []
