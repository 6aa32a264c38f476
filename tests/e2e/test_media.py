"""Images by URL on a real Jupyter server. The model is text-only, so even a fetched image is refused, by the engine."""

from __future__ import annotations

import pytest

from tests.e2e.running import RunningServer

TEXT_ONLY = (
    "The request includes images, video or audio, but 'pico-tiny' cannot be loaded as a vision model. "
    "Choose a vision-capable model or remove the attachments."
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,aGk=", TEXT_ONLY),
        ("jupyter:server.log", TEXT_ONLY),
        ("jupyter:nowhere.png", "the image at messages[0].content[0] cannot be fetched: there is no such file"),
        ("http://localhost:1/", "the image at messages[0].content[0] cannot be fetched: its address is not public"),
        ("file:///etc/passwd", "invalid image input"),
    ],
)
def test_an_image_is_refused_with_the_reason(server: RunningServer, url: str, message: str) -> None:
    body = {"model": "pico-tiny", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]}
    with server.http() as client:
        answer = client.post("v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)
    assert answer.json()["error"]["param"] == "messages[0].content[0]"
