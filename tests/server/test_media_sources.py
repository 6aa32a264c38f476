"""Pictures and clips that requests name by URL: what reaches the engine, and what is refused, in both dialects."""

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
from tests.server.conftest import TOKEN, RunningServer, StartServer, until
from tests.server.raw import raw_post
from tests.server.site import Reply, Site, running_site, whole

PICTURE = b"\x89PNG picture"
CLIP = b"\0\0\0 ftypmp42 clip"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


def reaching_loopback(server: RunningServer, *, max_bytes: int = 1000, timeout: float = 20.0) -> RunningServer:
    """The server, which takes loopback for a public address."""
    downloader = Downloader(is_public=lambda _: True)
    server.extension.context.media = MediaSources(downloader, max_bytes, timeout)
    return server


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def clip(url: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}}


def chat(*parts: dict[str, Any], stream: bool = False) -> dict[str, Any]:
    content = [{"type": "text", "text": "look"}, *parts]
    return {"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": content}]}


def asked(server: RunningServer) -> tuple[Part, ...]:
    """The content that the engine was asked about."""
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
async def test_the_engine_gets_bytes_and_no_urls(server: RunningServer, site: Site, path: str, stream: bool) -> None:
    site.replies |= {"/cat.png": whole(PICTURE), "/cat.mp4": whole(CLIP)}
    body = chat(picture(site.url("/cat.png")), clip(site.url("/cat.mp4")), stream=stream)
    response = await reaching_loopback(server).post(path, body)
    assert response.status_code == 200
    assert asked(server) == (
        TextPart("look"),
        ImagePart("messages[0].content[1]", PICTURE),
        VideoPart("messages[0].content[2]", CLIP),
    )


async def test_media_of_earlier_turns_are_fetched_too(server: RunningServer, site: Site) -> None:
    site.replies |= {"/a": whole(b"a"), "/b": whole(b"b")}
    turns = [
        {"role": "user", "content": [picture(site.url("/a"))]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [picture(site.url("/b"))]},
    ]
    await reaching_loopback(server).post("v1/chat/completions", {"model": "tiny", "messages": turns})
    [request] = server.engine.requests
    assert isinstance(request.prompt, ChatPrompt)
    assert [message.content for message in request.prompt.messages] == [
        (ImagePart("messages[0].content[0]", b"a"),),
        (TextPart("a cat"),),
        (ImagePart("messages[2].content[0]", b"b"),),
    ]


async def test_what_is_named_twice_is_fetched_once(server: RunningServer, site: Site) -> None:
    site.replies["/a"] = whole(PICTURE)
    await reaching_loopback(server).post("v1/chat/completions", chat(*[picture(site.url("/a"))] * 3))
    assert len(site.requests) == 1
    assert asked(server)[1:] == tuple(ImagePart(f"messages[0].content[{i}]", PICTURE) for i in (1, 2, 3))


async def test_several_are_fetched_side_by_side(server: RunningServer, site: Site) -> None:
    site.replies |= {"/slow": Reply(b"", hold=True), "/missing": whole(b"", status="404 Not Found")}
    parts = [picture(site.url("/slow")), picture(site.url("/missing"))]
    assert (await refusal(reaching_loopback(server), *parts))["param"] == "messages[0].content[2]"
    await site.left.wait()


async def test_all_of_one_request_share_its_bytes(server: RunningServer, site: Site) -> None:
    site.replies |= {"/a": whole(b"a" * 600), "/b": whole(b"b" * 600)}
    error = await refusal(reaching_loopback(server), picture(site.url("/a")), picture(site.url("/b")))
    assert error["message"].endswith(
        "cannot be fetched: one request may have 1000 bytes fetched, and this is beyond it"
    )


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
async def test_what_takes_too_long_is_refused(server: RunningServer, site: Site, reply: Reply) -> None:
    site.replies["/"] = reply
    error = await refusal(reaching_loopback(server, timeout=0.1), picture(site.url("/")))
    assert error["message"] == "the picture at messages[0].content[1] cannot be fetched: that takes longer than 0.1 s"
    await site.left.wait()


async def test_a_handshake_that_never_comes_is_not_waited_for(server: RunningServer, site: Site) -> None:
    url = site.url("/").replace("http", "https")
    error = await refusal(reaching_loopback(server, timeout=0.5), clip(url))
    assert error["message"] == "the clip at messages[0].content[1] cannot be fetched: that takes longer than 0.5 s"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["v1/chat/completions", "api/chat"])
async def test_a_caller_that_leaves_ends_the_fetching(
    server: RunningServer, site: Site, path: str, stream: bool
) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf", hold=True)
    async with raw_post(reaching_loopback(server), path, chat(picture(site.url("/")), stream=stream)):
        await site.asked.wait()
    await asyncio.wait_for(site.left.wait(), 20)
    assert server.engine.requests == []
    await until(lambda: server.extension.context.running == 0)


async def test_the_server_answers_others_meanwhile(server: RunningServer, site: Site) -> None:
    site.replies["/"] = Reply(b"", hold=True)
    async with raw_post(reaching_loopback(server), "v1/chat", chat(picture(site.url("/")))):
        await site.asked.wait()
        assert (await server.post("v1/chat/completions", chat())).status_code == 200


LOOPBACK = "the picture at messages[0].content[1] cannot be fetched: its address is not public"


async def test_openai_clients_read_why(server: RunningServer, site: Site) -> None:
    client = openai.AsyncOpenAI(base_url=f"{server.url}v1", api_key=TOKEN, http_client=server.client)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**chat(picture(site.url("/"))))
    assert caught.value.body == {
        "message": LOOPBACK,
        "type": "invalid_request_error",
        "param": "messages[0].content[1]",
        "code": "invalid_value",
    }
    assert site.requests == []


async def test_ollama_clients_read_why(server: RunningServer, site: Site) -> None:
    response = await server.post("api/chat", chat(picture(site.url("/")), stream=True))
    assert (response.status_code, response.json()) == (400, {"error": LOOPBACK})
    assert site.requests == []


async def test_ollamas_own_client_gets_its_pictures_through(server: RunningServer) -> None:
    client = ollama.AsyncClient(server.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)
    async with client._client:
        await client.chat("tiny", [{"role": "user", "content": "look", "images": [PICTURE]}])
    assert asked(server) == (ImagePart("messages[0].images[0]", PICTURE), TextPart("look"))


@pytest.mark.parametrize(
    ("token", "trait", "is_fetched"),
    [(TOKEN, None, True), ("", None, False), (TOKEN, False, False), ("", True, True)],
    ids=["with a token", "without a token", "switched off", "switched on"],
)
async def test_other_hosts_are_asked_where_callers_are_known_or_the_owner_says_so(
    start_server: StartServer, token: str, trait: bool | None, is_fetched: bool
) -> None:
    server = await start_server(token=token, PicoJupyter={"allow_remote_media": trait})
    response = await server.post("v1/chat/completions", chat(picture("http://127.0.0.1:9/")), token=token)
    reason = "its address is not public"
    if not is_fetched:
        reason = "this server fetches nothing from other hosts; send it as a data: URL"
    assert response.status_code == 400
    assert response.json()["error"]["message"].endswith(f"cannot be fetched: {reason}")


async def test_data_urls_need_nobodys_leave(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"allow_remote_media": False})
    await server.post("v1/chat/completions", chat(picture("data:image/png;base64,aGk=")))
    assert asked(server)[1] == ImagePart("messages[0].content[1]", b"hi")


async def test_a_large_picture_arrives_whole(server: RunningServer) -> None:
    data = bytes(range(256)) * 20_000
    await server.post("v1/chat/completions", chat(picture(f"data:;base64,{base64.b64encode(data).decode()}")))
    assert asked(server)[1] == ImagePart("messages[0].content[1]", data)


async def test_what_the_traits_say_is_what_is_done(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"max_media_bytes": 7, "media_timeout": 8.0})
    media = server.extension.context.media
    assert (media.max_bytes, media.timeout) == (7, 8.0)


async def test_no_url_is_logged(server: RunningServer, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.replies["/rumpelstiltskin"] = whole(PICTURE)
    reaching_loopback(server)
    for url in (site.url("/rumpelstiltskin"), "https://rumpelstiltskin.invalid/", "jupyter:../rumpelstiltskin"):
        await server.post("v1/chat/completions", chat(picture(url)))
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not [line for line in ours if "rumpelstiltskin" in line]


# Files of the running server.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder below the server's root."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "cat.png").write_bytes(PICTURE)
    (folder / "été %41.mp4").write_bytes(CLIP)
    (folder / ".hidden.png").write_bytes(PICTURE)
    (folder / "notes.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    (tmp_path / "empty").mkdir()
    return folder


@pytest.mark.parametrize("manager", [AsyncFileContentsManager, FileContentsManager])
async def test_files_of_the_server_are_read_by_its_contents_manager(
    server: RunningServer, pictures: Path, manager: type[FileContentsManager]
) -> None:
    server.app.web_app.settings["contents_manager"] = manager(parent=server.app)
    body = chat(picture("jupyter:pictures/cat.png"), clip("jupyter:/pictures/%C3%A9t%C3%A9%20%2541.mp4"))
    assert (await server.post("v1/chat/completions", body)).status_code == 200
    assert asked(server)[1:] == (
        ImagePart("messages[0].content[1]", PICTURE),
        VideoPart("messages[0].content[2]", CLIP),
    )


async def test_files_of_the_server_are_read_where_other_hosts_are_not_asked(
    start_server: StartServer, pictures: Path
) -> None:
    server = await start_server(token="", PicoJupyter={"allow_remote_media": False})
    response = await server.post("api/chat", chat(picture("jupyter:pictures/cat.png")), token="")
    assert response.status_code == 200
    assert asked(server)[1] == ImagePart("messages[0].content[1]", PICTURE)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("jupyter:pictures/dog.png", "there is no such file"),
        ("jupyter:pictures/.hidden.png", "there is no such file"),
        ("jupyter:pictures", "it is a directory"),
        ("jupyter:pictures/notes.ipynb", "it is a notebook"),
        ("jupyter:../pictures/cat.png", "its path is none below the server's root"),
        ("jupyter:pictures/%2e%2e/%2e%2e/etc/passwd", "its path is none below the server's root"),
        ("jupyter:pictures/cat.png%00", "its path is none below the server's root"),
        ("jupyter:", "its path is none below the server's root"),
    ],
)
async def test_what_is_no_file_that_anybody_may_see_is_refused(
    server: RunningServer, pictures: Path, url: str, reason: str
) -> None:
    error = await refusal(server, picture(url))
    assert error["message"] == f"the picture at messages[0].content[1] cannot be fetched: {reason}"
    assert error["param"] == "messages[0].content[1]"


async def test_a_link_out_of_the_root_is_the_contents_managers_to_judge(
    server: RunningServer, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "cat.png"
    outside.write_bytes(PICTURE)
    (pictures / "link.png").symlink_to(outside)
    seen = await server.get("api/contents/pictures/link.png?content=1&type=file&format=base64")
    answer = await server.post("v1/chat/completions", chat(picture("jupyter:pictures/link.png")))
    assert answer.status_code == seen.status_code


async def test_hidden_files_are_read_where_the_contents_manager_shows_them(
    start_server: StartServer, pictures: Path
) -> None:
    server = await start_server(ContentsManager={"allow_hidden": True})
    await server.post("v1/chat/completions", chat(picture("jupyter:pictures/.hidden.png")))
    assert asked(server)[1] == ImagePart("messages[0].content[1]", PICTURE)


async def test_a_file_that_is_too_large_is_refused(start_server: StartServer, pictures: Path) -> None:
    server = await start_server(PicoJupyter={"max_media_bytes": len(PICTURE) - 1})
    assert "this is beyond it" in (await refusal(server, picture("jupyter:pictures/cat.png")))["message"]


class Failing(AsyncFileContentsManager):
    """A contents manager whose disk is broken."""

    async def get(self, path: str, *args: Any, **kwargs: Any) -> Any:
        raise OSError(5, "Input/output error", f"/very/secret/{path}")


async def test_a_failing_contents_manager_tells_nothing_of_the_disk(start_server: StartServer, pictures: Path) -> None:
    server = await start_server(ServerApp={"contents_manager_class": Failing})
    error = await refusal(server, picture("jupyter:pictures/cat.png"))
    assert error["message"].endswith("cannot be fetched: the server cannot read it")


class NoContents(Authorizer):
    """Lets callers chat, and not read files."""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        assert user is handler.current_user
        return (action, resource) != ("read", "contents")


async def test_who_may_not_read_files_may_not_show_them_to_a_model(start_server: StartServer, pictures: Path) -> None:
    server = await start_server(ServerApp={"authorizer_class": NoContents})
    response = await server.post("v1/chat/completions", chat(picture("jupyter:pictures/cat.png")))
    assert response.status_code == 403
    assert response.json()["error"] == {
        "message": "the picture at messages[0].content[1] cannot be fetched: "
        "the user is not authorized to read files of this server",
        "type": "permission_error",
        "param": "messages[0].content[1]",
        "code": None,
    }
    assert (await server.post("v1/chat/completions", chat())).status_code == 200
