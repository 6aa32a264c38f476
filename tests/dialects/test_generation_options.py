import pytest

from pico_jupyter.dialects.generation_options import (
    OLLAMA_FALLBACK,
    OPENAI_FALLBACK,
    Options,
    read_draft_model,
    read_max_tokens,
    read_options,
    read_sampling,
    read_stop,
    unknown_options,
)
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import SamplingParams
from tests.dialects.samples import chat_call, fields, ollama_chat


def test_options_are_translated() -> None:
    options = read_options(
        fields(
            options={
                "temperature": 0.3,
                "top_k": 40.9,
                "top_p": 0.5,
                "min_p": 0.1,
                "seed": 7,
                "num_predict": 100,
                "num_ctx": 2048.0,
                "repeat_last_n": 32,
                "repeat_penalty": 1.1,
                "presence_penalty": 0.5,
                "frequency_penalty": -0.5,
                "stop": ["a", "", "b"],
                "draft_num_predict": 6,
            }
        ).options
    )
    assert options == Options(
        sampling=SamplingParams(
            temperature=0.3,
            top_p=0.5,
            top_k=40,
            min_p=0.1,
            seed=7,
            repetition_penalty=1.1,
            repetition_context_size=32,
            presence_penalty=0.5,
            presence_context_size=32,
            frequency_penalty=-0.5,
            frequency_context_size=32,
        ),
        max_tokens=100,
        max_context=2048,
        stop=("a", "b"),
        draft_tokens=6,
    )


@pytest.mark.parametrize("options", [None, {}, {"temperature": None, "stop": None, "num_ctx": 0}])
def test_options_without_values_have_no_effect(options: object) -> None:
    assert read_options(fields(options=options).options) == Options()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("temperature", "hot", "of type float32"),
        ("temperature", True, "of type float32"),
        ("top_p", [], "of type float32"),
        ("typical_p", "x", "of type float32"),
        ("temperature", 1e300, "of type float32"),
        ("temperature", 10**400, "of type float32"),
        ("top_k", "40", "of type integer"),
        ("seed", False, "of type integer"),
        ("num_ctx", {}, "of type integer"),
        ("num_gpu", "all", "of type integer"),
        ("num_predict", 10**30, "of type integer"),
        ("draft_num_predict", "4", "of type integer"),
        ("use_mmap", 1, "of type boolean"),
        ("stop", 5, "of type array"),
        ("stop", ["a", 5], "of an array of strings"),
    ],
)
def test_a_wrong_type_is_refused_in_ollamas_words(option: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_options(fields(options={option: value}).options)
    assert caught.value.message == f'option "{option}" must be {expected}'
    assert caught.value.param == f"options.{option}"


def test_a_boolean_option_that_changes_nothing_is_accepted() -> None:
    assert read_options(fields(options={"use_mmap": True}).options) == Options()


def test_options_must_be_an_object() -> None:
    with pytest.raises(InvalidRequest, match="'options': expected an object"):
        read_options(fields(options=["temperature"]).options)


@pytest.mark.parametrize(
    ("options", "sampling"),
    [
        ({"temperature": -1}, SamplingParams(temperature=0.0)),
        ({"temperature": 5}, SamplingParams(temperature=5.0)),
        ({"top_p": 1.5}, SamplingParams(top_p=1.0)),
        ({"min_p": -0.5}, SamplingParams(min_p=0.0)),
        ({"top_k": -1}, SamplingParams(top_k=0)),
        ({"seed": -1}, SamplingParams()),
        ({"seed": -2}, SamplingParams(seed=-2)),
        ({"repeat_penalty": 0}, SamplingParams(repetition_penalty=1.0)),
    ],
)
def test_numbers_out_of_range_are_clamped(options: dict[str, object], sampling: SamplingParams) -> None:
    assert read_options(fields(options=options).options).sampling == sampling


def test_a_repeat_last_n_of_0_turns_penalties_off() -> None:
    sampling = read_options(fields(options={"repeat_last_n": 0, "repeat_penalty": 1.5}).options).sampling
    assert sampling == SamplingParams(repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0)


def test_a_repeat_last_n_of_minus_1_is_the_whole_context() -> None:
    assert (
        read_options(fields(options={"repeat_last_n": -1, "num_ctx": 512}).options).sampling.repetition_context_size
        == 512
    )
    unbounded = read_options(fields(options={"repeat_last_n": -1}).options).sampling.repetition_context_size
    assert unbounded is not None
    assert unbounded > 10**6


def test_unknown_options_are_reported_and_retired_ones_are_not() -> None:
    options = {"mirostat": 1, "numa": "x", "num_batch": 8, "warmth": 3}
    assert unknown_options({"options": options}) == ("warmth",)


@pytest.mark.parametrize(
    ("members", "max_tokens"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": -1}, None),
        ({"max_completion_tokens": 6}, 6),
        ({"max_completion_tokens": -1}, None),
        ({"max_completion_tokens": -1, "max_tokens": 5}, None),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": -1, "max_completion_tokens": 6}, 6),
        ({"options": {"num_predict": 7}}, 7),
        ({"options": {"num_predict": 0}}, None),
        ({"options": {"num_predict": 0.9}}, None),
        ({"options": {"num_predict": -1}}, None),
        ({"options": {"num_predict": -2}}, None),
        ({"options": {"num_predict": -100}}, None),
        ({"options": {"num_predict": 1}}, 1),
        ({"max_tokens": 5, "options": {"num_predict": 7}}, 5),
        ({"max_tokens": -1, "options": {"num_predict": 7}}, None),
        ({"max_tokens": None, "options": {"num_predict": 7}}, 7),
        ({"max_tokens": 10**30}, 2**63 - 1),
    ],
)
def test_the_token_limit_in_its_spellings(members: dict[str, object], max_tokens: int | None) -> None:
    body = fields(**members)
    assert read_max_tokens(body, read_options(body.options)) == max_tokens


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", -2),
        ("max_tokens", 1.5),
        ("max_tokens", "5"),
        ("max_completion_tokens", 0),
        ("max_completion_tokens", -2),
        ("max_completion_tokens", True),
    ],
)
def test_other_token_limits_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_max_tokens(fields(**{field: value}), Options())
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "1"),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("top_k", -2),
        ("top_k", 1.5),
        ("min_p", 1.5),
        ("frequency_penalty", 2.5),
        ("presence_penalty", -2.5),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1),
        ("repetition_context_size", 0),
        ("seed", 2**63),
        ("seed", True),
        ("seed", 1.5),
        ("logit_bias", [1]),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"1_0": 1}),
        ("logit_bias", {"٣": 1}),
        ("logit_bias", {"9" * 5000: 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"1": -100.5}),
        ("logit_bias", {"1": True}),
        ("logit_bias", {"1": None}),
        ("logit_bias", {"1": "1"}),
    ],
)
def test_a_sampling_field_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_sampling(fields(**{field: value}), Options())
    assert caught.value.param == field
    assert field in caught.value.message


def test_sampling_fields_at_the_ends_of_their_ranges_are_accepted() -> None:
    sampling = read_sampling(
        fields(
            temperature=2,
            top_p=1,
            top_k=-1,
            min_p=1,
            frequency_penalty=-2,
            presence_penalty=2,
            seed=-(2**63),
            repetition_context_size=1,
            logit_bias={"0": -100, "15": 100.0},
        ),
        Options(),
    )
    assert sampling == SamplingParams(
        temperature=2.0,
        top_p=1.0,
        top_k=0,
        min_p=1.0,
        frequency_penalty=-2.0,
        presence_penalty=2.0,
        seed=-(2**63),
        repetition_context_size=1,
        logit_bias={0: -100.0, 15: 100.0},
    )


def test_explicit_fields_win_over_options() -> None:
    body = fields(temperature=0.1, options={"temperature": 0.9, "top_k": 3})
    sampling = read_sampling(body, read_options(body.options))
    assert (sampling.temperature, sampling.top_k) == (0.1, 3)


def test_a_temperature_of_0_is_given_and_not_missing() -> None:
    assert read_sampling(fields(temperature=0), Options()).temperature == 0.0


def test_a_top_p_of_0_means_the_most_likely_token() -> None:
    sampling = read_sampling(fields(top_p=0, temperature=1.5), Options())
    assert (sampling.temperature, sampling.top_p) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("members", "stop"),
    [
        ({}, ()),
        ({"stop": "END"}, ("END",)),
        ({"stop": ["a", "", "b"]}, ("a", "b")),
        ({"stop": ""}, ()),
        ({"stop": []}, ()),
        ({"stop": None, "options": {"stop": "x"}}, ("x",)),
        ({"stop": ["a"], "options": {"stop": ["x"]}}, ("a",)),
        ({"stop": ["x"] * 64}, ("x",) * 64),
    ],
)
def test_stop_strings(members: dict[str, object], stop: tuple[str, ...]) -> None:
    body = fields(**members)
    assert read_stop(body, read_options(body.options)) == stop


@pytest.mark.parametrize(("stop", "param"), [(5, "stop"), (["a", None], "stop[1]"), ({}, "stop"), (["x"] * 65, "stop")])
def test_other_stops_are_refused(stop: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_stop(fields(stop=stop), Options())
    assert caught.value.param == param


def test_more_than_64_stops_are_refused_in_options_too() -> None:
    with pytest.raises(InvalidRequest, match="at most 64") as caught:
        read_options(fields(options={"stop": ["x"] * 65}).options)
    assert caught.value.param == "options.stop"


@pytest.mark.parametrize(
    ("members", "draft_tokens"),
    [
        ({}, None),
        ({"num_draft_tokens": 3}, 3),
        ({"num_draft_tokens": 0}, 0),
        ({"options": {"draft_num_predict": 5}}, 5),
        ({"options": {"draft_num_predict": -1}}, 0),
        ({"num_draft_tokens": 3, "options": {"draft_num_predict": 5}}, 3),
        ({"num_draft_tokens": None, "options": {"draft_num_predict": 5}}, 5),
    ],
)
def test_the_number_of_draft_tokens_in_its_spellings(members: dict[str, object], draft_tokens: int | None) -> None:
    assert chat_call(**members).request.draft_tokens == draft_tokens


@pytest.mark.parametrize(
    ("value", "code"), [(-1, "invalid_value"), (2.5, "invalid_type"), ("4", "invalid_type"), (True, "invalid_type")]
)
def test_other_numbers_of_draft_tokens_are_refused(value: object, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fields(num_draft_tokens=value)
    assert (caught.value.param, caught.value.code) == ("num_draft_tokens", code)


@pytest.mark.parametrize(
    ("value", "model"), [(None, None), ("", None), ("default_model", None), ("Qwen3-0.6B-4bit", "Qwen3-0.6B-4bit")]
)
def test_the_draft_model_in_its_spellings(value: object, model: str | None) -> None:
    assert read_draft_model(fields(draft_model=value)) == model


def test_the_draft_model_is_a_name() -> None:
    with pytest.raises(InvalidRequest, match="'draft_model': expected a string, but got an array"):
        read_draft_model(fields(draft_model=["a"]))


def test_each_dialect_has_its_own_fallback() -> None:
    assert chat_call().request.fallback_sampling == OPENAI_FALLBACK
    assert ollama_chat().request.fallback_sampling == OLLAMA_FALLBACK
    assert (OPENAI_FALLBACK.temperature, OPENAI_FALLBACK.top_p, OPENAI_FALLBACK.top_k) == (1.0, 1.0, 0)
    assert (OLLAMA_FALLBACK.temperature, OLLAMA_FALLBACK.top_p, OLLAMA_FALLBACK.top_k) == (0.8, 0.9, 40)
    assert OLLAMA_FALLBACK.repetition_context_size == 64


def test_omitted_parameters_stay_unset() -> None:
    assert chat_call().request.sampling == SamplingParams()
    assert ollama_chat(options={}).request.sampling == SamplingParams()
