"""The tokens that are taught, and the batches of samples."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from training.conversation import Sample, assistant, user
from training.dataset import Dataset, batches, encode
from training.generator import draw_notebook_sample, draw_sample

TOKENIZER = Path(__file__).parents[2] / "pico_jupyter" / "builtin" / "pico-tiny" / "tokenizer.json"
TALK = [user("Hi"), assistant("Hello!"), user("Thanks")]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


def taught(tokenizer: Tokenizer, *, learn_past: bool) -> str:
    sample = Sample("thanks", TALK, "This is about thanks.", "You are welcome!", think=False)
    data = encode(tokenizer, lambda _: sample, 1, 0, learn_past=learn_past)
    return tokenizer.decode(data.tokens[data.learned].tolist(), skip_special_tokens=False)


def test_the_last_answer_is_taught_up_to_its_end(tokenizer: Tokenizer) -> None:
    assert taught(tokenizer, learn_past=False) == "You are welcome!<|im_end|>"


def test_past_answers_are_taught_except_their_first_token(tokenizer: Tokenizer) -> None:
    assert taught(tokenizer, learn_past=True).endswith("!<|im_end|>You are welcome!<|im_end|>")


def test_a_batch_marks_the_position_before_each_taught_token(tokenizer: Tokenizer) -> None:
    data = encode(tokenizer, draw_sample, 20, 1)
    ids, learned = data.batch(np.arange(20))

    assert np.roll(ids, -1, 1)[learned].tolist() == data.tokens[data.learned].tolist()


def test_an_epoch_has_every_sample_once_and_no_batch_is_too_large(tokenizer: Tokenizer) -> None:
    data = encode(tokenizer, draw_sample, 300, 1)
    drawn: list[int] = []
    stream = batches(data, 4096, seed=0)
    while len(drawn) < len(data):
        indices = next(stream)
        assert len(indices) * data.lengths()[indices].max() <= 4096
        drawn += indices.tolist()

    assert sorted(drawn) == list(range(len(data)))


def test_the_samples_of_a_batch_share_their_system_message_with_tools(tokenizer: Tokenizer) -> None:
    data = encode(tokenizer, draw_notebook_sample, 500, 1)
    stream = batches(data, 4096, seed=0)
    shared = 0
    for _ in range(100):
        ids, learned = data.batch(indices := next(stream))
        head = data.shared(indices)
        assert (ids[:, :head] == ids[:1, :head]).all()
        assert not learned[:, : max(head - 1, 0)].any()
        shared = max(shared, head)

    assert shared > 500


def test_a_dataset_can_be_saved_and_loaded(tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = encode(tokenizer, draw_sample, 5, Random(1).randint(0, 9))
    data.save(tmp_path / "data.npz")

    assert Dataset.load(tmp_path / "data.npz").tokens.tolist() == data.tokens.tolist()
