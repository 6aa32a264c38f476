"""The size of a prefill chunk, by the measured speed of a model."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.scheduling.chunk_sizer import ChunkSizer


def measured(seconds_per_token: float, max_chunk: int = 2048) -> ChunkSizer:
    sizer = ChunkSizer(max_chunk)
    sizer.record(1000, 1000 * seconds_per_token)
    return sizer


def test_the_first_chunk_of_a_model_has_256_tokens_or_the_limit() -> None:
    assert ChunkSizer(2048).next_chunk(decoding=0, prefilling=1) == 256
    assert ChunkSizer(2048).next_chunk(decoding=1, prefilling=1) == 256
    assert ChunkSizer(100).next_chunk(decoding=1, prefilling=1) == 100


@pytest.mark.parametrize(
    ("seconds_per_token", "alone", "while_decoding"),
    [(0.001, 128, 64), (0.0005, 256, 192), (0.00001, 2048, 512), (1.0, 64, 64), (0.0, 2048, 512)],
)
def test_a_chunk_takes_0_10_seconds_while_rows_decode_and_0_15_seconds_otherwise(
    seconds_per_token: float, alone: int, while_decoding: int
) -> None:
    sizer = measured(seconds_per_token)
    assert sizer.next_chunk(decoding=0, prefilling=1) == alone
    assert sizer.next_chunk(decoding=1, prefilling=1) == while_decoding


def test_chunks_are_larger_when_more_prompts_wait_than_rows_decode() -> None:
    sizer = measured(0.001)
    sizes = [sizer.next_chunk(decoding=4, prefilling=prefilling) for prefilling in (1, 4, 8, 100)]
    assert sizes == [64, 64, 192, 192]
    assert sizer.next_chunk(decoding=0, prefilling=8) == 320


def test_no_chunk_exceeds_the_configured_limit() -> None:
    assert measured(0.0, max_chunk=300).next_chunk(decoding=0, prefilling=1) == 300
    assert measured(1.0, max_chunk=10).next_chunk(decoding=1, prefilling=1) == 10


def test_chunks_shrink_when_a_model_becomes_slower() -> None:
    sizer = measured(0.0001)
    before = sizer.next_chunk(decoding=1, prefilling=1)
    for _ in range(4):
        sizer.record(256, 0.256)
    assert sizer.next_chunk(decoding=1, prefilling=1) < before


def test_small_chunks_are_not_measured() -> None:
    sizer = measured(0.001)
    sizer.record(3, 10.0)
    assert sizer.next_chunk(decoding=0, prefilling=1) == 128
