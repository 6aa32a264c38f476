"""EmbeddingLane and the scheduler with texts: batches, turns, chats beside them, failures and aborts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pico_jupyter.engine.scheduling.embedding_lane import MAX_BATCH_TOKENS, batch_tokens
from pico_jupyter.engine.scheduling.sequence import Generation, Timestamps
from pico_jupyter.errors import EngineFailed, OutOfMemory
from pico_jupyter.types import ModelInfo
from tests.engine.scheduling.scheduler_rig import Rig
from tests.fakes.backend import FakeBackend, FakePrefixes, ListSink, fake_info

EMBEDDER = fake_info("embedder")


@dataclass
class FakeEmbedder:
    """An EmbeddingBackend. The vector of a text is the bytes of its tokens. `breaking` tokens make a batch fail."""

    parts: int = 1
    breaking: frozenset[int] = frozenset()
    weights_nbytes: int = 1000
    cache_nbytes: int = 0
    batches: list[list[list[int]]] = field(default_factory=list)
    is_closed: bool = False
    on_part: Callable[[], None] = lambda: None

    def load_step(self) -> int:
        return 0

    def estimate_cache(self, tokens: int) -> int:
        return tokens

    def embed(self, texts: Sequence[Sequence[int]], limit: int) -> Iterator[Sequence[bytes] | None]:
        self.batches.append([list(text) for text in texts])
        for _ in range(self.parts - 1):
            self.on_part()
            yield None
        self.on_part()
        if any(self.breaking.intersection(text) for text in texts):
            raise RuntimeError("broken")
        yield [bytes(text) for text in texts]

    def close(self) -> None:
        self.is_closed = True


class EmbeddingRig(Rig):
    """A Rig with a chat model, and the embedding model EMBEDDER."""

    def __init__(self, embedder: FakeEmbedder | None = None, **options: int) -> None:
        self.embedder = embedder or FakeEmbedder()
        self.embedder.on_part = lambda: self.clock.advance(0.01)
        super().__init__(make=self._make_either, **options)  # type: ignore[arg-type]  # embedders are loaded too

    def _make_either(self, info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend | FakeEmbedder:
        if info.name == EMBEDDER.name:
            return self.embedder
        return FakeBackend(weights_nbytes=info.size, prefixes=prefixes, on_step=lambda: self.clock.advance(0.01))

    def embed(self, *texts: list[int]) -> tuple[Generation, ListSink]:
        sink = ListSink()
        generation = Generation(
            "embed", EMBEDDER, [], 0, False, [], None, 300.0, sink, Timestamps(self.clock()), texts=list(texts)
        )
        generation.vectors = [None] * len(texts)
        self.scheduler.add(generation)
        return generation, sink


def test_each_text_gets_its_vector_in_order_and_the_tokens_are_counted() -> None:
    rig = EmbeddingRig(prefill_step_size=64)
    generation, sink = rig.embed([1, 2, 3], [4], [5, 6])
    rig.run()
    assert generation.vectors == [b"\1\2\3", b"\4", b"\5\6"]
    assert sink.finished is not None
    assert sink.finished.usage.prompt_tokens == 6


def test_texts_of_several_requests_share_a_batch_of_similar_length() -> None:
    rig = EmbeddingRig(prefill_step_size=8)
    rig.embed([1, 1, 1, 1], [1])
    rig.embed([2, 2, 2, 2], [2])
    rig.run()
    assert rig.embedder.batches == [[[1, 1, 1, 1], [2, 2, 2, 2]], [[2], [1]]]


def test_a_batch_is_not_larger_than_the_chunk_with_its_padding() -> None:
    rig = EmbeddingRig(prefill_step_size=8)
    rig.embed([1] * 4, [2] * 3, [3] * 3, [4] * 20)
    rig.run()
    assert [len(batch) * max(map(len, batch)) for batch in rig.embedder.batches] == [20, 8, 3]


def test_requests_take_turns() -> None:
    rig = EmbeddingRig(prefill_step_size=4)
    rig.embed(*[[1] * 4] * 10)
    _, short = rig.embed([2] * 4)
    rig.step_until(lambda: short.finished is not None)
    assert len(rig.embedder.batches) <= 3


def test_a_chat_decodes_beside_many_texts() -> None:
    rig = EmbeddingRig(prefill_step_size=4)
    _, chat = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(chat.text))
    _, texts = rig.embed(*[[1] * 4] * 20)
    rig.step_until(lambda: texts.finished is not None)
    assert len(chat.text.split()) > 5
    rig.run()
    assert chat.finished is not None


def test_another_lane_has_a_turn_between_the_parts_of_a_batch() -> None:
    rig = EmbeddingRig(FakeEmbedder(parts=5), prefill_step_size=4)
    _, chat = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(chat.text))
    rig.embed([1] * 20)
    rig.step_until(lambda: bool(rig.embedder.batches))
    before = len(chat.text)
    rig.run()
    assert rig.embedder.batches == [[[1] * 20]]
    assert len(chat.text) > before


def test_a_failing_text_fails_only_its_request() -> None:
    rig = EmbeddingRig(FakeEmbedder(breaking=frozenset({9})), prefill_step_size=64)
    good, good_sink = rig.embed([1], [2])
    _, bad_sink = rig.embed([9])
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert isinstance(bad_sink.error, EngineFailed)
    assert good_sink.finished is not None
    assert good.vectors == [b"\1", b"\2"]


def test_a_batch_that_failed_once_is_computed_again() -> None:
    rig = EmbeddingRig(FakeEmbedder(breaking=frozenset({9})), prefill_step_size=64)
    generation, sink = rig.embed([9])
    rig.recover_until(lambda: generation.failures == 1)
    rig.embedder.breaking = frozenset()
    rig.run()
    assert sink.finished is not None


def test_an_aborted_request_ends_and_the_others_continue() -> None:
    rig = EmbeddingRig(FakeEmbedder(parts=3), prefill_step_size=64)
    first, _ = rig.embed([1])
    second, sink = rig.embed([2])
    rig.step_until(lambda: bool(rig.embedder.batches))
    rig.scheduler.abort(first)
    rig.run()
    assert first.vectors == [None]
    assert second.vectors == [b"\2"]
    assert sink.finished is not None


def test_everything_is_freed_at_the_end() -> None:
    rig = EmbeddingRig()
    generation, _ = rig.embed([1], [2])
    rig.run()
    resident = rig.models.get(EMBEDDER)
    assert resident is not None
    assert (resident.reserved, resident.running, generation.reserved) == (0, 0, 0)
    rig.clock.advance(301)
    rig.scheduler.step()
    assert rig.embedder.is_closed


def test_a_text_that_does_not_fit_into_memory_is_refused() -> None:
    rig = EmbeddingRig(budget=1500)
    _, sink = rig.embed([1] * 1000)
    rig.recover_until(lambda: sink.error is not None)
    assert isinstance(sink.error, OutOfMemory)


def test_a_batch_reserves_memory_for_its_longest_text_or_a_full_batch() -> None:
    assert batch_tokens([[1] * 3, [1]]) == 4
    assert batch_tokens([[1] * 100] * 100) == MAX_BATCH_TOKENS
    assert batch_tokens([[1] * (MAX_BATCH_TOKENS + 5), [1]]) == MAX_BATCH_TOKENS + 5
