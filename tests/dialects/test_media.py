import pytest

from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ChatPrompt, ImagePart, Part, TextPart, VideoPart
from tests.dialects.samples import chat_call, ollama_chat, ollama_generate

PICTURE = "data:image/png;base64,aGk="
CLIP = "data:video/mp4;base64,aGk="
BAD_URLS = ["file:///etc/passwd", "/etc/passwd", "x.png", "", "ftp://a/x", 5, None, {}, {"url": 5}]


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
def test_media_parts_keep_their_source_and_the_name_of_their_field(
    part: dict[str, object], expected: type[ImagePart] | type[VideoPart]
) -> None:
    source = PICTURE if expected is ImagePart else CLIP
    parts = openai_parts({"type": "text", "text": "look"}, part)
    assert parts == (TextPart("look"), expected(source, "messages[0].content[1]"))


@pytest.mark.parametrize("url", ["https://a.example/x.png", "HTTP://a.example/x", "data:;base64,aGk=", "jupyter:a.png"])
def test_urls_of_the_known_schemes_are_taken(url: str) -> None:
    assert openai_parts({"type": "image_url", "image_url": url}) == (ImagePart(url, "messages[0].content[0]"),)


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


def test_pictures_belong_to_the_user() -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid message format$"):
        chat_call(messages=[{"role": "system", "content": [{"type": "image_url", "image_url": PICTURE}]}])


@pytest.mark.parametrize(
    ("image", "source"),
    [
        ("aGk=", "data:;base64,aGk="),
        ("aGk", "data:;base64,aGk="),
        ("aGVsbG8", "data:;base64,aGVsbG8="),
        (PICTURE, PICTURE),
        ("file:///etc/passwd", "data:;base64,file:///etc/passwd=="),
    ],
)
def test_ollama_images_become_data_urls(image: str, source: str) -> None:
    prompt = ollama_chat(messages=[{"role": "user", "content": "look", "images": [image]}]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].content == (ImagePart(source, "messages[0].images[0]"), TextPart("look"))


def test_generate_takes_images_with_its_prompt() -> None:
    prompt = ollama_generate(prompt="look", images=["aGk=", "aGk="]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].content == (
        ImagePart("data:;base64,aGk=", "images[0]"),
        ImagePart("data:;base64,aGk=", "images[1]"),
        TextPart("look"),
    )


@pytest.mark.parametrize(("images", "param"), [([5], "messages[0].images[0]"), ("aGk=", "messages[0].images")])
def test_ollama_images_must_be_strings_in_an_array(images: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ollama_chat(messages=[{"role": "user", "content": "look", "images": images}])
    assert caught.value.param == param


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_ollama_images_belong_to_users_and_tools(role: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid message format$") as caught:
        ollama_chat(messages=[{"role": role, "content": "x", "images": ["aGk="]}])
    assert caught.value.param == "messages[0].images"
