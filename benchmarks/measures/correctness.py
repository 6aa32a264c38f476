"""B10: checks that pass or fail, and the recovery time after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import psutil

from benchmarks.cases import ENDLESS, Case, Figure, Figures, Visit
from benchmarks.clients import Answer, Broken, Refused, ask, send
from benchmarks.spread import Bar

PATIENCE = 20.0
# Optional fields of a request, which may also be null.
OPTIONAL = (
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "logit_bias", "frequency_penalty"),
    *("presence_penalty", "stream_options", "tools", "max_completion_tokens", "logprobs", "user"),
)


async def correctness(visit: Visit) -> Figures:
    """Each check passes or fails. A server that crashes is restarted for the next check.

    The checks: The server completes a prompt, then the prompt with its completion, both as raw text, and then answers a
    chat. A stop string that begins and ends inside tokens ends the answer exactly there. Every optional field may be
    null. Of 32 simultaneous connections, each is answered at the first attempt. When the model process is killed during
    a stream, the stream ends, and the server answers the next request without help.
    """
    figures: Figures = {}
    for key, check in CHECKS.items():
        try:
            figures[key] = float(await asyncio.wait_for(check(visit), 3 * PATIENCE))
        except (TimeoutError, Broken, Refused, OSError, KeyError, psutil.Error) as error:
            figures[key] = 0.0
            visit.notes.append(f"{key}: {type(error).__name__} {error}".rstrip())
        if not visit.server.is_alive:
            visit.server.stop()
            visit.server.start()
            await visit.warm_up()
    return {**figures, "recovery": await recovery(visit)}


async def prompt_with_its_completion(visit: Visit) -> bool:
    """Complete a prompt, then the prompt with its completion, both as raw text; then run another chat."""
    prompt = visit.words.text(60)
    completion = await _complete(visit, prompt, 16)
    longer = await _complete(visit, prompt + " " + completion.text.strip(), 8)
    other = await visit.ask(visit.words.question(10), 4)
    return bool(completion.text and longer.text and other.text)


async def stop_in_context(visit: Visit) -> bool:
    """A stop string that begins and ends inside tokens ends the answer exactly there."""
    question = visit.words.question(30)
    text = (await visit.ask(question, 24)).text.strip()
    words = text.split()
    stop = f"{words[11][-2:]} {words[12][:2]}"
    exchange = await visit.send(question, 24, stop=[stop])
    answer = await exchange.answer()
    expected = text[: text.index(stop)].strip()
    if answer.text.strip() != expected:
        visit.notes.append(f"stop {stop!r} in {text[:24]!r}... gave {answer.text.strip()[:24]!r}...")
    return answer.text.strip() == expected and answer.finish_reason == "stop"


async def nulls(visit: Visit) -> bool:
    """A request whose optional fields are all null gets an answer."""
    fields: dict[str, Any] = dict.fromkeys((*OPTIONAL, "stream"))
    exchange = await visit.send(visit.words.question(10), 4, **fields)
    return bool((await exchange.answer()).text)


async def burst(visit: Visit) -> bool:
    """Of 32 simultaneous connections, each is answered at the first attempt."""
    chats = (visit.ask(visit.words.question(10), 4) for _ in range(32))
    answers = await asyncio.gather(*chats, return_exceptions=True)
    unharmed = sum(isinstance(answer, Answer) and answer.failures == 0 for answer in answers)
    if unharmed < 32:
        visit.notes.append(f"{unharmed} of 32 answered at the first attempt")
    return unharmed == 32


async def killed(visit: Visit) -> bool:
    """After the model process is killed during a stream, the stream ends soon, and the next request is answered."""
    stream = await visit.send(visit.words.question(20), ENDLESS)
    await stream.began()
    visit.server.engine.kill()
    with contextlib.suppress(Broken):
        await asyncio.wait_for(stream.answer(), PATIENCE)
    exchange = await send(visit.address, visit.server.chat_path, visit.body(visit.words.question(10), 4))
    return bool((await asyncio.wait_for(exchange.answer(), PATIENCE)).text)


async def recovery(visit: Visit) -> float:
    """Kill the model process. Returns the seconds until the first text of the next answer.

    A server that exits because of the kill is restarted at once.
    """
    start = time.perf_counter()
    visit.server.engine.kill()
    psutil.wait_procs(visit.server.processes, timeout=0.2)
    if not visit.server.is_alive:
        visit.server.stop()
        visit.server.start()
    answer = await visit.ask(visit.words.question(10), 4)
    return answer.pieces[0][0] - start


async def _complete(visit: Visit, text: str, tokens: int) -> Answer:
    path, body = visit.server.completion(visit.checkpoint, text, tokens)
    return await asyncio.wait_for(ask(visit.address, path, body), PATIENCE)


CHECKS = {
    "extension": prompt_with_its_completion,
    "stops": stop_in_context,
    "nulls": nulls,
    "burst": burst,
    "killed": killed,
}
_PASS = Bar("pass", "ours", at_least=1.0)

CASES = (
    Case(
        "B10",
        "correctness",
        correctness,
        (
            Figure("extension", "P, then P + completion", "pass", _PASS),
            Figure("stops", "a stop string across tokens", "pass", _PASS),
            Figure("nulls", "JSON nulls", "pass", _PASS),
            Figure("burst", "burst of 32 connections", "pass", _PASS),
            Figure("killed", "model process killed during a stream", "pass", _PASS),
            Figure("recovery", "from a kill to the next answer (we restart mlx_lm.server)", "s"),
        ),
        is_long=True,
    ),
)
