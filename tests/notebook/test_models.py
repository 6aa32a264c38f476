"""The models, as a table."""

from __future__ import annotations

from pico_jupyter.notebook.models import Models
from pico_jupyter.sources.calls import ListedModel

MODELS = Models(
    [
        ListedModel("tiny", 2_900_000, "bf16", "1.4M", ("completion", "thinking"), 4096, 5_500_000),
        ListedModel("org/large-4bit", 4_200_000_000, "4bit", "8.0B", ("completion",), 32768),
    ]
)


def test_it_is_a_list_with_names() -> None:
    assert MODELS.names == ["tiny", "org/large-4bit"]
    assert MODELS[0].resident == 5_500_000


def test_it_is_shown_as_a_table() -> None:
    assert repr(MODELS) == (
        "model           parameters  on disk  context  can       in memory\n"
        "tiny            1.4M bf16   2.9 MB   4096     thinking  5.5 MB\n"
        "org/large-4bit  8.0B 4bit   4.2 GB   32768"
    )
    assert MODELS._repr_mimebundle_() == {
        "text/markdown": (
            "| model | parameters | on disk | context | can | in memory |\n"
            "| --- | --- | --- | --- | --- | --- |\n"
            "| tiny | 1.4M bf16 | 2.9 MB | 4096 | thinking | 5.5 MB |\n"
            "| org/large-4bit | 8.0B 4bit | 4.2 GB | 32768 |  |  |"
        ),
        "text/plain": repr(MODELS),
    }
