"""LocalEngineClient: one protocol for every reader, and the whole road with the real model."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
from mlx_lm.utils import load_model, quantize_model

from pico_jupyter.client import LocalEngine, collect
from pico_jupyter.engine.backend import Backend, SampledToken
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.local_client import LocalEngineClient
from pico_jupyter.engine_reports import EngineStatistics, ModelEvent, ModelLoaded, ModelNeed, ModelUnloaded
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound
from pico_jupyter.questions import (
    DescribeMemory,
    FindModel,
    ListModels,
    ListResident,
    LoadModel,
    ReadStatistics,
    UnloadModel,
)
from pico_jupyter.types import (
    Accepted,
    ChatPrompt,
    EngineOptions,
    Finished,
    GenerationRequest,
    Message,
    ModelInfo,
    RawPrompt,
    ReasoningDelta,
    SamplingParams,
    TextDelta,
    TextPart,
)
from tests.engine.conftest import StartEngine
from tests.fakes.link import until
from tests.fakes.models import FakeModels

GREEDY = SamplingParams(temperature=0.0)
SUM = "What is 12 + 35?"


def ask(text: str = SUM, model: str = "pico-tiny", **fields: object) -> GenerationRequest:
    prompt = ChatPrompt((Message("user", (TextPart(text),)),))
    return GenerationRequest(id=text, model=model, prompt=prompt, **fields)  # type: ignore[arg-type]  # any field


def as_engine_client(client: LocalEngineClient) -> LocalEngine:
    """mypy checks here that the client implements the protocol."""
    return client


async def idle(client: LocalEngineClient) -> bool:
    statistics = await client.ask(ReadStatistics())
    return (statistics.running, statistics.waiting) == (0, 0)


async def test_the_built_in_model_reasons_and_answers(start: StartEngine) -> None:
    client = start()
    async with aclosing(client.generate(ask(reasoning=True, sampling=GREEDY))) as stream:
        deltas = [delta async for delta in stream]
    assert isinstance(deltas[0], Accepted)
    assert deltas[0].reasoning
    assert [delta for delta in deltas if isinstance(delta, Finished)] == [deltas[-1]]
    text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    reasoning = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    assert "47" in text
    assert reasoning.strip()
    assert "<think>" not in text + reasoning
    finished = deltas[-1]
    assert isinstance(finished, Finished)
    assert finished.finish_reasons == ("stop",)
    assert 0 < finished.usage.reasoning_tokens < finished.usage.completion_tokens
    assert finished.usage.prompt_tokens == deltas[0].prompt_tokens
    assert finished.timings.prefill_ns > 0
    assert finished.timings.decode_ns > 0


async def test_with_reasoning_off_there_is_no_reasoning(start: StartEngine) -> None:
    answer = await collect(start().generate(ask(reasoning=False, sampling=GREEDY)))
    assert answer.choices[0].text
    assert answer.choices[0].reasoning == ""
    assert answer.usage.reasoning_tokens == 0


async def test_concurrent_requests_get_the_answers_that_they_get_alone(start: StartEngine) -> None:
    client = start(options=EngineOptions(max_batch_size=4, prefill_step_size=8))
    requests = [ask(f"What is {number} + 35?", sampling=GREEDY, reasoning=True) for number in range(11, 15)]
    together = await asyncio.gather(*(collect(client.generate(request)) for request in requests))
    alone = [await collect(client.generate(request)) for request in requests]
    assert [answer.choices for answer in together] == [answer.choices for answer in alone]
    assert "47" in together[1].choices[0].text


async def test_a_seed_gives_the_same_text_in_any_batch(start: StartEngine) -> None:
    client = start()
    seeded = ask("Hello", sampling=SamplingParams(temperature=1.2, seed=11), max_tokens=24)
    alone = await collect(client.generate(seeded))
    others = [ask("Who are you?", sampling=SamplingParams(temperature=1.0), max_tokens=24) for _ in range(3)]
    together = await asyncio.gather(*(collect(client.generate(request)) for request in [*others, seeded]))
    assert together[-1].choices == alone.choices


async def test_choices_differ_and_are_those_of_their_seeds(start: StartEngine) -> None:
    client = start()

    def seeded(seed: int, n: int = 1) -> GenerationRequest:
        return ask("Hello", sampling=SamplingParams(temperature=1.5, seed=seed), max_tokens=16, n=n, reasoning=False)

    three = await collect(client.generate(seeded(5, n=3)), n=3)
    single = [await collect(client.generate(seeded(seed))) for seed in (5, 6, 7)]
    assert [choice.text for choice in three.choices] == [answer.choices[0].text for answer in single]
    assert len({choice.text for choice in three.choices}) > 1


async def test_a_stop_string_ends_the_answer_before_it(start: StartEngine) -> None:
    client = start()
    whole = await collect(client.generate(ask(sampling=GREEDY, reasoning=True)))
    stopped = await collect(client.generate(ask(sampling=GREEDY, reasoning=True, stop=("= ",))))
    assert stopped.choices[0].text == whole.choices[0].text.split("= ")[0]
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.usage.completion_tokens < whole.usage.completion_tokens


async def test_the_tokens_of_the_log_probabilities_join_to_the_text(start: StartEngine) -> None:
    answer = await collect(start().generate(ask(sampling=GREEDY, reasoning=False, top_logprobs=3)))
    (choice,) = answer.choices
    assert b"".join(one.token_bytes for one in choice.logprobs).decode() == choice.text != ""
    assert all(one.logprob <= 0 and len(one.top) == 3 for one in choice.logprobs)
    assert all(one.top[0].token == one.token for one in choice.logprobs), "greedy sampling returns the likeliest token"


async def test_max_tokens_limits_the_answer(start: StartEngine) -> None:
    client = start()
    for limit in (0, 1, 5):
        answer = await collect(client.generate(ask(sampling=GREEDY, max_tokens=limit)))
        assert answer.usage.completion_tokens == limit
        assert answer.choices[0].finish_reason == "length"


async def test_the_context_of_an_answer_holds_its_prompt(start: StartEngine) -> None:
    answer = await collect(start().generate(ask(sampling=GREEDY, max_tokens=4, return_context=True)))
    assert len(answer.context) == answer.usage.prompt_tokens + 4


async def test_two_real_models_answer_at_once(start: StartEngine) -> None:
    client = start()
    requests = [ask(model=model, sampling=GREEDY, reasoning=True) for model in ("pico-tiny", "second")]
    first, second = await asyncio.gather(*(collect(client.generate(request)) for request in requests))
    assert first.choices == second.choices
    assert {resident.info.name for resident in await client.ask(ListResident())} == {"pico-tiny", "second"}


async def test_a_prompt_over_the_context_is_refused_before_it_is_accepted(start: StartEngine) -> None:
    request = GenerationRequest(id="long", model="pico-tiny", prompt=RawPrompt("word " * 50_000))
    with pytest.raises(ContextLengthExceeded):
        await anext(start().generate(request))


async def test_an_invalid_bias_is_refused_before_it_is_accepted(start: StartEngine) -> None:
    with pytest.raises(InvalidRequest):
        await anext(start().generate(ask(sampling=SamplingParams(logit_bias={10**9: 1.0}))))


async def test_closing_the_iterator_aborts(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    async with aclosing(client.generate(ask())) as deltas:
        async for delta in deltas:
            if isinstance(delta, TextDelta):
                break
    assert await idle(client)


async def test_cancelling_a_waiting_reader_aborts(start: StartEngine, fake_models: FakeModels) -> None:
    fake_models.gate.close()
    client = start(fake_models)
    reader = asyncio.create_task(collect(client.generate(ask())))
    await asyncio.to_thread(fake_models.gate.wait_for_arrivals, 1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    fake_models.gate.open()
    assert await idle(client)


async def test_closing_before_the_first_delta_aborts(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    deltas = client.generate(ask())
    first = asyncio.ensure_future(anext(deltas))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await deltas.aclose()
    assert (await collect(client.generate(ask(max_tokens=2)))).usage.completion_tokens == 2
    assert await idle(client)


async def test_an_iterator_that_was_never_started_sends_no_request(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    await client.generate(ask()).aclose()
    assert await client.ask(ListResident()) == ()
    assert fake_models.backends == {}


def test_several_event_loops_share_an_engine(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    counts: list[int] = []

    def own_loop(limit: int) -> None:
        async def count() -> int:
            return (await collect(client.generate(ask(max_tokens=limit)))).usage.completion_tokens

        counts.append(asyncio.run(count()))

    threads = [threading.Thread(target=own_loop, args=(limit,)) for limit in (3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [3, 5, 7]


async def test_the_catalog_is_read_without_starting_a_model(start: StartEngine, fake_models: FakeModels) -> None:
    client = as_engine_client(start(fake_models))
    assert repr(client).startswith("<LocalEngineClient <Engine running <Scheduler [0 running | 0 waiting]>")
    assert {"pico-tiny", "second", "third"} <= {info.name for info in await client.ask(ListModels())}
    assert (await client.ask(FindModel("Second:latest"))).name == "second"
    with pytest.raises(ModelNotFound):
        await client.ask(FindModel("unknown"))
    assert await client.ask(ListResident()) == ()


async def test_a_listener_is_called_in_its_event_loop_for_each_load_and_unload(
    start: StartEngine, fake_models: FakeModels
) -> None:
    client = start(fake_models)
    events: list[ModelEvent] = []
    threads: set[int] = set()

    def listen(event: ModelEvent) -> None:
        threads.add(threading.get_ident())
        events.append(event)

    client.listen(listen)
    await client.ask(LoadModel("PICO-tiny:latest"))
    await client.ask(UnloadModel("pico-tiny"))
    await until(lambda: len(events) == 2)
    loaded, unloaded = events
    assert isinstance(loaded, ModelLoaded)
    assert isinstance(unloaded, ModelUnloaded)
    assert (loaded.model, loaded.size, unloaded.model) == ("pico-tiny", fake_models.backend.weights_nbytes, "pico-tiny")
    assert threads == {threading.get_ident()}


def test_a_listener_with_a_closed_event_loop_is_ignored(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    events: list[ModelEvent] = []

    async def listen() -> None:
        client.listen(events.append)

    asyncio.run(listen())
    asyncio.run(client.ask(LoadModel("pico-tiny")))
    assert len(asyncio.run(client.ask(ListResident()))) == 1
    assert events == []


async def test_the_memory_report_counts_the_loaded_models(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    await client.ask(LoadModel("pico-tiny"))
    report = await client.ask(DescribeMemory())
    needs = {need.model: need for need in report.needs}
    assert needs["pico-tiny"] == ModelNeed("pico-tiny", fake_models.backend.weights_nbytes, "loaded")
    assert needs["second"].fit == "fits"
    assert (report.used, report.available) == (fake_models.backend.weights_nbytes, report.budget)
    await client.ask(UnloadModel("pico-tiny"))
    assert (await client.ask(DescribeMemory())).used == 0


async def test_the_statistics_count_running_requests_and_resident_bytes(
    start: StartEngine, fake_models: FakeModels
) -> None:
    client = start(fake_models)
    assert await client.ask(ReadStatistics()) == EngineStatistics()
    async with aclosing(client.generate(ask())) as deltas:
        async for delta in deltas:
            if isinstance(delta, TextDelta):
                break
        statistics = await client.ask(ReadStatistics())
    assert statistics.running == 1
    assert statistics.resident_bytes >= fake_models.backend.weights_nbytes


@pytest.mark.parametrize(
    "sampling", [GREEDY, SamplingParams(temperature=0.8, top_p=0.9, seed=4)], ids=["greedy", "warm"]
)
async def test_a_draft_model_changes_the_steps_and_not_the_text(start: StartEngine, sampling: SamplingParams) -> None:
    steps: list[int] = []

    class Watching(LmBackend):
        def step(self) -> list[SampledToken]:
            sampled = super().step()
            steps.append(len(sampled))
            return sampled

    def load(info: ModelInfo, free: int) -> Backend:
        model, config = load_model(Path(info.path))
        if info.name == "second":
            model, _ = quantize_model(model, config, 64, 8)
        # With a clock that stands still, the cost of a draft is estimated from the sizes of the weights.
        return Watching(model, info.name, clock=lambda: 0.0)

    client = start(load)
    plain = await collect(client.generate(ask(sampling=sampling, max_tokens=60)))
    assert max(steps) == 1
    drafted = await collect(
        client.generate(ask(sampling=sampling, max_tokens=60, draft_model="second", draft_tokens=4))
    )
    assert max(steps) > 3
    assert drafted.choices == plain.choices
    assert drafted.usage.completion_tokens == plain.usage.completion_tokens
