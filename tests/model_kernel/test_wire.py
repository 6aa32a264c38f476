"""Messages of the link are decoded as they were encoded."""

import math

import msgspec
import pytest
from jupyter_client.session import Session

from pico_jupyter import errors
from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded, ResidentModel
from pico_jupyter.errors import ContextLengthExceeded, EngineFailed, PicoError, QueueFull
from pico_jupyter.model_kernel import wire
from pico_jupyter.questions import (
    DescribeMemory,
    FindModel,
    ListModels,
    ListResident,
    LoadModel,
    Question,
    ReadStatistics,
    UnloadModel,
)
from pico_jupyter.types import (
    ChatPrompt,
    EngineOptions,
    GenerationRequest,
    ImagePart,
    Message,
    SamplingParams,
    TextDelta,
    TextPart,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
    TopLogprob,
)
from tests.fakes.engine_client import FINISHED, MEMORY, MODEL

REQUEST = GenerationRequest(
    id="r",
    model="tiny",
    prompt=ChatPrompt(
        (
            Message("user", (TextPart("é\u2028"), ImagePart("messages[0]", b"\x89PNG\xff"))),
            Message("assistant", tool_calls=(ToolCall("call_1", "f", '{"a": 1}'),)),
        )
    ),
    sampling=SamplingParams(temperature=0.5, logit_bias={5: -100.0}),
    keep_alive=math.inf,
    stop=("\n",),
)
LOGPROB = TokenLogprob("\ufffd", -math.inf, b"\xe2\x82", (TopLogprob("a", -0.5, b"a"),))

REQUESTS: list[wire.LinkRequest] = [
    wire.Generate(1, REQUEST),
    wire.Ask(2, ListModels()),
    wire.Ask(3, FindModel("tiny")),
    wire.Ask(4, LoadModel("tiny", math.inf)),
    wire.Ask(5, UnloadModel("tiny")),
    wire.Ask(6, ListResident()),
    wire.Ask(7, DescribeMemory()),
    wire.Ask(8, ReadStatistics()),
    wire.Abort(7),
]
ANSWERS: list[wire.KernelMessage] = [
    wire.DeltaBatches(
        (
            wire.DeltaBatch(
                1, 2, (TextDelta("a", 1, (LOGPROB,)), ToolCallDelta(ToolCall("c", "f", "{}")), ToolCallPart("{"))
            ),
        )
    ),
    wire.Failed(1, wire.report(QueueFull("busy", retry_after=3))),
    wire.Answered(2, b"bytes"),
    wire.DeltaBatches((wire.DeltaBatch(1, 1, (TextDelta("a"),)), wire.DeltaBatch(2, 5, (FINISHED,)))),
    wire.Heartbeat((1, 2)),
    wire.PublishedEvent(ModelLoaded("tiny", 1000, 0.5)),
    wire.PublishedEvent(EngineStatistics(1, 2, 3, 4, 5)),
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (ListModels(), (MODEL,)),
        (FindModel("tiny"), MODEL),
        (ListResident(), (ResidentModel(MODEL, 1000, None, 1),)),
        (DescribeMemory(), MEMORY),
        (LoadModel("tiny"), None),
        (UnloadModel("tiny"), None),
        (ReadStatistics(), EngineStatistics(1, 2, 3, 4, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_answer_to_a_question_survives_encoding(question: Question[object], answer: object) -> None:
    assert wire.answer_to(question, wire.encode(answer)) == answer


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_requests_survive_encoding(request_: wire.LinkRequest) -> None:
    assert wire.decode_request(wire.encode(request_)) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_messages_of_the_kernel_survive_encoding(answer: wire.KernelMessage) -> None:
    assert wire.decode_message(wire.encode(answer)) == answer


def test_requests_that_must_not_wait_for_a_load_use_the_control_channel() -> None:
    sent = [request.question if isinstance(request, wire.Ask) else request for request in REQUESTS]
    channels = [request.channel for request in REQUESTS]
    named = zip([type(one).__name__ for one in sent], channels, strict=True)
    assert [name for name, channel in named if channel == "control"] == [
        "UnloadModel",
        "ListResident",
        "DescribeMemory",
        "ReadStatistics",
        "Abort",
    ]


def every_error_class() -> list[type[PicoError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PicoError)]


@pytest.mark.parametrize("kind", every_error_class())
def test_every_error_arrives_as_its_own_class_with_its_fields(kind: type[PicoError]) -> None:
    sent = kind("words", param="model", code="a_code", model="tiny", retry_after=7)
    report = msgspec.msgpack.decode(msgspec.msgpack.encode(wire.report(sent)), type=wire.ErrorReport)
    arrived = wire.error_from(report)
    assert type(arrived) is kind
    assert vars(arrived) == vars(sent)


def test_an_error_keeps_the_code_of_its_class() -> None:
    assert wire.error_from(wire.report(ContextLengthExceeded("too long"))).code == "context_length_exceeded"


def test_an_error_of_an_unknown_class_becomes_engine_failed() -> None:
    assert isinstance(wire.error_from(wire.ErrorReport("FromTheFuture", "words")), EngineFailed)


def test_options_with_an_infinite_keep_alive_survive_encoding() -> None:
    options = EngineOptions(model_dirs=("/a b", "/ü"), keep_alive=math.inf, memory_budget=5)
    assert wire.options_from(wire.options_text(options)) == options


def test_a_hash_matches_its_payload_only() -> None:
    session = Session()
    content = session.deserialize(wire.serialize(session, wire.REQUEST_TYPE, b"payload")[1:])["content"]
    assert wire.matches_digest(content, memoryview(b"payload"))
    assert not wire.matches_digest(content, b"other")
    assert not wire.matches_digest({}, b"payload")
