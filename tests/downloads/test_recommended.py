"""The list of recommended models."""

from __future__ import annotations

import re

import pytest

from pico_jupyter.download_reports import HubModel, MachineMemory
from pico_jupyter.downloads.recommended import USABLE_SHARE, fit_into, machine_memory, recommended_models

GB = 10**9


@pytest.mark.parametrize("model", recommended_models(), ids=lambda model: model.model)
def test_the_size_of_a_recommended_model_follows_from_its_parameters(model: HubModel) -> None:
    assert model.parameters is not None
    assert model.disk_bytes is not None
    # Groups of 64 weights in 4 bits have a scale and a bias of 16 bits each. A vision tower is in 16 bits.
    bits = {"mxfp4": 4.6}.get(model.quantization or "", 4.5)
    tower = 0.67e9 * (16 - bits) / 8 if "vision" in (model.capabilities or ()) else 0
    expected = float(model.parameters.removesuffix("B")) * GB * bits / 8 + tower
    assert model.disk_bytes == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("model", recommended_models(), ids=lambda model: model.model)
def test_a_recommended_model_fits_a_machine_of_its_size(model: HubModel) -> None:
    assert model.memory_bytes is not None
    assert model.machine_gb in (8, 16, 32, 64)
    assert model.memory_bytes <= USABLE_SHARE * model.machine_gb * 2**30
    assert model.memory_bytes > (model.disk_bytes or 0)
    assert re.fullmatch(r"mlx-community/[\w.-]+", model.model)
    assert model.description
    assert model.license


def test_each_size_of_machine_has_several_models_and_the_list_is_sorted() -> None:
    sizes = [model.machine_gb for model in recommended_models()]
    assert sizes == sorted(sizes, key=lambda size: size or 0)
    assert all(sizes.count(size) >= 3 for size in (8, 16, 32, 64))


@pytest.mark.parametrize(
    ("needed", "budget", "fits"),
    [(4, 0, "yes"), (6, 0, "tight"), (13, 0, "no"), (4, 3, "no"), (6, 7, "tight"), (None, 0, None)],
)
def test_a_model_fits_into_free_memory_or_after_other_programs_end(needed: int | None, budget: int, fits: str) -> None:
    memory = MachineMemory(total=16 * GB, free=5 * GB)
    assert fit_into(memory, None if needed is None else needed * GB, budget * GB) == fits


def test_the_memory_of_this_machine_is_measured() -> None:
    memory = machine_memory()
    assert 0 < memory.free <= memory.total
