import base64

import pytest

from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ChatPrompt, ImagePart, Part, TextPart, VideoPart
from tests.dialects.samples import chat_call, ollama_chat, ollama_generate

PICTURE = "data:image/png;base64,aGk="
CLIP = "data:video/mp4;base64,aGk="
BAD_URLS = ["file:///etc/passwd", "/etc/passwd", "x.png", "", "ftp://a/x", 5, None, {}, {"url": 5}]
UNDECODABLE = ["", "=", "a", "aGk*", "aG=k", "aGk=aGk=", "aGk===", "aéGk", "aGVsbG8gd29ybG*", "file:///etc/passwd"]


def openai_parts(*parts: object) -> tuple[Part, ...]:
    prompt = chat_call(messages=[{"role": "user", "content": list(parts)}]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages[0].content


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": PICTURE, "detail": "auto"}}, ImagePart),
        ({"type": "image_url", "image_url": PICTURE}, ImagePart),
        ({"type": "input_image", "image_url": PICTURE}, ImagePart),
        ({"type": "video_url", "video_url": {"url": CLIP}}, VideoPart),
        ({"type": "video_url", "video_url": CLIP}, VideoPart),
        ({"type": "input_video", "video_url": CLIP}, VideoPart),
        ({"type": "input_video", "video": CLIP}, VideoPart),
    ],
)
def test_media_parts_are_decoded_and_keep_the_name_of_their_field(
    part: dict[str, object], expected: type[ImagePart] | type[VideoPart]
) -> None:
    parts = openai_parts({"type": "text", "text": "look"}, part)
    assert parts == (TextPart("look"), expected("messages[0].content[1]", b"hi"))


@pytest.mark.parametrize("url", ["https://a.example/x.png", "HTTP://a.example/x", "jupyter:a.png", "Jupyter:b/a.png"])
@pytest.mark.parametrize(("kind", "expected"), [("image_url", ImagePart), ("video_url", VideoPart)])
def test_urls_that_are_to_be_fetched_are_kept(kind: str, expected: type[ImagePart] | type[VideoPart], url: str) -> None:
    assert openai_parts({"type": kind, kind: url}) == (expected("messages[0].content[0]", url=url),)


@pytest.mark.parametrize(
    "url",
    [
        "data:;base64,aGk=",
        "data:image/png;base64,aGk=",
        "DATA:image/png;BASE64,aGk=",
        "data:image/png;charset=utf-8;base64,aGk",
        "data:image/png;base64, aG\r\nk=\n",
    ],
)
def test_data_urls_are_decoded_however_they_are_written(url: str) -> None:
    assert openai_parts({"type": "image_url", "image_url": url}) == (ImagePart("messages[0].content[0]", b"hi"),)


def test_the_url_safe_alphabet_is_decoded() -> None:
    data = bytes(range(256))
    url = f"data:;base64,{base64.urlsafe_b64encode(data).decode()}"
    assert openai_parts({"type": "image_url", "image_url": url}) == (ImagePart("messages[0].content[0]", data),)


@pytest.mark.parametrize(
    "rest", [*(f"image/png;base64,{text}" for text in UNDECODABLE), "", ",", "base64", ",%41", "x,y"]
)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_data_url_without_base64_is_refused(kind: str, rest: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^invalid {kind} input$") as caught:
        openai_parts({"type": "text", "text": "x"}, {"type": f"{kind}_url", f"{kind}_url": f"data:{rest}"})
    assert caught.value.param == "messages[0].content[1]"


@pytest.mark.parametrize("size", [3 << 20, (3 << 20) + 1])
def test_a_large_image_is_decoded_completely_or_refused(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"\n" * (size % 256)
    text = base64.b64encode(data).decode()
    assert openai_parts({"type": "image_url", "image_url": f"data:;base64,{text}"}) == (
        ImagePart("messages[0].content[0]", data),
    )
    with pytest.raises(InvalidRequest, match=r"^invalid image input$"):
        openai_parts({"type": "image_url", "image_url": f"data:;base64,{text[:100]}*{text[101:]}"})


def test_a_data_url_with_a_video_type_is_a_video_in_an_image_part() -> None:
    assert openai_parts({"type": "image_url", "image_url": CLIP}) == (VideoPart("messages[0].content[0]", b"hi"),)


def test_images_may_be_anywhere_in_any_turn() -> None:
    picture = {"type": "image_url", "image_url": PICTURE}
    turns = [
        {"role": "user", "content": [picture, {"type": "text", "text": "this"}, picture]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [{"type": "text", "text": "and this"}, picture]},
    ]
    prompt = chat_call(messages=turns).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert [message.content for message in prompt.messages] == [
        (
            ImagePart("messages[0].content[0]", b"hi"),
            TextPart("this"),
            ImagePart("messages[0].content[2]", b"hi"),
        ),
        (TextPart("a cat"),),
        (TextPart("and this"), ImagePart("messages[2].content[1]", b"hi")),
    ]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_files_paths_and_other_things_are_refused(kind: str, url: object) -> None:
    with pytest.raises(InvalidRequest, match=f"^invalid {kind} input$") as caught:
        openai_parts({"type": f"{kind}_url", f"{kind}_url": url})
    assert caught.value.param == "messages[0].content[0]"


@pytest.mark.parametrize("kind", ["input_audio", "file", "input_file"])
def test_audio_and_files_are_refused_for_every_model(kind: str) -> None:
    with pytest.raises(MediaUnsupported) as caught:
        openai_parts({"type": "text", "text": "x"}, {"type": kind, kind: {}})
    assert caught.value.param == "messages[0].content[1]"
    assert caught.value.message == (
        "The request includes images, video or audio, but 'm' cannot be loaded as a vision model. "
        "Choose a vision-capable model or remove the attachments."
    )


@pytest.mark.parametrize("part", [{"type": "hologram"}, {}, {"type": 5}, {"type": ["text"]}])
def test_an_unknown_part_is_refused(part: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid message format$") as caught:
        openai_parts(part)
    assert caught.value.param == "messages[0].content[0]"


def test_only_the_user_sends_images() -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid message format$"):
        chat_call(messages=[{"role": "system", "content": [{"type": "image_url", "image_url": PICTURE}]}])


@pytest.mark.parametrize(
    "image", ["aGk=", "aGk", " aGk=\n", "aG\nk", PICTURE, "data:;base64,aGk", "data:video/mp4;base64,aGk="]
)
def test_ollama_images_are_decoded(image: str) -> None:
    prompt = ollama_chat(messages=[{"role": "user", "content": "look", "images": [image]}]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].content == (ImagePart("messages[0].images[0]", b"hi"), TextPart("look"))


@pytest.mark.parametrize("image", [*UNDECODABLE, "https://a.example/x.png", "jupyter:x.png", "data:image/png,x"])
def test_ollama_images_that_are_not_base64_are_refused(image: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid image input$") as caught:
        ollama_chat(messages=[{"role": "user", "content": "look", "images": ["aGk=", image]}])
    assert caught.value.param == "messages[0].images[1]"


def test_generate_accepts_images_with_its_prompt() -> None:
    prompt = ollama_generate(prompt="look", images=["aGk=", "aGVsbG8"]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].content == (
        ImagePart("images[0]", b"hi"),
        ImagePart("images[1]", b"hello"),
        TextPart("look"),
    )


def test_ollama_messages_accept_parts_beside_images() -> None:
    content = [{"type": "text", "text": "look"}, {"type": "video_url", "video_url": {"url": CLIP}}]
    prompt = ollama_chat(messages=[{"role": "user", "content": content, "images": ["aGk="]}]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].content == (
        ImagePart("messages[0].images[0]", b"hi"),
        TextPart("look"),
        VideoPart("messages[0].content[1]", b"hi"),
    )


@pytest.mark.parametrize(("images", "param"), [([5], "messages[0].images[0]"), ("aGk=", "messages[0].images")])
def test_ollama_images_must_be_strings_in_an_array(images: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ollama_chat(messages=[{"role": "user", "content": "look", "images": images}])
    assert caught.value.param == param


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_and_tools_send_ollama_images(role: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid message format$") as caught:
        ollama_chat(messages=[{"role": role, "content": "x", "images": ["aGk="]}])
    assert caught.value.param == "messages[0].images"
