"""Pictures and clips of a request on their way to a backend: their places, their numbers, and what is refused."""

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
from tests.engine.vision_bench import BLUE, GREEN, RED, Bench, Piece, chat, clip, conversation, picture, said
from tests.engine.vision_models import FAMILIES, IMAGE_TOKENS, TAKES_STRINGS, TAKES_VIDEO

# Tokens that the processors make of a picture of 48x40 pixels.
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
# Families where a picture stands in one piece.
IN_ONE_PIECE = ("qwen2_5_vl", "qwen3_vl", "qwen3_5", "gemma3", "llava", "gemma4", "lfm2_vl")
# What stands for a picture in one family or another.
MARKS = (
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


def seen(rendered: RenderedPrompt) -> list[int]:
    """The numbers in the places of what is seen, one for each span."""
    assert rendered.media
    return [rendered.tokens[start] for start, _ in rendered.media.spans]


def numbers(bench: Bench, *pieces: Piece) -> list[int]:
    return list(dict.fromkeys(seen(bench.rendered(chat(*pieces)))))


def refusal(bench: Bench, prompt: ChatPrompt, **options: int) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        bench.rendered(prompt, EngineOptions(**options))  # type: ignore[arg-type]  # counts only
    return caught.value


# Places


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_takes_as_many_tokens_as_its_features(benches: dict[str, Bench], family: str) -> None:
    media = benches[family].rendered(chat(RED, "Which?")).media
    assert media
    assert sum(end - start for start, end in media.spans) == SIZES[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_places_of_pictures_are_negative(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    rendered = bench.rendered(chat("One", RED, "two", GREEN, "three"))
    assert rendered.media
    inside = {place for start, end in rendered.media.spans for place in range(start, end)}
    assert {place for place, token in enumerate(rendered.tokens) if token < 0} == inside
    mark = bench.tokenizer.encode(IMAGE_TOKENS[family], add_special_tokens=False)
    assert [rendered.media.tokens[place] for place in sorted(inside)] == mark * len(inside)
    outside = [place for place in range(len(rendered.tokens)) if place not in inside]
    assert [rendered.tokens[place] for place in outside] == [rendered.media.tokens[place] for place in outside]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_goes_to_a_backend_is_numpy_and_no_mlx(benches: dict[str, Bench], family: str) -> None:
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
        behind = bench.tokenizer.decode(rendered.tokens[rendered.media.spans[-1][1] :])
        assert ("ONE" in before, "TWO" in before) == (pieces[0] == "ONE", False)
        assert ("ONE" in behind, "TWO" in behind) == (pieces[0] != "ONE", True)


def test_a_template_may_put_pictures_first(benches: dict[str, Bench]) -> None:
    bench = benches["llava"]
    assert bench.rendered(chat("One", RED)).tokens == bench.rendered(chat(RED, "One")).tokens


@pytest.mark.parametrize("family", ["gemma3", "gemma4", "llava", "mistral3", "pixtral", "lfm2_vl"])
def test_a_prompt_with_a_picture_begins_with_one_bos(benches: dict[str, Bench], family: str) -> None:
    """llava's template writes none and its tokenizer adds it; the others' write it, and none may be added."""
    bench = benches[family]
    bos = bench.processor._hf.tokenizer.bos_token_id
    tokens = bench.rendered(chat(RED, "Which?")).tokens
    assert (tokens[0], tokens.count(bos)) == (bos, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_alone_reads_as_the_template_wants_it(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    content = bench.media_preparation().template_content((TextPart("One "), TextPart("two")))
    if family in TAKES_STRINGS:
        assert content == "One two"
    else:
        assert content == [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]
    rendered = bench.rendered(chat("One ", "two"))
    assert rendered.media is None
    assert "One two" in bench.tokenizer.decode(rendered.tokens)


# Numbers


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_pictures_have_equal_numbers_and_different_ones_different(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    red, again, blue = (numbers(bench, one, "Which?") for one in (RED, picture("red"), BLUE))
    assert red == again
    assert len({*red, *blue}) == 2
    assert all(-(1 << 62) <= number < 0 for number in (*red, *blue))


@pytest.mark.parametrize("family", IN_ONE_PIECE)
def test_each_picture_has_the_number_that_it_has_alone(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    red, green = numbers(bench, RED, "Which?"), numbers(bench, GREEN, "Which?")
    assert seen(bench.rendered(chat(GREEN, "and", RED, "Which?"))) == [*green, *red]
    assert seen(bench.rendered(conversation([RED, "?"], ["Red."], [GREEN, RED, "?"]))) == [*red, *green, *red]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(IN_ONE_PIECE)))
def test_pictures_in_several_pieces_have_one_number_that_tells_their_order(
    benches: dict[str, Bench], family: str
) -> None:
    bench = benches[family]
    each = [numbers(bench, *pieces, "?") for pieces in ([RED], [GREEN], [RED, GREEN], [GREEN, RED])]
    assert [len(found) for found in each] == [1] * 4
    assert len({found[0] for found in each}) == 4


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_a_clip_has_the_number_of_its_content_in_all_its_pieces(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    red, again, blue = (numbers(bench, one, "Which?") for one in (clip("red"), clip("red"), clip("blue")))
    assert red == again
    assert len(red) == 1
    assert red != blue
    assert numbers(bench, RED, clip("red"), "Which?") == [*numbers(bench, RED, "Which?"), *red]


# Marks that somebody typed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mark", MARKS)
def test_a_typed_mark_is_only_text(benches: dict[str, Bench], family: str, mark: str) -> None:
    bench = benches[family]
    expected = bench.rendered(chat(RED, "Which?"))
    assert expected.media
    for prompt in (
        chat(RED, f"Which {mark}?"),
        chat(RED, "Which ", mark[:2], mark[2:], "?"),
        conversation([RED, "Which?"], [f"{mark} it is."], [f"{mark}{mark}", "What?"]),
    ):
        rendered = bench.rendered(prompt)
        assert rendered.media
        assert rendered.media.spans == expected.media.spans
        assert seen(rendered) == seen(expected)
        assert bench.answer(rendered.tokens, rendered.media, 1)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"llava"}))
@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_typed_before_a_picture_does_not_take_its_place(
    benches: dict[str, Bench], family: str, mark: str
) -> None:
    bench = benches[family]
    length = len(bench.rendered(chat(RED, "Which?")).media.spans)  # type: ignore[union-attr]  # there is a picture
    for pieces in ((f"ONE{mark}TWO", RED, "?"), ("ONE", mark[:-3], f"{mark[-3:]}TWO", RED, "?")):
        rendered = bench.rendered(chat(*pieces))
        assert rendered.media
        assert len(rendered.media.spans) == length
        assert "TWO" in bench.tokenizer.decode(rendered.tokens[: rendered.media.spans[0][0]])
        assert bench.answer(rendered.tokens, rendered.media, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_typed_mark_without_any_picture_is_no_token_of_one(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    for mark in MARKS:
        for prompt in (chat(f"What is {mark}?"), chat("What is ", mark[:2], mark[2:])):
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
def test_a_mark_elsewhere_in_a_conversation_is_only_text(with_template: WithTemplate, where: str) -> None:
    def prompt(word: str) -> ChatPrompt:
        answer = said("A", role="assistant", turn=1)
        if where == "reasoning":
            answer = msgspec.structs.replace(answer, reasoning=word)
        if where == "arguments":
            answer = msgspec.structs.replace(answer, tool_calls=(ToolCall("1", "f", f'{{"x": "{word}"}}'),))
        tools = TOOLS % word if where == "tools" else "[]"
        return ChatPrompt((said("Hi", RED, "?"), answer, said("And?", turn=2)), tools=tools)

    bench = with_template(SHOWS_ALL)
    marked, plain = (bench.rendered(prompt(word)) for word in ("<|image_pad|>", "plain"))
    assert marked.media
    assert plain.media
    assert len(marked.tokens) > len(plain.tokens), "the word is there"
    assert marked.media.spans == plain.media.spans


def test_a_mark_that_gets_in_by_another_way_is_refused(with_template: WithTemplate) -> None:
    named = msgspec.structs.replace(said("Hello", turn=1), name="<|image_pad|>")
    error = refusal(with_template(SHOWS_ALL), ChatPrompt((said(RED, "?"), named)))
    assert (type(error), error.param) == (InvalidRequest, "messages")
    assert "<|image_pad|>" in error.message


# Templates without a place


def test_where_a_template_knows_only_text_the_processor_s_own_mark_stands_in_it(with_template: WithTemplate) -> None:
    bench = with_template("{% for m in messages %}{{ m.content }}{% endfor %} end")
    rendered = bench.rendered(chat("Hi ", RED, " there"))
    assert rendered.media
    ((start, end),) = rendered.media.spans
    assert [bench.tokenizer.decode(part) for part in (rendered.tokens[:start], rendered.tokens[end:])] == [
        "Hi ",
        " there end",
    ]


@pytest.mark.parametrize("template", ["Hello", "{{ messages[-1].content }} end"])
def test_a_template_that_drops_a_picture_is_refused(with_template: WithTemplate, template: str) -> None:
    error = refusal(with_template(template), conversation(["Hi", RED], ["A."], ["And now?"]))
    assert isinstance(error, TemplateFailed)
    assert error.param == "messages[0].content[1]"


def test_a_prompt_that_ends_with_a_picture_is_refused(with_template: WithTemplate) -> None:
    error = refusal(with_template("{% for m in messages %}{{ m.content }}{% endfor %}"), chat("Hi", RED))
    assert isinstance(error, TemplateFailed)
    assert error.param == "messages[0].content[1]"


def test_a_kind_that_neither_template_nor_processor_knows_is_refused(benches: dict[str, Bench]) -> None:
    with pytest.raises(TemplateFailed, match="no placeholder for a video") as caught:
        benches["gemma3"].media_preparation().template_content((TextPart("Hi"), clip("red", "messages[3].content[1]")))
    assert caught.value.param == "messages[3].content[1]"


# Limits, and media that cannot be looked at


@pytest.mark.parametrize("family", FAMILIES)
def test_all_media_of_a_prompt_have_one_limit(benches: dict[str, Bench], family: str) -> None:
    bench, size = benches[family], 2 * SIZES[family]
    prompt = chat(RED, "and", BLUE, "?")
    assert bench.rendered(prompt, EngineOptions(max_media_tokens=size)).media
    error = refusal(bench, prompt, max_media_tokens=size - 1)
    assert error.param == "messages[0].content[2]"
    assert str(size) in error.message
    assert str(size - 1) in error.message


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (ImagePart("", b"no picture"), "not a PNG"),
        (ImagePart("", RED.data[:60]), "damaged"),
        (VideoPart("", b"no clip"), "not an MP4"),
        (VideoPart("", b""), "fetches no URL"),
        (ImagePart("", b""), "fetches no URL"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_at_its_field(
    benches: dict[str, Bench], part: ImagePart | VideoPart, words: str
) -> None:
    """Through messages: said() would drop the URL."""
    broken = msgspec.structs.replace(part, param="messages[2].content[1]", url="" if part.data else "http://x/y")
    last = msgspec.structs.replace(said(turn=2), content=(TextPart("and"), broken))
    error = refusal(benches["qwen3_vl"], ChatPrompt((said(RED, "?"), said("A", role="assistant", turn=1), last)))
    assert words in error.message
    assert error.param == "messages[2].content[1]"


def test_a_picture_with_too_many_pixels_is_refused_at_its_field(benches: dict[str, Bench]) -> None:
    error = refusal(benches["llava"], chat(GREEN, RED, "?"), max_image_pixels=48 * 40 - 1)
    assert error.param == "messages[0].content[1]"
    assert "48x40" in error.message


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_of_a_clip_no_more_frames_are_looked_at_than_are_allowed(benches: dict[str, Bench], family: str) -> None:
    bench = benches[family]
    few, many = (
        bench.rendered(chat(clip("red"), "?"), EngineOptions(max_video_frames=count)).media for count in (2, 4)
    )
    assert few
    assert many
    assert frames_in(few) < frames_in(many)


def frames_in(media: Media) -> int:
    """Frames of the one clip, or pairs of them."""
    if counts := media.inputs.get("num_frames_per_video"):
        return int(counts[0])
    return int(media.inputs["video_grid_thw"][0, 0])


# Conversations that are cut


def test_turns_that_go_take_their_pictures_along(benches: dict[str, Bench]) -> None:
    bench = benches["qwen3_vl"]
    last = bench.rendered(chat(BLUE, "And?"))
    turns = conversation([RED, "Which? " * 20], ["Red."], [BLUE, "And?"])
    cut = msgspec.structs.replace(turns, truncate=True)
    rendered = bench.rendered(cut, max_context=len(last.tokens) + 1)
    assert rendered.tokens == last.tokens
    assert rendered.media
    assert rendered.media.spans == last.media.spans  # type: ignore[union-attr]  # there is a picture


def test_a_cut_conversation_may_have_no_picture_left(benches: dict[str, Bench]) -> None:
    bench = benches["qwen3_vl"]
    turns = msgspec.structs.replace(conversation([RED, "Which?"], ["Red."], ["And?"]), truncate=True)
    rendered = bench.rendered(turns, max_context=len(bench.rendered(chat("And?")).tokens) + 1)
    assert rendered.tokens == bench.rendered(chat("And?")).tokens
    assert rendered.media is None
