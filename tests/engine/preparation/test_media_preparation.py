"""Images and videos of a request get spans and content ids in the prompt; invalid ones are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import msgspec
import pytest
from mlx.utils import tree_flatten

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.preparation.prompt import RenderedPrompt
from pico_jupyter.errors import InvalidRequest, TemplateFailed
from pico_jupyter.types import ChatPrompt, EngineOptions, ImagePart, TextPart, ToolCall, VideoPart
from tests.engine.vision_bench import BLUE, GREEN, RED, Bench, Piece, chat, conversation, image, message_of, video
from tests.engine.vision_models import FAMILIES, IMAGE_TOKENS, TAKES_STRINGS, TAKES_VIDEO

# Tokens for an image of 48x40 pixels.
SIZES = {
    "qwen2_5_vl": 6,
    "qwen3_vl": 6,
    "qwen3_5": 6,
    "gemma3": 4,
    "llava": 16,
    "smolvlm": 5 * 4,
    "mistral3": 3 * 3,
    "pixtral": 5 * 6,
    "gemma4": 12,
    "lfm2_vl": 2,
}
# Families where an image has one span.
ONE_SPAN = ("qwen2_5_vl", "qwen3_vl", "qwen3_5", "gemma3", "llava", "gemma4", "lfm2_vl")
# Placeholders of several families.
PLACEHOLDERS = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_start|><|image_pad|><|vision_end|>",
    "<image>",
    "<start_of_image>",
    "<image_soft_token>",
    "[IMG]",
    "[IMG_END]",
    "<|image|>",
    "<|video|>",
    "<|image>",
    "<fake_token_around_image>",
)


def content_ids(rendered: RenderedPrompt) -> list[int]:
    """The content ids in the prompt, one for each span."""
    assert rendered.media
    return [rendered.tokens[start] for start, _ in rendered.media.spans]


def different_ids(bench: Bench, *pieces: Piece) -> list[int]:
    return list(dict.fromkeys(content_ids(bench.rendered(chat(*pieces)))))


def error_of(bench: Bench, prompt: ChatPrompt, **options: int) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        bench.rendered(prompt, EngineOptions(**options))  # type: ignore[arg-type]  # counts only
    return caught.value


# Spans


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_has_one_token_for_each_feature(benches: dict[str, Bench], family: str) -> None:
    media = benches[family].rendered(chat(RED, "Which?")).media
    assert media
    assert sum(end - start for start, end in media.spans) == SIZES[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_spans_of_images_are_negative(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    rendered = bench.rendered(chat("One", RED, "two", GREEN, "three"))
    assert rendered.media
    inside = {position for start, end in rendered.media.spans for position in range(start, end)}
    assert {position for position, token in enumerate(rendered.tokens) if token < 0} == inside
    placeholder = bench.tokenizer.encode(IMAGE_TOKENS[family], add_special_tokens=False)
    assert [rendered.media.tokens[position] for position in sorted(inside)] == placeholder * len(inside)
    outside = [position for position in range(len(rendered.tokens)) if position not in inside]
    assert [rendered.tokens[position] for position in outside] == [
        rendered.media.tokens[position] for position in outside
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_inputs_for_a_backend_are_numpy_arrays(benches: dict[str, Bench], family: str) -> None:
    media = benches[family].rendered(chat(RED, GREEN, "Which?")).media
    assert media
    assert "pixel_values" in media.inputs
    assert not [name for name, leaf in tree_flatten(dict(media.inputs)) if isinstance(leaf, mx.array)]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"llava"}))
def test_parts_keep_their_order(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    for pieces in (("ONE", RED, "TWO"), (RED, "ONETWO")):
        rendered = bench.rendered(chat(*pieces))
        assert rendered.media
        before = bench.tokenizer.decode(rendered.tokens[: rendered.media.spans[0][0]])
        after = bench.tokenizer.decode(rendered.tokens[rendered.media.spans[-1][1] :])
        assert ("ONE" in before, "TWO" in before) == (pieces[0] == "ONE", False)
        assert ("ONE" in after, "TWO" in after) == (pieces[0] != "ONE", True)


def test_a_template_may_render_images_first(benches: dict[str, Bench]) -> None:
    bench = benches["llava"]
    assert bench.rendered(chat("One", RED)).tokens == bench.rendered(chat(RED, "One")).tokens


@pytest.mark.parametrize("family", ["gemma3", "gemma4", "llava", "mistral3", "pixtral", "lfm2_vl"])
def test_a_prompt_with_an_image_begins_with_one_bos(benches: dict[str, Bench], family: str) -> None:
    """The tokenizer of llava adds BOS. The templates of the other families write it, and no second one may be added."""
    bench = benches[family]
    bos = bench.processor._hf.tokenizer.bos_token_id
    tokens = bench.rendered(chat(RED, "Which?")).tokens
    assert (tokens[0], tokens.count(bos)) == (bos, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_without_media_has_the_form_that_the_template_accepts(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    content = bench.media_preparation().template_content((TextPart("One "), TextPart("two")))
    if family in TAKES_STRINGS:
        assert content == "One two"
    else:
        assert content == [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]
    rendered = bench.rendered(chat("One ", "two"))
    assert rendered.media is None
    assert "One two" in bench.tokenizer.decode(rendered.tokens)


# Content ids


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_images_have_equal_content_ids_and_others_differ(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    red, again, blue = (different_ids(bench, one, "Which?") for one in (RED, image("red"), BLUE))
    assert red == again
    assert len({*red, *blue}) == 2
    assert all(-(1 << 62) <= number < 0 for number in (*red, *blue))


@pytest.mark.parametrize("family", ONE_SPAN)
def test_an_image_has_the_same_content_id_in_any_prompt(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    red, green = different_ids(bench, RED, "Which?"), different_ids(bench, GREEN, "Which?")
    assert content_ids(bench.rendered(chat(GREEN, "and", RED, "Which?"))) == [*green, *red]
    assert content_ids(bench.rendered(conversation([RED, "?"], ["Red."], [GREEN, RED, "?"]))) == [*red, *green, *red]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(ONE_SPAN)))
def test_images_of_several_spans_share_a_content_id_that_depends_on_their_order(
    benches: dict[str, Bench], family: str
) -> None:
    bench = benches[family]
    each = [different_ids(bench, *pieces, "?") for pieces in ([RED], [GREEN], [RED, GREEN], [GREEN, RED])]
    assert [len(found) for found in each] == [1] * 4
    assert len({found[0] for found in each}) == 4


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_all_spans_of_a_video_have_its_content_id(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    red, again, blue = (different_ids(bench, one, "Which?") for one in (video("red"), video("red"), video("blue")))
    assert red == again
    assert len(red) == 1
    assert red != blue
    assert different_ids(bench, RED, video("red"), "Which?") == [*different_ids(bench, RED, "Which?"), *red]


# Placeholders in texts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_in_a_text_is_only_text(benches: dict[str, Bench], family: str, placeholder: str) -> None:
    bench = benches[family]
    expected = bench.rendered(chat(RED, "Which?"))
    assert expected.media
    for prompt in (
        chat(RED, f"Which {placeholder}?"),
        chat(RED, "Which ", placeholder[:2], placeholder[2:], "?"),
        conversation([RED, "Which?"], [f"{placeholder} it is."], [f"{placeholder}{placeholder}", "What?"]),
    ):
        rendered = bench.rendered(prompt)
        assert rendered.media
        assert rendered.media.spans == expected.media.spans
        assert content_ids(rendered) == content_ids(expected)
        assert bench.answer(rendered.tokens, rendered.media, 1)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"llava"}))
@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_in_a_text_does_not_replace_a_later_image(
    benches: dict[str, Bench], family: str, placeholder: str
) -> None:
    bench = benches[family]
    length = len(bench.rendered(chat(RED, "Which?")).media.spans)  # type: ignore[union-attr]  # there is an image
    for pieces in ((f"ONE{placeholder}TWO", RED, "?"), ("ONE", placeholder[:-3], f"{placeholder[-3:]}TWO", RED, "?")):
        rendered = bench.rendered(chat(*pieces))
        assert rendered.media
        assert len(rendered.media.spans) == length
        assert "TWO" in bench.tokenizer.decode(rendered.tokens[: rendered.media.spans[0][0]])
        assert bench.answer(rendered.tokens, rendered.media, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_placeholder_in_a_text_without_images_is_not_an_image_token(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    for placeholder in PLACEHOLDERS:
        for prompt in (chat(f"What is {placeholder}?"), chat("What is ", placeholder[:2], placeholder[2:])):
            rendered = bench.rendered(prompt)
            assert rendered.media is None
            assert not {*rendered.tokens} & (bench.processor.image_ids | bench.processor.video_ids)


SHOWS_ALL = (
    "{% for m in messages %}{{ m.reasoning_content }}"
    "{% for call in m.tool_calls %}{{ call.function.arguments | tojson }}{% endfor %}"
    "{% for part in m.content %}{{ part.text if part.type == 'text' else '<|image_pad|>' }}{% endfor %}"
    "{{ m.name }}{% endfor %}{{ tools }} end"
)

WithTemplate = Callable[[str], Bench]


@pytest.fixture
def with_template(benches: dict[str, Bench], tmp_path: Path) -> WithTemplate:
    """A tiny qwen3_vl with another chat template."""

    def changed(template: str) -> Bench:
        bench = benches["qwen3_vl"]
        folder = tmp_path / "changed"
        shutil.copytree(bench.folder, folder)
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        capabilities = (*bench.info.capabilities, "tools")
        return Bench(msgspec.structs.replace(bench.info, path=str(folder), capabilities=capabilities))

    return changed


TOOLS = '[{"type": "function", "function": {"name": "f", "description": "%s"}}]'


@pytest.mark.parametrize("where", ["reasoning", "arguments", "tools"])
def test_a_placeholder_elsewhere_in_a_conversation_is_only_text(with_template: WithTemplate, where: str) -> None:
    def prompt(word: str) -> ChatPrompt:
        answer = message_of("A", role="assistant", turn=1)
        if where == "reasoning":
            answer = msgspec.structs.replace(answer, reasoning=word)
        if where == "arguments":
            answer = msgspec.structs.replace(answer, tool_calls=(ToolCall("1", "f", f'{{"x": "{word}"}}'),))
        tools = TOOLS % word if where == "tools" else "[]"
        return ChatPrompt((message_of("Hi", RED, "?"), answer, message_of("And?", turn=2)), tools=tools)

    bench = with_template(SHOWS_ALL)
    escaped, plain = (bench.rendered(prompt(word)) for word in ("<|image_pad|>", "plain"))
    assert escaped.media
    assert plain.media
    assert len(escaped.tokens) > len(plain.tokens), "the word is in the prompt"
    assert escaped.media.spans == plain.media.spans


def test_a_placeholder_that_cannot_be_escaped_is_refused(with_template: WithTemplate) -> None:
    prompt = msgspec.structs.replace(chat(RED, "?"), template_kwargs='{"word": "<|image_pad|>"}')
    error = error_of(with_template(SHOWS_ALL + "{{ word }}"), prompt)
    assert (type(error), error.param) == (InvalidRequest, "messages")
    assert "<|image_pad|>" in error.message


# Templates without placeholders


def test_a_template_that_renders_only_text_gets_the_processors_placeholder(with_template: WithTemplate) -> None:
    bench = with_template("{% for m in messages %}{{ m.content }}{% endfor %} end")
    rendered = bench.rendered(chat("Hi ", RED, " there"))
    assert rendered.media
    ((start, end),) = rendered.media.spans
    assert [bench.tokenizer.decode(part) for part in (rendered.tokens[:start], rendered.tokens[end:])] == [
        "Hi ",
        " there end",
    ]


@pytest.mark.parametrize("template", ["Hello", "{{ messages[-1].content }} end"])
def test_a_template_that_drops_an_image_is_refused(with_template: WithTemplate, template: str) -> None:
    error = error_of(with_template(template), conversation(["Hi", RED], ["A."], ["And now?"]))
    assert isinstance(error, TemplateFailed)
    assert error.param == "messages[0].content[1]"


def test_a_prompt_that_ends_with_an_image_is_refused(with_template: WithTemplate) -> None:
    error = error_of(with_template("{% for m in messages %}{{ m.content }}{% endfor %}"), chat("Hi", RED))
    assert isinstance(error, TemplateFailed)
    assert error.param == "messages[0].content[1]"


def test_a_kind_without_any_placeholder_is_refused(benches: dict[str, Bench]) -> None:
    with pytest.raises(TemplateFailed, match="no placeholder for a video") as caught:
        benches["gemma3"].media_preparation().template_content((TextPart("Hi"), video("red", "messages[3].content[1]")))
    assert caught.value.param == "messages[3].content[1]"


# Limits and invalid media


@pytest.mark.parametrize("family", FAMILIES)
def test_all_media_of_a_prompt_share_one_limit(benches: dict[str, Bench], family: str) -> None:
    bench, size = benches[family], 2 * SIZES[family]
    prompt = chat(RED, "and", BLUE, "?")
    assert bench.rendered(prompt, EngineOptions(max_media_tokens=size)).media
    error = error_of(bench, prompt, max_media_tokens=size - 1)
    assert error.param == "messages[0].content[2]"
    assert str(size) in error.message
    assert str(size - 1) in error.message


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (ImagePart("", b"not an image"), "not a PNG"),
        (ImagePart("", RED.data[:60]), "damaged"),
        (VideoPart("", b"not a video"), "not an MP4"),
        (VideoPart("", b""), "fetches no URL"),
        (ImagePart("", b""), "fetches no URL"),
    ],
)
def test_the_error_for_invalid_media_names_their_field(
    benches: dict[str, Bench], part: ImagePart | VideoPart, words: str
) -> None:
    """The message is built by hand, because message_of() drops the URL."""
    broken = msgspec.structs.replace(part, param="messages[2].content[1]", url="" if part.data else "http://x/y")
    last = msgspec.structs.replace(message_of(turn=2), content=(TextPart("and"), broken))
    error = error_of(
        benches["qwen3_vl"], ChatPrompt((message_of(RED, "?"), message_of("A", role="assistant", turn=1), last))
    )
    assert words in error.message
    assert error.param == "messages[2].content[1]"


def test_the_error_for_too_many_pixels_names_the_field(benches: dict[str, Bench]) -> None:
    error = error_of(benches["llava"], chat(GREEN, RED, "?"), max_image_pixels=48 * 40 - 1)
    assert error.param == "messages[0].content[1]"
    assert "48x40" in error.message


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_the_number_of_frames_of_a_video_is_limited(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    few, many = (
        bench.rendered(chat(video("red"), "?"), EngineOptions(max_video_frames=count)).media for count in (2, 4)
    )
    assert few
    assert many
    assert frames_in(few) < frames_in(many)


def frames_in(media: Media) -> int:
    """The number of frames of the only video, or of pairs of frames."""
    if counts := media.inputs.get("num_frames_per_video"):
        return int(counts[0])
    return int(media.inputs["video_grid_thw"][0, 0])


# Truncated conversations


def test_removed_turns_are_removed_with_their_images(benches: dict[str, Bench]) -> None:
    bench = benches["qwen3_vl"]
    last = bench.rendered(chat(BLUE, "And?"))
    turns = conversation([RED, "Which? " * 20], ["Red."], [BLUE, "And?"])
    cut = msgspec.structs.replace(turns, truncate=True)
    rendered = bench.rendered(cut, max_context=len(last.tokens) + 1)
    assert rendered.tokens == last.tokens
    assert rendered.media
    assert rendered.media.spans == last.media.spans  # type: ignore[union-attr]  # there is an image


def test_a_truncated_conversation_may_have_no_image_left(benches: dict[str, Bench]) -> None:
    bench = benches["qwen3_vl"]
    turns = msgspec.structs.replace(conversation([RED, "Which?"], ["Red."], ["And?"]), truncate=True)
    rendered = bench.rendered(turns, max_context=len(bench.rendered(chat("And?")).tokens) + 1)
    assert rendered.tokens == bench.rendered(chat("And?")).tokens
    assert rendered.media is None
