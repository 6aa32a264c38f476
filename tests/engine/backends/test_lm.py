"""LmBackend: the generators of mlx-lm are the oracle, in the same precision."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.sample_utils import make_logits_processors
from mlx_lm.utils import load_model, quantize_model, save_config, save_model
from msgspec.structs import replace

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends import lm, loading
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine.memory.device import is_on_cpu
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.engine.text.tokenizer import load_tokenizer
from pico_jupyter.types import EngineOptions, ModelInfo
from tests.engine.backends.conductor import ANSWER, GREEDY, KINDS, Conductor, answer_of, backend_for, tiny_model
from tests.engine.tiny_models import TINY_MODELS, full_attention


@pytest.fixture(scope="module")
def pico_tiny() -> ModelInfo:
    return Catalog(EngineOptions(), environ={}, hub_cache=None).find("pico-tiny")


# Prompts from a few pieces, so that many have the same beginning.
prompts = st.lists(
    st.sampled_from([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 9], [5], [8, 8], [60, 2, 41]]), min_size=1, max_size=6
).map(lambda pieces: [token for piece in pieces for token in piece])
# An operation: admit a prompt, abort the n-th running row, or make a number of steps.
operations = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), prompts),
        st.tuples(st.just("abort"), st.integers(0, 7)),
        st.tuples(st.just("step"), st.integers(1, 6)),
    ),
    min_size=2,
    max_size=14,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(script=operations, limit=st.sampled_from([0, 30_000, 1 << 30]))
def test_any_interleaving_gives_each_request_the_tokens_it_gets_alone(
    kind: str, script: list[tuple[str, Any]], limit: int
) -> None:
    prefixes = PrefixCache(limit, block=4, min_shared=2)
    conductor = Conductor(backend_for(kind, prefixes))
    asked: dict[int, list[int]] = {}
    for number, (action, value) in enumerate(script):
        if action == "admit":
            asked[number] = value
            conductor.admit(number, value)
        elif action == "abort" and conductor.running:
            conductor.remove([sorted(conductor.running)[value % len(conductor.running)]])
        elif action == "step":
            for _ in range(value):
                conductor.step()
    conductor.finish()
    for row, tokens in conductor.tokens.items():
        assert tokens == answer_of(kind, tuple(asked[row]))[: len(tokens)]
    assert conductor.backend.cache_nbytes == 0
    assert prefixes.nbytes <= limit


@pytest.mark.parametrize("kind", TINY_MODELS)
def test_the_likeliest_token_of_the_tiny_models_has_a_clear_margin(kind: str) -> None:
    """Rounding therefore cannot change an answer, and tests may compare tokens for equality."""
    answers = [answer_of(kind, (seed, seed + 3, 2 * seed)) for seed in range(1, 20)]
    assert len({tuple(answer) for answer in answers}) > 10
    model = tiny_model(kind)
    for seed, answer in enumerate(answers, 1):
        whole = [seed, seed + 3, 2 * seed, *answer]
        logits = model(mx.array([whole]))[0, 2:-1]
        ranked = mx.sort(logits, axis=-1)
        assert mx.min(ranked[:, -1] - ranked[:, -2]).item() > 1e-4


def bench(info: ModelInfo) -> tuple[Any, list[list[int]]]:
    """The built-in model in float32, and prompts of different lengths."""
    backend = loading.load(info, 1 << 40)
    assert isinstance(backend, LmBackend)
    tokenizer = load_tokenizer(Path(info.path))
    texts = ["What is 12 + 35?", "Hello", "Say the numbers from 1 to 9, then stop, please.", "Who are you? " * 9]
    chats = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in texts]
    return backend, [tokenizer.encode(chat, add_special_tokens=False) for chat in chats]


def oracle(model: Any, prompts: list[list[int]], count: int) -> list[list[int]]:
    """The greedy tokens of mlx-lm's BatchGenerator."""
    generator = BatchGenerator(model, max_tokens=count, prefill_step_size=16)
    numbers = generator.insert(prompts)
    output: dict[int, list[int]] = {number: [] for number in numbers}
    while any(len(tokens) < count for tokens in output.values()):
        for response in generator.next_generated():
            output[response.uid].append(response.token)
    generator.close()
    return [output[number] for number in numbers]


def test_greedy_tokens_of_several_prompts_are_those_of_the_batch_generator(pico_tiny: ModelInfo) -> None:
    backend, several = bench(pico_tiny)
    expected = oracle(backend._model, several, ANSWER * 3)
    output: dict[int, list[int]] = {}
    for row, prompt in enumerate(several):
        backend.insert({row: GREEDY}, prompt)
        while backend.prefill([row], 16)[row]:
            pass
        output[row] = []
    while any(len(tokens) < ANSWER * 3 for tokens in output.values()):
        for sampled in backend.step():
            output[sampled.row].append(sampled.token)
    assert [tokens[: ANSWER * 3] for tokens in output.values()] == expected
    backend.close()


@pytest.mark.skipif(mx.default_device().type != mx.DeviceType.cpu, reason="weights are converted on a CPU only")
def test_16_bit_weights_become_float32_on_a_cpu_if_they_fit(pico_tiny: ModelInfo) -> None:
    roomy, tight = loading.load(pico_tiny, 1 << 40), loading.load(pico_tiny, 0)
    assert roomy.weights_nbytes == 2 * tight.weights_nbytes


@pytest.mark.parametrize("free", [0, 1 << 40])
@pytest.mark.parametrize("name", ["pico-tiny", "pico-tiny-vl"])
def test_loaded_weights_have_the_size_that_the_capacity_predicts(name: str, free: int) -> None:
    info = Catalog(EngineOptions(), environ={}, hub_cache=None).find(name)
    capacity = Capacity(1 << 40, in_float32=is_on_cpu())
    assert loading.load(info, free).weights_nbytes == capacity.weights_size(info, free)


def test_quantised_weights_are_not_converted(tmp_path: Path, pico_tiny: ModelInfo) -> None:
    quantised = quantised_copy(pico_tiny, tmp_path)
    backend = loading.load(quantised, 1 << 40)
    assert isinstance(backend, LmBackend)
    dtypes = {weight.dtype for _, weight in tree_flatten(backend._model.parameters())}
    assert mx.uint32 in dtypes
    assert mx.float32 not in dtypes


def quantised_copy(info: ModelInfo, folder: Path) -> ModelInfo:
    model, config = load_model(Path(info.path), lazy=True)
    model, config = quantize_model(model, config, group_size=64, bits=4)
    save_model(folder, model)
    save_config(config, folder / "config.json")
    return replace(info, path=str(folder))


def test_penalties_and_bias_change_only_their_own_row() -> None:
    kind, prompt = "full attention", (5, 6, 7)
    expected = answer_of(kind, prompt)
    conductor = Conductor(LmBackend(tiny_model(kind), kind))
    conductor.admit(1, list(prompt))
    conductor.admit(2, list(prompt), RowSampling(logit_bias=((expected[0], -100.0),)))
    conductor.admit(3, list(prompt), RowSampling(logit_bias=((11, 1000.0),)))
    conductor.admit(4, list(prompt), RowSampling(presence_penalty=1000.0, presence_context_size=1000))
    conductor.finish()
    assert conductor.tokens[1] == expected
    assert conductor.tokens[2][0] != expected[0]
    assert conductor.tokens[3] == [11] * ANSWER
    assert len({*prompt, *conductor.tokens[4]}) == 3 + ANSWER, "no token is repeated"


def test_penalties_are_those_of_mlx_lm_over_a_whole_answer() -> None:
    processors = make_logits_processors(repetition_penalty=1.8, repetition_context_size=5, frequency_penalty=0.7)
    model = tiny_model("full attention")
    prompt = [9, 8, 7, 9, 8, 7, 9]
    steps = generate_step(mx.array(prompt), model, max_tokens=ANSWER, logits_processors=processors)
    expected = [token for token, _ in steps]
    conductor = Conductor(LmBackend(model, "tiny"))
    conductor.admit(1, [1, 2])
    conductor.admit(2, prompt, RowSampling(repetition_penalty=1.8, repetition_context_size=5, frequency_penalty=0.7))
    conductor.finish()
    assert conductor.tokens[2] == expected


def test_a_seed_gives_the_same_tokens_in_any_batch() -> None:
    model = tiny_model("full attention")
    seeded = RowSampling(temperature=1.0, top_p=0.95, seed=7)
    alone, crowded = Conductor(LmBackend(model, "tiny")), Conductor(LmBackend(model, "tiny"))
    alone.admit(1, [3, 4, 5], seeded)
    for row in range(2, 6):
        crowded.admit(row, [row] * row, RowSampling(temperature=1.3, seed=row))
    crowded.step()
    crowded.admit(1, [3, 4, 5], seeded)
    alone.finish()
    crowded.finish()
    assert alone.tokens[1] == crowded.tokens[1]


def test_log_probabilities_are_those_of_the_unchanged_distribution() -> None:
    model = tiny_model("full attention")
    backend = LmBackend(model, "tiny")
    biased = RowSampling(temperature=0.5, logit_bias=((11, 1000.0),), top_logprobs=2)
    backend.insert({1: biased}, [5, 6, 7])
    while backend.prefill([1], 2)[1]:
        pass
    sampled, *_ = [*backend.step(), *backend.step()]
    logits = model(mx.array([[5, 6, 7]]))[0, -1]
    expected = logits - mx.logsumexp(logits)
    assert sampled.token == 11
    assert sampled.logprob == pytest.approx(expected[11].item(), abs=1e-4)
    assert [token for token, _ in sampled.top] == mx.argsort(-expected)[:2].tolist()


def test_cache_nbytes_is_the_size_of_the_caches() -> None:
    backend = LmBackend(full_attention(), "tiny")
    backend.insert({1: GREEDY}, list(range(1, 11)))
    backend.prefill([1], 4)
    (prefill,) = backend._prefills
    assert backend.cache_nbytes == sum(layer.keys.nbytes + layer.values.nbytes for layer in prefill.cache)


def test_removing_all_rows_and_closing_frees_the_memory() -> None:
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    backend = LmBackend(full_attention(seed=99), "tiny")
    loaded = mx.get_active_memory()
    conductor = Conductor(backend)
    for row in range(4):
        conductor.admit(row, list(range(1, 20 + row)))
    for _ in range(12):
        conductor.step()
    assert mx.get_active_memory() > loaded
    conductor.remove([0, 1, 2, 3])
    settle()
    assert mx.get_active_memory() == loaded
    backend.close()
    settle()
    assert mx.get_active_memory() <= before


def settle() -> None:
    mx.synchronize()
    gc.collect()


def test_weights_are_loaded_in_shares() -> None:
    backend = LmBackend(full_attention(), "tiny")
    weights = [weight for _, weight in tree_flatten(full_attention().parameters())]
    shares = list(lm.load_shares(weights, share=10_000))
    assert len(shares) > 2
    assert [id(one) for share in shares for one in share] == [id(one) for one in weights]
    assert backend.load_step() == 0


def test_the_repr_counts_the_rows() -> None:
    backend = LmBackend(full_attention(), "tiny")
    backend.insert({1: GREEDY}, [1, 2, 3])
    backend.insert({2: GREEDY, 3: GREEDY}, [1, 2, 3])
    backend.prefill([1], 100)
    assert repr(backend) == "<LmBackend tiny [1 decoding | 2 prefilling]>"
