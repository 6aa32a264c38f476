"""LmBackend with vision models: the generation of mlx-vlm is the oracle, and the tower computes each image once."""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.vision import VisionModel
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.engine.preparation.prompt import RenderedPrompt
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt
from tests.engine.backends.conductor import ANSWER, GREEDY, Conductor
from tests.engine.vision_bench import BLUE, GREEN, RED, Bench, chat, conversation, video
from tests.engine.vision_models import FAMILIES, IN_ONE_PASS, TAKES_VIDEO

INTERLEAVED = ("qwen3_vl", "qwen2_5_vl", "gemma3", "qwen3_5", "gemma4", "llava")
QWENS = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
# The families with trimmable caches.
CUTTABLE = ("qwen2_5_vl", "qwen3_vl", "llava", "smolvlm", "mistral3", "pixtral")
ROOM = 1 << 30
SEEDED = RowSampling(temperature=8.0, seed=7)

# Some have the same beginning: a text or an image.
PROMPTS: tuple[ChatPrompt, ...] = (
    chat("Hello"),
    chat("Hello, who are you?"),
    chat(RED, "Which?"),
    chat(RED, "What is it?"),
    chat(BLUE, "Which?"),
    chat("Hello", GREEN, "How?"),
    chat(RED, "and", GREEN, "?"),
    chat(RED, "and", BLUE, "?"),
    conversation([RED, "Which?"], ["Red."], [GREEN, "And?"]),
)

# An operation: admit one of the prompts, abort the n-th running row, make a number of steps, or finish all rows.
operations = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, len(PROMPTS) - 1)),
        st.tuples(st.just("abort"), st.integers(0, 7)),
        st.tuples(st.just("step"), st.integers(1, 20)),
        st.tuples(st.just("finish"), st.just(0)),
    ),
    min_size=5,
    max_size=12,
)


class Prompts:
    """A family's prompts, each rendered once, and the answer to each alone."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rendered = cache(bench.rendered)
        self.alone = cache(self._alone)

    def _alone(self, prompt: ChatPrompt) -> list[int]:
        rendered = self.rendered(prompt)
        return self.bench.answer(rendered.tokens, rendered.media, ANSWER)


@pytest.fixture(scope="session")
def families(benches: dict[str, Bench]) -> dict[str, Prompts]:
    return {family: Prompts(bench) for family, bench in benches.items()}


def ask(conductor: Conductor, row: int, rendered: RenderedPrompt, sampling: RowSampling = GREEDY) -> list[int]:
    return conductor.answer(row, rendered.tokens, sampling, media=rendered.media)


def passes(conductor: Conductor) -> int:
    """The number of passes of the vision tower."""
    tower_cache = conductor.backend._model.tower_cache
    assert tower_cache
    return int(tower_cache.passes)


def small_blocks(limit: int = ROOM) -> PrefixCache:
    return PrefixCache(limit, block=4, min_shared=2)


@pytest.mark.parametrize("family", INTERLEAVED)
@settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck), derandomize=True)
@given(script=operations, room=st.sampled_from([0, 30_000, ROOM]), limit=st.integers(1, 12))
def test_any_interleaving_gives_each_request_the_tokens_it_gets_alone(
    families: dict[str, Prompts], family: str, script: list[tuple[str, int]], room: int, limit: int
) -> None:
    prompts, prefixes = families[family], small_blocks(room)
    conductor = Conductor(prompts.bench.backend(prefixes), limit)
    asked: dict[int, ChatPrompt] = {}
    for number, (action, value) in enumerate(script):
        if action == "admit":
            asked[number] = PROMPTS[value]
            rendered = prompts.rendered(PROMPTS[value])
            conductor.admit(number, rendered.tokens, media=rendered.media)
        elif action == "abort" and conductor.running:
            conductor.remove([sorted(conductor.running)[value % len(conductor.running)]])
        elif action == "step":
            for _ in range(value):
                conductor.step()
        elif action == "finish":
            conductor.finish()
        assert prefixes.nbytes <= room
    conductor.finish()
    for row, tokens in conductor.tokens.items():
        assert tokens == prompts.alone(asked[row])[: len(tokens)]
    assert conductor.backend.cache_nbytes == 0
    assert prefixes.nbytes <= room


@pytest.mark.parametrize("family", INTERLEAVED)
def test_prompts_with_the_same_beginning_share_it(families: dict[str, Prompts], family: str) -> None:
    """Therefore the interleavings test the prefix cache."""
    prompts = families[family]
    conductor = Conductor(prompts.bench.backend(small_blocks()))
    for row in range(2):
        for index, prompt in enumerate(PROMPTS):
            ask(conductor, 100 * row + index, prompts.rendered(prompt))
    assert all(conductor.cached[100 + index] > 0 for index in range(len(PROMPTS)))


class RecordingModel(VisionModel):
    """Records the number of tokens of each call."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: list[int] = []

    def __call__(self, tokens: mx.array, cache: kv.Cache | None = None, **inputs: Any) -> mx.array:
        self.calls.append(tokens.shape[1])
        return super().__call__(tokens, cache, **inputs)


def chunks(bench: Bench, rendered: RenderedPrompt, limit: int) -> list[tuple[int, int]]:
    """The (start, end) of each chunk of a prompt."""
    backend = bench.backend(kind=RecordingModel)
    backend.insert({1: GREEDY}, rendered.tokens, media=rendered.media)
    recording = backend._model
    recording.calls.clear()
    while backend.prefill([1], limit)[1]:
        pass
    ends = [sum(recording.calls[: index + 1]) for index in range(len(recording.calls))]
    return list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_chunk_ends_inside_an_image(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    rendered = prompts.rendered(chat("Hi", GREEN, "and", RED, "?"))
    assert rendered.media
    for limit in (1, 2, 3, 5, 7, 12):
        ends = [end for _, end in chunks(prompts.bench, rendered, limit)]
        assert ends[-1] >= len(rendered.tokens) - 1
        assert not [end for end in ends for first, behind in rendered.media.spans if first < end < behind]


@pytest.mark.parametrize("family", sorted(IN_ONE_PASS))
def test_the_first_chunk_has_all_images_of_a_family_that_needs_one_pass(
    families: dict[str, Prompts], family: str
) -> None:
    rendered = families[family].rendered(chat("Hello", GREEN, "and", RED, "How?"))
    assert rendered.media
    for limit in range(1, 13):
        first, *others = chunks(families[family].bench, rendered, limit)
        assert first == (0, rendered.media.spans[-1][1])
        assert all(end - start <= limit + 1 for start, end in others)


@pytest.mark.parametrize(("generated", "limit"), [(1, 5), (3, 5), (3, 2048)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_requeued_prompt_continues_with_the_same_tokens(
    families: dict[str, Prompts], family: str, generated: int, limit: int
) -> None:
    prompts = families[family]
    for prompt in (chat(RED, "Which?"), chat("Hello", GREEN)):
        rendered, expected = prompts.rendered(prompt), prompts.alone(prompt)
        backend = prompts.bench.backend()
        backend.insert(
            {1: GREEDY}, [*rendered.tokens, *expected[:generated]], generated=generated, media=rendered.media
        )
        while backend.prefill([1], limit)[1]:
            pass
        output: list[int] = []
        while len(output) < ANSWER - generated:
            output += [sampled.token for sampled in backend.step()]
        assert output == expected[generated:]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_share_a_prompt_are_sampled_separately(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    rendered = prompts.rendered(chat(RED, "Which?"))
    samplings = {1: GREEDY, 2: SEEDED, 3: GREEDY}
    conductor = Conductor(prompts.bench.backend())
    conductor.admit(9, prompts.rendered(chat("Hello")).tokens)
    conductor.backend.insert(samplings, rendered.tokens, media=rendered.media)
    conductor.running |= samplings.keys()
    conductor.tokens |= {row: [] for row in samplings}
    conductor.prefilling.append(1)
    conductor.finish()
    alone = ask(Conductor(prompts.bench.backend()), 1, rendered, SEEDED)
    expected = prompts.alone(chat(RED, "Which?"))
    assert conductor.tokens == {1: expected, 2: alone, 3: expected, 9: prompts.alone(chat("Hello"))}
    assert alone != expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_gives_the_same_tokens_in_any_batch(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    rendered, other = prompts.rendered(chat(RED, "Which?")), prompts.rendered(chat("Hello", GREEN, "How?"))
    alone = ask(Conductor(prompts.bench.backend()), 1, rendered, SEEDED)
    crowded = Conductor(prompts.bench.backend(), limit=30)
    for row in range(2, 4):
        crowded.admit(row, other.tokens, RowSampling(temperature=9.0, seed=row), media=other.media)
    crowded.admit(5, prompts.rendered(chat("Hello, who are you?")).tokens, SEEDED)
    crowded.step()
    crowded.admit(1, rendered.tokens, SEEDED, media=rendered.media)
    crowded.finish()
    assert crowded.tokens[1] == alone


@pytest.mark.parametrize("family", FAMILIES)
def test_aborting_all_rows_frees_their_caches(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    conductor = Conductor(prompts.bench.backend())
    for row, prompt in enumerate((chat(RED, "Which?"), chat("Hello"), chat(RED, "and", GREEN, "?"))):
        rendered = prompts.rendered(prompt)
        conductor.admit(row, rendered.tokens, media=rendered.media)
    for steps in range(6):
        conductor.step(5)
        assert conductor.backend.cache_nbytes > 0, steps
    conductor.remove([0, 1, 2])
    assert conductor.backend.cache_nbytes == 0


def test_embeddings_count_as_memory_until_the_last_image_is_in_the_cache(families: dict[str, Prompts]) -> None:
    prompts = families["qwen3_vl"]
    rendered = prompts.rendered(chat(RED, "and", GREEN, "What is to be seen here?"))
    backend = prompts.bench.backend()
    backend.insert({1: GREEDY}, rendered.tokens, media=rendered.media)
    (prefill,) = backend._prefills
    extra = []
    while remaining := backend.prefill([1], 8)[1]:
        extra.append((prefill.has_media_left, backend.cache_nbytes - kv.nbytes(prefill.cache)))
        assert remaining == prefill.remaining
    assert {has_media_left for has_media_left, _ in extra} == {True, False}
    assert all((nbytes > 0) is has_media_left for has_media_left, nbytes in extra)


@pytest.mark.parametrize("family", FAMILIES)
def test_evicting_all_prefixes_leaves_only_the_weights_in_memory(families: dict[str, Prompts], family: str) -> None:
    prompts, prefixes = families[family], small_blocks()
    conductor = Conductor(prompts.bench.backend(prefixes))
    mx.eval(conductor.backend._model.parameters())
    ask(conductor, 0, prompts.rendered(chat("Hello")))
    prefixes.evict(prefixes.nbytes)
    before = settled()
    for row, prompt in enumerate((chat(RED, "Which?"), chat(RED, "and", GREEN, "?")), start=1):
        rendered = prompts.rendered(prompt)
        conductor.admit(row, rendered.tokens, media=rendered.media)
    for _ in range(9):
        conductor.step()
    conductor.remove([1, 2])
    assert prefixes.nbytes > 0
    assert settled() > before
    prefixes.evict(prefixes.nbytes)
    assert settled() == before


def settled() -> int:
    """The bytes in use by MLX when no computation is in flight."""
    mx.synchronize()
    gc.collect()
    return int(mx.get_active_memory())


# The vision tower


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_question_about_the_same_image_needs_no_pass_of_the_tower(
    families: dict[str, Prompts], family: str
) -> None:
    prompts = families[family]
    conductor = Conductor(prompts.bench.backend(small_blocks()))
    for row, question in enumerate(("Which?", "What is it?", "Why?")):
        assert ask(conductor, row, prompts.rendered(chat(RED, question))) == prompts.alone(chat(RED, question))
    assert passes(conductor) == 1
    if family in CUTTABLE:
        media = prompts.rendered(chat(RED, "Why?")).media
        assert media
        assert conductor.cached[2] >= media.spans[-1][1]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_features_of_an_image_are_reused_without_its_prefix(families: dict[str, Prompts], family: str) -> None:
    """The question is before the image, so no beginning of the prompt is in the prefix cache."""
    prompts = families[family]
    conductor = Conductor(prompts.bench.backend(PrefixCache(ROOM)))
    for row, question in enumerate(("Which?", "What is it?")):
        ask(conductor, row, prompts.rendered(chat(question, RED, "Say!")))
    assert passes(conductor) == 1
    media = prompts.rendered(chat("What is it?", RED, "Say!")).media
    assert media
    assert conductor.cached[1] < media.spans[0][0] or family == "llava", "its template has images first"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_with_an_image_is_reused_without_its_features(families: dict[str, Prompts], family: str) -> None:
    prompts, prefixes = families[family], small_blocks()
    conductor = Conductor(prompts.bench.backend(prefixes))
    first = ask(conductor, 0, prompts.rendered(chat(RED, "Which?")))
    bench = prompts.bench
    answer = bench.tokenizer.decode(first)
    following = prompts.rendered(conversation([RED, "Which?"], [answer], ["And now?"]))
    for key in list(prefixes.for_model(bench.info.name)._features):
        prefixes.for_model(bench.info.name)._remove_features(key)
    ask(conductor, 1, following)
    assert following.media
    assert conductor.cached[1] >= following.media.spans[-1][1]
    assert passes(conductor) == 1


@pytest.mark.parametrize("family", QWENS)
def test_a_second_image_in_the_next_turn_needs_one_pass(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    conductor = Conductor(prompts.bench.backend(PrefixCache(ROOM)))
    ask(conductor, 0, prompts.rendered(chat(RED, "Which?")))
    before = passes(conductor)
    following = conversation([RED, "Which?"], ["Red."], [GREEN, "And?"])
    assert ask(conductor, 1, prompts.rendered(following)) == prompts.alone(following)
    assert passes(conductor) == before + 1
    ask(conductor, 2, prompts.rendered(chat(GREEN, "Why?")))
    assert passes(conductor) == before + 1, "its features were computed separately"


@pytest.mark.parametrize("family", FAMILIES)
def test_another_image_of_the_same_size_is_another_prompt(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    red, blue = (prompts.rendered(chat(one, "Which?")) for one in (RED, BLUE))
    assert red.media
    assert blue.media
    assert (red.media.tokens, red.media.spans) == (blue.media.tokens, blue.media.spans)
    conductor = Conductor(prompts.bench.backend(small_blocks()))
    ask(conductor, 0, red)
    assert ask(conductor, 1, blue) == prompts.alone(chat(BLUE, "Which?"))
    assert conductor.cached[1] <= blue.media.spans[0][0]
    assert passes(conductor) == 2


@pytest.mark.parametrize("family", CUTTABLE)
def test_a_cached_beginning_that_ends_inside_an_image_is_trimmed_to_its_start(
    families: dict[str, Prompts], family: str
) -> None:
    prompts = families[family]
    rendered = prompts.rendered(chat("Hello", RED, "Which?"))
    assert rendered.media
    start, end = rendered.media.spans[0]
    backend = prompts.bench.backend(small_blocks())
    conductor = Conductor(backend)
    ask(conductor, 0, rendered)
    # Only a part of the image is the same.
    other = [*rendered.tokens[: (start + end + 1) // 2], *[-5] * len(rendered.tokens)][: len(rendered.tokens)]
    assert backend.match(other) > start
    assert backend.insert({1: GREEDY}, other, media=rendered.media) == start


def test_features_count_towards_the_budget_and_can_be_evicted(families: dict[str, Prompts]) -> None:
    prompts = families["qwen3_vl"]
    one = features_nbytes(prompts)
    prefixes = PrefixCache(one)
    conductor = Conductor(prompts.bench.backend(prefixes))
    red, blue = (prompts.rendered(chat(each, "?")) for each in (RED, BLUE))
    for row, (rendered, count) in enumerate([(red, 1), (red, 1), (blue, 2), (red, 3), (red, 3)]):
        conductor.admit(row, rendered.tokens, media=rendered.media)
        while conductor.backend.prefill([row], 50)[row]:
            pass
        conductor.remove([row], keep=False)
        assert passes(conductor) == count
        assert prefixes.nbytes <= one
    prefixes.evict(1)
    assert prefixes.nbytes == 0


def features_nbytes(prompts: Prompts) -> int:
    """The bytes of the features of one image."""
    prefixes = PrefixCache(ROOM)
    backend = prompts.bench.backend(prefixes)
    rendered = prompts.rendered(chat(RED, "?"))
    assert rendered.media
    backend._model.embed(rendered.media)
    return prefixes.nbytes


def test_features_over_the_limit_are_not_kept(families: dict[str, Prompts]) -> None:
    prompts = families["qwen3_vl"]
    prefixes = PrefixCache(features_nbytes(prompts) - 1)
    model = prompts.bench.vision_model(prefixes)
    rendered = prompts.rendered(chat(RED, "?"))
    assert rendered.media
    assert model.tower_cache
    for count in (1, 2):
        model.embed(rendered.media)
        assert (model.tower_cache.passes, prefixes.nbytes) == (count, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_features_equal_those_of_the_tower_exactly(families: dict[str, Prompts], family: str) -> None:
    prompts = families[family]
    rendered = prompts.rendered(chat(RED, "and", GREEN, "?"))
    assert rendered.media
    model = prompts.bench.vision_model(PrefixCache(ROOM))
    cold, warm = model.embed(rendered.media), model.embed(rendered.media)
    assert mx.array_equal(cold.embeddings, warm.embeddings).item()
    assert model.tower_cache
    assert model.tower_cache.passes < model.tower_cache.calls * 2


# Images and videos


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_the_answer_about_a_video_is_the_same_with_chunks_of_any_size(
    families: dict[str, Prompts], family: str
) -> None:
    prompts, prompt = families[family], chat(video("red"), "Which?")
    rendered = prompts.rendered(prompt)
    for limit in (1, 7, 2048):
        assert ask(Conductor(prompts.bench.backend(), limit), 1, rendered) == prompts.alone(prompt)


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_an_image_and_a_video_in_one_prompt_are_both_used_or_refused(families: dict[str, Prompts], family: str) -> None:
    prompts, prompt = families[family], chat(RED, video("blue"), "Which?")
    rendered = prompts.rendered(prompt)
    conductor = Conductor(prompts.bench.backend())
    if family in {"qwen3_vl", "gemma4"}:
        assert ask(conductor, 1, rendered) == prompts.alone(prompt)
        return
    with pytest.raises(InvalidRequest, match="not both") as caught:
        ask(conductor, 1, rendered)
    assert caught.value.param == "messages"


@pytest.mark.parametrize("family", QWENS)
def test_a_text_prompt_after_one_with_images_starts_at_position_0(families: dict[str, Prompts], family: str) -> None:
    """The models of these families keep the positions of the last prompt."""
    prompts = families[family]
    conductor = Conductor(prompts.bench.backend())
    for row, prompt in enumerate([chat(RED, "and", GREEN, "?"), chat("Hello"), chat("Hello, who are you?")]):
        assert ask(conductor, row, prompts.rendered(prompt)) == prompts.alone(prompt)


def test_the_repr_counts_the_calls_and_passes_of_the_tower(families: dict[str, Prompts]) -> None:
    prompts = families["qwen3_vl"]
    conductor = Conductor(prompts.bench.backend(PrefixCache(ROOM)))
    for row, question in enumerate(("Which?", "What is it?")):
        ask(conductor, row, prompts.rendered(chat(question, RED, "Say!")))
    assert repr(conductor.backend._model) == "<VisionModel qwen3_vl <VisionTowerCache [2 calls | 1 passes]>>"
