"""api/embed and api/embeddings: questions, answers and refusals."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from pico_jupyter.dialects.ollama_embeddings import (
    embed_answer,
    embedding_answer,
    parse_ollama_embed,
    parse_ollama_embeddings,
)
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.questions import Embed, LoadModel
from tests.dialects.samples import TIMINGS, encoded

FOUND = Embeddings("tiny", (struct.pack("2f", 0.5, -0.25),), 3, TIMINGS)


@pytest.mark.parametrize(("value", "inputs"), [("a", ("a",)), (["a", "b"], ("a", "b")), (["a", ""], ("a", ""))])
def test_the_input_is_a_text_or_texts_that_are_cut(value: Any, inputs: Any) -> None:
    assert parse_ollama_embed(encoded(model="m", input=value)) == Embed("m", inputs, truncate=True)


def test_the_fields_of_ollama_are_passed_on() -> None:
    body = encoded(model="m", input="a", truncate=False, dimensions=5, keep_alive="1h", options={"num_ctx": 7})
    assert parse_ollama_embed(body) == Embed("m", ("a",), 5, truncate=False, keep_alive=3600.0)


@pytest.mark.parametrize("members", [{}, {"input": ""}, {"input": []}, {"input": [""]}, {"input": None}])
def test_a_request_without_a_text_loads_the_model(members: dict[str, Any]) -> None:
    assert parse_ollama_embed(encoded(model="m", keep_alive=-1, **members)) == LoadModel("m", math.inf)
    assert parse_ollama_embeddings(encoded(model="m", prompt="")) == LoadModel("m")


def test_the_old_endpoint_embeds_one_text() -> None:
    assert parse_ollama_embeddings(encoded(model="m", prompt="a", keep_alive=5)) == (
        Embed("m", ("a",), truncate=True, keep_alive=5.0)
    )


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": "a"}, "model"),
        ({"model": "m", "input": 5}, "input"),
        ({"model": "m", "input": [["a"]]}, "input[0]"),
        ({"model": "m", "input": "a", "dimensions": -1}, "dimensions"),
        ({"model": "m", "input": "a", "keep_alive": "soon"}, "keep_alive"),
        ({"model": "m", "input": "a", "truncate": "no"}, "truncate"),
    ],
)
def test_a_wrong_field_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_ollama_embed(encoded(**members))
    assert caught.value.param == param


def test_the_bytes_of_the_answers_are_these() -> None:
    assert embed_answer("tiny:latest", FOUND) == (
        b'{"model":"tiny:latest","embeddings":[[0.5,-0.25]],"total_duration":174560334,"load_duration":1013970,'
        b'"prompt_eval_count":3}\n'
    )
    assert embedding_answer("tiny", FOUND) == b'{"embedding":[0.5,-0.25]}\n'


def test_a_request_that_only_loads_has_no_vectors() -> None:
    assert embed_answer("tiny", None) == (
        b'{"model":"tiny","embeddings":[],"total_duration":0,"load_duration":0,"prompt_eval_count":0}\n'
    )
    assert embedding_answer("tiny", None) == b'{"embedding":[]}\n'
