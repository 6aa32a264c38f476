"""Answers of an engine in this process."""

from __future__ import annotations

import base64

import pytest

from pico_jupyter.engine.local_client import local_engine
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.calls import (
    AnswerRequest,
    Attachment,
    FinishPiece,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    Turn,
    Usage,
    UsagePiece,
)
from pico_jupyter.sources.engine_source import EngineSource
from pico_jupyter.types import (
    Accepted,
    ChatPrompt,
    EngineOptions,
    Finished,
    ImagePart,
    Message,
    Progress,
    ReasoningDelta,
    Structure,
    TextDelta,
    TextPart,
    Timings,
    TokenUsage,
)
from tests.fakes.engine_client import ScriptedEngine

DELTAS = (
    Accepted("tiny", 3, True),
    Progress("load", 1, 4),
    Progress("queue", 0, 0),
    ReasoningDelta("hm"),
    TextDelta("Hi"),
    Finished(("stop",), TokenUsage(3, 5, reasoning_tokens=2), Timings(1, 0, 0, 1)),
)


async def test_deltas_become_pieces() -> None:
    pieces = [
        piece async for piece in EngineSource(ScriptedEngine(DELTAS)).chat(AnswerRequest("tiny", (Turn("user", "hi"),)))
    ]
    assert pieces == [
        ProgressPiece(1, 4),
        ReasoningPiece("hm"),
        TextPiece("Hi"),
        FinishPiece("stop"),
        UsagePiece(Usage(3, 5, 2)),
    ]


async def test_a_call_becomes_a_request() -> None:
    engine = ScriptedEngine(DELTAS)
    picture = Attachment("image", "a.png", f"data:image/png;base64,{base64.b64encode(b'png').decode()}")
    call = AnswerRequest("tiny", (Turn("user", "what?", (picture,)),), "off", "Be brief.", 0.5, continues=True)
    _ = [piece async for piece in EngineSource(engine).chat(call)]
    (request,) = engine.requests
    assert (request.model, request.reasoning, request.sampling.temperature) == ("tiny", False, 0.5)
    assert isinstance(request.prompt, ChatPrompt)
    assert request.prompt.continue_final_message
    assert request.prompt.messages == (
        Message("system", (TextPart("Be brief."),)),
        Message("user", (ImagePart("messages[0].attachments[0]", data=b"png"), TextPart("what?"))),
    )


async def test_a_schema_becomes_the_structure_of_the_answer() -> None:
    engine = ScriptedEngine(DELTAS)
    _ = [piece async for piece in EngineSource(engine).chat(AnswerRequest("tiny", (), schema='{"type":"object"}'))]
    _ = [piece async for piece in EngineSource(engine).chat(AnswerRequest("tiny", ()))]
    structures = [request.structure for request in engine.requests]
    assert structures == [Structure("json_schema", '{"type":"object"}', "schema"), None]


async def test_images_of_one_message_have_different_params() -> None:
    engine = ScriptedEngine(DELTAS)
    pictures = tuple(Attachment("image", "", f"data:image/png;base64,{letter}aaa") for letter in "ab")
    _ = [piece async for piece in EngineSource(engine).chat(AnswerRequest("tiny", (Turn("user", "what?", pictures),)))]
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    params = [part.param for part in prompt.messages[0].content if isinstance(part, ImagePart)]
    assert params == ["messages[0].attachments[0]", "messages[0].attachments[1]"]


async def test_invalid_base64_is_refused() -> None:
    call = AnswerRequest("tiny", (Turn("user", "", (Attachment("image", "a.png", "data:image/png;base64,?!"),)),))
    with pytest.raises(InvalidRequest, match="invalid image input"):
        _ = [piece async for piece in EngineSource(ScriptedEngine(DELTAS)).chat(call)]


async def test_the_built_in_model_is_listed_without_starting_an_engine() -> None:
    source = EngineSource(local_engine(EngineOptions()))
    models = {model.name: model for model in await source.models()}
    assert models["pico-tiny"].resident is None
    assert "thinking" in models["pico-tiny"].capabilities
    assert {need.model: need.fit for need in (await source.memory()).needs}["pico-tiny"] == "fits"
    assert repr(source) == "<EngineSource <LocalEngineClient not started>>"
