"""Images and videos given by URL: what the engine receives, and what is refused, in both dialects."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
from jupyter_server.auth import Authorizer, User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.contents.filemanager import AsyncFileContentsManager, FileContentsManager

from pico_jupyter.server.download import Downloader
from pico_jupyter.server.media_sources import MediaSources
from pico_jupyter.types import ChatPrompt, ImagePart, Part, TextPart, VideoPart
from tests.fakes.website import Reply, Site, running_site, whole
from tests.server.conftest import TOKEN, RunningServer, StartServer, until
from tests.server.raw import raw_post

IMAGE = b"\x89PNG image"
VIDEO = b"\0\0\0 ftypmp42 video"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


def reaching_loopback(server: RunningServer, *, max_bytes: int = 1000, timeout: float = 20.0) -> RunningServer:
    """The server, changed so that loopback counts as public."""
    downloader = Downloader(is_public=lambda _: True)
    server.extension.context.media = MediaSources(downloader, max_bytes, timeout)
    return server


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def video(url: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}}


def chat(*parts: dict[str, Any], stream: bool = False) -> dict[str, Any]:
    content = [{"type": "text", "text": "look"}, *parts]
    return {"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": content}]}


def received(server: RunningServer) -> tuple[Part, ...]:
    """The content of the last message in the engine's one request."""
    [request] = server.engine.requests
    assert isinstance(request.prompt, ChatPrompt)
    return request.prompt.messages[-1].content


async def refusal(server: RunningServer, *parts: dict[str, Any]) -> dict[str, Any]:
    response = await server.post("v1/chat/completions", chat(*parts))
    assert response.status_code == 400
    assert server.engine.requests == []
    error: dict[str, Any] = response.json()["error"]
    return error


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/chat", "api/chat"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_engine_receives_bytes_and_no_urls(
    server: RunningServer, site: Site, path: str, stream: bool
) -> None:
    site.replies |= {"/cat.png": whole(IMAGE), "/cat.mp4": whole(VIDEO)}
    body = chat(image(site.url("/cat.png")), video(site.url("/cat.mp4")), stream=stream)
    response = await reaching_loopback(server).post(path, body)
    assert response.status_code == 200
    assert received(server) == (
        TextPart("look"),
        ImagePart("messages[0].content[1]", IMAGE),
        VideoPart("messages[0].content[2]", VIDEO),
    )


async def test_media_of_earlier_messages_are_fetched_too(server: RunningServer, site: Site) -> None:
    site.replies |= {"/a": whole(b"a"), "/b": whole(b"b")}
    turns = [
        {"role": "user", "content": [image(site.url("/a"))]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [image(site.url("/b"))]},
    ]
    await reaching_loopback(server).post("v1/chat/completions", {"model": "tiny", "messages": turns})
    [request] = server.engine.requests
    assert isinstance(request.prompt, ChatPrompt)
    assert [message.content for message in request.prompt.messages] == [
        (ImagePart("messages[0].content[0]", b"a"),),
        (TextPart("a cat"),),
        (ImagePart("messages[2].content[0]", b"b"),),
    ]


async def test_a_url_that_occurs_several_times_is_fetched_once(server: RunningServer, site: Site) -> None:
    site.replies["/a"] = whole(IMAGE)
    await reaching_loopback(server).post("v1/chat/completions", chat(*[image(site.url("/a"))] * 3))
    assert len(site.requests) == 1
    assert received(server)[1:] == tuple(ImagePart(f"messages[0].content[{i}]", IMAGE) for i in (1, 2, 3))


async def test_several_urls_are_fetched_in_parallel(server: RunningServer, site: Site) -> None:
    site.replies |= {"/slow": Reply(b"", hold=True), "/missing": whole(b"", status="404 Not Found")}
    parts = [image(site.url("/slow")), image(site.url("/missing"))]
    assert (await refusal(reaching_loopback(server), *parts))["param"] == "messages[0].content[2]"
    await site.disconnected.wait()


async def test_all_media_of_one_request_share_its_limit(server: RunningServer, site: Site) -> None:
    site.replies |= {"/a": whole(b"a" * 600), "/b": whole(b"b" * 600)}
    error = await refusal(reaching_loopback(server), image(site.url("/a")), image(site.url("/b")))
    assert error["message"].endswith("all media of one request together exceed the limit of 1000 bytes")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", hold=True),
        Reply(b"HTTP/1.1 200 OK\r\nContent-", hold=True),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf", hold=True),
        Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", hold=True),
    ],
    ids=["silence", "slow headers", "slow body", "slow chunks"],
)
async def test_a_slow_response_is_refused_after_the_timeout(server: RunningServer, site: Site, reply: Reply) -> None:
    site.replies["/"] = reply
    error = await refusal(reaching_loopback(server, timeout=0.1), image(site.url("/")))
    assert error["message"] == "the image at messages[0].content[1] cannot be fetched: it takes longer than 0.1 s"
    await site.disconnected.wait()


async def test_a_missing_tls_handshake_is_refused_after_the_timeout(server: RunningServer, site: Site) -> None:
    url = site.url("/").replace("http", "https")
    error = await refusal(reaching_loopback(server, timeout=0.5), video(url))
    assert error["message"] == "the video at messages[0].content[1] cannot be fetched: it takes longer than 0.5 s"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["v1/chat/completions", "api/chat"])
async def test_fetching_ends_when_the_client_disconnects(
    server: RunningServer, site: Site, path: str, stream: bool
) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf", hold=True)
    async with raw_post(reaching_loopback(server), path, chat(image(site.url("/")), stream=stream)):
        await site.requested.wait()
    await asyncio.wait_for(site.disconnected.wait(), 20)
    assert server.engine.requests == []
    await until(lambda: server.extension.context.running == 0)


async def test_the_server_answers_other_requests_while_it_fetches(server: RunningServer, site: Site) -> None:
    site.replies["/"] = Reply(b"", hold=True)
    async with raw_post(reaching_loopback(server), "v1/chat", chat(image(site.url("/")))):
        await site.requested.wait()
        assert (await server.post("v1/chat/completions", chat())).status_code == 200


LOOPBACK = "the image at messages[0].content[1] cannot be fetched: its address is not public"


async def test_openai_clients_receive_the_reason(server: RunningServer, site: Site) -> None:
    client = openai.AsyncOpenAI(base_url=f"{server.url}v1", api_key=TOKEN, http_client=server.client)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**chat(image(site.url("/"))))
    assert caught.value.body == {
        "message": LOOPBACK,
        "type": "invalid_request_error",
        "param": "messages[0].content[1]",
        "code": "invalid_value",
    }
    assert site.requests == []


async def test_ollama_clients_receive_the_reason(server: RunningServer, site: Site) -> None:
    response = await server.post("api/chat", chat(image(site.url("/")), stream=True))
    assert (response.status_code, response.json()) == (400, {"error": LOOPBACK})
    assert site.requests == []


async def test_images_of_the_ollama_client_reach_the_engine(server: RunningServer) -> None:
    client = ollama.AsyncClient(server.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)
    async with client._client:
        await client.chat("tiny", [{"role": "user", "content": "look", "images": [IMAGE]}])
    assert received(server) == (ImagePart("messages[0].images[0]", IMAGE), TextPart("look"))


@pytest.mark.parametrize(
    ("token", "trait", "is_fetched"),
    [(TOKEN, None, True), ("", None, False), (TOKEN, False, False), ("", True, True)],
    ids=["with a token", "without a token", "switched off", "switched on"],
)
async def test_other_hosts_are_contacted_if_a_token_is_required_or_the_trait_is_on(
    start_server: StartServer, token: str, trait: bool | None, is_fetched: bool
) -> None:
    server = await start_server(token=token, PicoJupyter={"allow_remote_media": trait})
    response = await server.post("v1/chat/completions", chat(image("http://127.0.0.1:9/")), token=token)
    reason = "its address is not public"
    if not is_fetched:
        reason = "this server does not fetch from other hosts; send a data: URL instead"
    assert response.status_code == 400
    assert response.json()["error"]["message"].endswith(f"cannot be fetched: {reason}")


async def test_data_urls_work_without_remote_media(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"allow_remote_media": False})
    await server.post("v1/chat/completions", chat(image("data:image/png;base64,aGk=")))
    assert received(server)[1] == ImagePart("messages[0].content[1]", b"hi")


async def test_a_large_image_arrives_unchanged(server: RunningServer) -> None:
    data = bytes(range(256)) * 20_000
    await server.post("v1/chat/completions", chat(image(f"data:;base64,{base64.b64encode(data).decode()}")))
    assert received(server)[1] == ImagePart("messages[0].content[1]", data)


async def test_the_traits_set_the_limits(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"max_media_bytes": 7, "media_timeout": 8.0})
    media = server.extension.context.media
    assert (media.max_bytes, media.timeout) == (7, 8.0)


async def test_no_url_is_logged(server: RunningServer, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.replies["/rumpelstiltskin"] = whole(IMAGE)
    reaching_loopback(server)
    urls = [site.url("/rumpelstiltskin"), "https://rumpelstiltskin.invalid/", "jupyter:../rumpelstiltskin"]
    responses = [await server.post("v1/chat/completions", chat(image(url))) for url in urls]
    assert [response.status_code for response in responses] == [200, 400, 400]
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert logged.count("POST /v1/chat/completions") >= len(urls)
    assert "rumpelstiltskin" not in logged


# Files of the Jupyter server.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in the server's root."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "cat.png").write_bytes(IMAGE)
    (folder / "été %41.mp4").write_bytes(VIDEO)
    (folder / ".hidden.png").write_bytes(IMAGE)
    (folder / "notes.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    (tmp_path / "empty").mkdir()
    return folder


@pytest.mark.parametrize("manager", [AsyncFileContentsManager, FileContentsManager])
async def test_files_are_read_through_the_contents_manager(
    server: RunningServer, folder: Path, manager: type[FileContentsManager]
) -> None:
    server.app.web_app.settings["contents_manager"] = manager(parent=server.app)
    body = chat(image("jupyter:images/cat.png"), video("jupyter:/images/%C3%A9t%C3%A9%20%2541.mp4"))
    assert (await server.post("v1/chat/completions", body)).status_code == 200
    assert received(server)[1:] == (
        ImagePart("messages[0].content[1]", IMAGE),
        VideoPart("messages[0].content[2]", VIDEO),
    )


async def test_files_are_read_without_remote_media(start_server: StartServer, folder: Path) -> None:
    server = await start_server(token="", PicoJupyter={"allow_remote_media": False})
    response = await server.post("api/chat", chat(image("jupyter:images/cat.png")), token="")
    assert response.status_code == 200
    assert received(server)[1] == ImagePart("messages[0].content[1]", IMAGE)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("jupyter:images/dog.png", "there is no such file"),
        ("jupyter:images/.hidden.png", "there is no such file"),
        ("jupyter:images", "it is a directory"),
        ("jupyter:images/notes.ipynb", "it is a notebook"),
        ("jupyter:../images/cat.png", "the path is outside the server's root"),
        ("jupyter:images/%2e%2e/%2e%2e/etc/passwd", "the path is outside the server's root"),
        ("jupyter:images/cat.png%00", "the path is outside the server's root"),
        ("jupyter:", "the path is outside the server's root"),
    ],
)
async def test_a_path_without_a_visible_file_is_refused(
    server: RunningServer, folder: Path, url: str, reason: str
) -> None:
    error = await refusal(server, image(url))
    assert error["message"] == f"the image at messages[0].content[1] cannot be fetched: {reason}"
    assert error["param"] == "messages[0].content[1]"


async def test_a_link_out_of_the_root_is_read_if_the_contents_manager_reads_it(
    server: RunningServer, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "cat.png"
    outside.write_bytes(IMAGE)
    (folder / "link.png").symlink_to(outside)
    seen = await server.get("api/contents/images/link.png?content=1&type=file&format=base64")
    answer = await server.post("v1/chat/completions", chat(image("jupyter:images/link.png")))
    assert (seen.status_code, answer.status_code) == (200, 200)
    assert received(server)[1] == ImagePart("messages[0].content[1]", IMAGE)


async def test_hidden_files_are_read_if_the_contents_manager_allows_them(
    start_server: StartServer, folder: Path
) -> None:
    server = await start_server(ContentsManager={"allow_hidden": True})
    await server.post("v1/chat/completions", chat(image("jupyter:images/.hidden.png")))
    assert received(server)[1] == ImagePart("messages[0].content[1]", IMAGE)


async def test_a_file_over_the_limit_is_refused(start_server: StartServer, folder: Path) -> None:
    server = await start_server(PicoJupyter={"max_media_bytes": len(IMAGE) - 1})
    assert "exceed the limit" in (await refusal(server, image("jupyter:images/cat.png")))["message"]


class Failing(AsyncFileContentsManager):
    """A contents manager whose disk is broken."""

    async def get(self, path: str, *args: Any, **kwargs: Any) -> Any:
        raise OSError(5, "Input/output error", f"/very/secret/{path}")


async def test_an_error_of_the_contents_manager_reveals_no_path(start_server: StartServer, folder: Path) -> None:
    server = await start_server(ServerApp={"contents_manager_class": Failing})
    error = await refusal(server, image("jupyter:images/cat.png"))
    assert error["message"].endswith("cannot be fetched: the server cannot read it")


class NoContents(Authorizer):
    """Allows everything except reading files."""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        assert user is handler.current_user
        return (action, resource) != ("read", "contents")


async def test_a_user_without_read_access_cannot_send_files_to_a_model(start_server: StartServer, folder: Path) -> None:
    server = await start_server(ServerApp={"authorizer_class": NoContents})
    response = await server.post("v1/chat/completions", chat(image("jupyter:images/cat.png")))
    assert response.status_code == 403
    assert response.json()["error"] == {
        "message": "the image at messages[0].content[1] cannot be fetched: "
        "the user is not authorized to read files of this server",
        "type": "permission_error",
        "param": "messages[0].content[1]",
        "code": None,
    }
    assert (await server.post("v1/chat/completions", chat())).status_code == 200
