"""v1/embeddings and v1/rerank: questions, answers and refusals."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from pico_jupyter.dialects.openai_embeddings import (
    embedding_list,
    parse_openai_embeddings,
    parse_rerank,
    rerank_answer,
)
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.questions import Embed
from tests.dialects.samples import TIMINGS, encoded

VECTORS = ((1.0, 0.0), (0.6, 0.8), (0.8, 0.6))
FOUND = Embeddings("Tiny-Embed", tuple(struct.pack("2f", *vector) for vector in VECTORS), 9, TIMINGS)
INPUT_TYPES = (
    "expected a string, or an array of strings, of integers or of arrays of integers, but got an array instead."
)


def question(**members: Any) -> Embed:
    return parse_openai_embeddings(encoded(model="m", **members)).question


@pytest.mark.parametrize(
    ("value", "inputs", "params"),
    [
        ("a", ("a",), ("input",)),
        (["a", "b"], ("a", "b"), ("input[0]", "input[1]")),
        ([1, 2], ((1, 2),), ("input",)),
        ([[1, 2], [3.0]], ((1, 2), (3,)), ("input[0]", "input[1]")),
        ([5.0], ((5,),), ("input",)),
    ],
)
def test_the_input_is_a_text_texts_tokens_or_lists_of_tokens(value: Any, inputs: Any, params: Any) -> None:
    assert question(input=value) == Embed("m", inputs, params=params)


def test_dimensions_are_passed_on_and_long_texts_are_not_cut() -> None:
    asked = question(input="a", dimensions=5.0, user="u")
    assert (asked.dimensions, asked.truncate, asked.keep_alive) == (5, False, None)


@pytest.mark.parametrize(
    ("members", "param", "message"),
    [
        ({"input": "a"}, "model", "Missing required parameter: 'model'."),
        ({"model": "m"}, "input", "Missing required parameter: 'input'."),
        (
            {"model": "m", "input": []},
            "input",
            "Invalid value for 'input': it must have at least 1 items, but it has 0.",
        ),
        ({"model": "m", "input": ["a", 1]}, "input", f"Invalid type for 'input': {INPUT_TYPES}"),
        ({"model": "m", "input": [["a"]]}, "input[0][0]", "Invalid type for 'input[0][0]': expected an integer"),
        ({"model": "m", "input": [-1]}, "input[0]", "Invalid value for 'input[0]': it must be at least 0."),
        ({"model": "m", "input": {"text": "a"}}, "input", "Invalid type for 'input': expected a string or an array"),
        ({"model": "m", "input": "a", "dimensions": 0}, "dimensions", "Invalid value for 'dimensions'"),
        (
            {"model": "m", "input": "a", "encoding_format": "int8"},
            "encoding_format",
            "Invalid value: 'int8'. Supported values are: 'base64', 'float'.",
        ),
    ],
)
def test_a_wrong_field_of_embeddings_is_named(members: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_openai_embeddings(encoded(**members))
    assert caught.value.param == param
    assert caught.value.message.startswith(message)


def test_vectors_are_numbers() -> None:
    call = parse_openai_embeddings(encoded(model="tiny", input=["a", "b", "c"]))
    assert json.loads(embedding_list(call, FOUND)) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": pytest.approx(vector)}
            for index, vector in enumerate(VECTORS)
        ],
        "model": "tiny",
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }


def test_vectors_are_the_bytes_of_floats_in_base64() -> None:
    call = parse_openai_embeddings(encoded(model="tiny", input=["a", "b", "c"], encoding_format="base64"))
    first = json.loads(embedding_list(call, FOUND))["data"][1]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(first)) == pytest.approx((0.6, 0.8))


def test_the_bytes_of_an_answer_are_these() -> None:
    call = parse_openai_embeddings(encoded(model="tiny", input="a"))
    one = Embeddings("tiny", (struct.pack("2f", 0.5, -0.25),), 3, TIMINGS)
    assert embedding_list(call, one) == (
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-0.25]}],'
        b'"model":"tiny","usage":{"prompt_tokens":3,"total_tokens":3}}'
    )


def test_a_query_and_documents_are_embedded_together_and_cut() -> None:
    call = parse_rerank(encoded(model="m", query="q", documents=["a", {"text": "b"}], top_n=1))
    assert call.question == Embed("m", ("q", "a", "b"), truncate=True, params=("query", "documents[0]", "documents[1]"))


def test_documents_are_ordered_by_their_similarity_to_the_query() -> None:
    call = parse_rerank(encoded(model="tiny", query="q", documents=["a", "b"], return_documents=True))
    assert json.loads(rerank_answer(call, FOUND, "rerank-1")) == {
        "id": "rerank-1",
        "model": "tiny",
        "results": [
            {"index": 1, "relevance_score": pytest.approx(0.8), "document": {"text": "b"}},
            {"index": 0, "relevance_score": pytest.approx(0.6), "document": {"text": "a"}},
        ],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (9, 2)])
def test_top_n_limits_the_documents_and_texts_are_returned_only_on_request(top_n: int, count: int) -> None:
    call = parse_rerank(encoded(model="tiny", query="q", documents=["a", "b"], top_n=top_n))
    results = json.loads(rerank_answer(call, FOUND, "rerank-1"))["results"]
    assert len(results) == count
    assert all("document" not in result for result in results)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": [1]}, "documents[0]"),
        ({"query": "q", "documents": [{"title": "a"}]}, "documents[0].text"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
    ],
)
def test_a_wrong_field_of_rerank_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_rerank(encoded(model="m", **members))
    assert caught.value.param == param
