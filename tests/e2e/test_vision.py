"""Images and videos from the unmodified SDKs to a real Jupyter server and the built-in vision model."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import ollama
import pytest
from openai import BadRequestError, OpenAI
from PIL import Image

from tests.e2e.running import RunningServer
from tests.e2e.shapes import blank, circle_video, data_url, drawn, image_part, png, text_part

MODEL = "pico-tiny-vl"


@pytest.fixture
def openai_client(server: RunningServer) -> Any:
    client = OpenAI(base_url=server.url + "v1", api_key=server.token, max_retries=0)
    yield client
    client.close()


@pytest.fixture
def ollama_client(server: RunningServer) -> Any:
    client = ollama.Client(host=server.url, headers=server.headers)
    yield client
    client._client.close()


def ask(client: OpenAI, *content: dict[str, Any]) -> str:
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": list(content)}])  # type: ignore[list-item,misc]  # parts of any kind
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize(
    ("image", "question", "word"),
    [
        (drawn("red"), "What color is the shape?", "red"),
        (drawn("blue", "square"), "What color is the shape?", "blue"),
        (drawn("blue", "square"), "What shape is it?", "square"),
        (drawn("green"), "What shape is it?", "circle"),
        (drawn("green"), "How many shapes are there?", "one"),
    ],
)
def test_openai_clients_can_ask_about_an_image(
    openai_client: OpenAI, image: Image.Image, question: str, word: str
) -> None:
    assert word in ask(openai_client, image_part(image), text_part(question)).lower()
    assert word not in ask(openai_client, image_part(blank()), text_part(question)).lower()


def test_ollama_clients_can_ask_about_an_image(ollama_client: ollama.Client) -> None:
    question = "What color is the shape?"

    def answers(image: bytes) -> list[str]:
        chat = ollama_client.chat(MODEL, [{"role": "user", "content": question, "images": [image]}])
        return [chat.message.content or "", ollama_client.generate(MODEL, question, images=[image]).response]

    assert ["blue" in answer for answer in answers(png(drawn("blue")))] == [True, True]
    assert ["blue" in answer for answer in answers(png(blank()))] == [False, False]


def test_a_streamed_answer_about_an_image_equals_the_whole_one(openai_client: OpenAI) -> None:
    content = [image_part(drawn("red")), text_part("What is in the picture?")]
    stream = openai_client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": content}],  # type: ignore[misc,list-item]  # parts of any kind
        stream=True,
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == ask(openai_client, *content)
    assert "red circle" in text


@pytest.mark.parametrize(("direction", "opposite"), [("left", "right"), ("right", "left")])
def test_the_direction_of_motion_in_a_video_is_recognized(
    openai_client: OpenAI, direction: str, opposite: str, tmp_path: Path
) -> None:
    url = data_url("video/mp4", circle_video(direction, tmp_path))
    part = {"type": "video_url", "video_url": {"url": url}}
    answer = ask(openai_client, part, text_part("Which way does the shape move?"))
    assert direction in answer
    assert opposite not in answer


def test_an_image_of_an_earlier_turn_is_still_seen(openai_client: OpenAI) -> None:
    turns: list[Any] = [
        {"role": "user", "content": [image_part(drawn("red")), text_part("What color is the shape?")]},
        {"role": "assistant", "content": "The shape is red."},
        {"role": "user", "content": "What shape is it?"},
    ]
    answer = openai_client.chat.completions.create(model=MODEL, messages=turns)
    assert "circle" in (answer.choices[0].message.content or "")


def test_an_image_of_the_servers_files_is_read(openai_client: OpenAI, server: RunningServer) -> None:
    content = base64.b64encode(png(drawn("red"))).decode()
    with server.http() as http:
        http.put("api/contents/drawn.png", json={"type": "file", "format": "base64", "content": content})
    part = {"type": "image_url", "image_url": {"url": "jupyter:drawn.png"}}
    assert "red" in ask(openai_client, part, text_part("What color is the shape?"))


def test_an_invalid_image_is_refused_with_its_field(openai_client: OpenAI) -> None:
    broken = {"type": "image_url", "image_url": {"url": data_url("image/png", b"\x89PNG\r\n\x1a\nnothing")}}
    with pytest.raises(BadRequestError) as refused:
        ask(openai_client, text_part("What is this?"), image_part(blank()), broken)
    assert refused.value.param == "messages[0].content[2]"
    assert "invalid image input" in str(refused.value)


def test_the_models_endpoints_report_the_vision_capability(ollama_client: ollama.Client, server: RunningServer) -> None:
    assert {"vision"} <= set(ollama_client.show(MODEL).capabilities or [])
    with server.http() as http:
        listed = {model["name"]: model["capabilities"] for model in http.get("api/tags").json()["models"]}
    assert "vision" in listed[f"{MODEL}:latest"]
    assert "vision" not in listed["pico-tiny:latest"]
