"""The memory of the machine that is free now, beside the needs of models."""

from __future__ import annotations

import msgspec
import pytest

from pico_jupyter.engine.memory.pressure import add_pressure
from pico_jupyter.engine_reports import Fit, MemoryReport, ModelNeed, ResidentModel
from tests.fakes.engine_client import MODEL


def resident(name: str, size: int, active: int = 0) -> ResidentModel:
    return ResidentModel(msgspec.structs.replace(MODEL, name=name), size, None, active)


def need(size: int, *residents: ResidentModel, fit: Fit = "fits", free: int = 100) -> ModelNeed:
    report = MemoryReport(1000, 0, 1000, False, None, (ModelNeed("new", size, fit),))
    described = add_pressure(report, residents, free)
    assert described.free == free
    return described.needs[0]


def test_a_model_that_fits_the_free_memory_is_not_tight() -> None:
    assert need(100) == ModelNeed("new", 100, "fits")


def test_the_idle_model_that_expires_first_is_named() -> None:
    found = need(150, resident("late", 60), resident("early", 60))
    assert (found.is_tight, found.unload) == (True, ("early",))


def test_several_models_are_named_if_one_does_not_suffice() -> None:
    assert need(200, resident("late", 60), resident("early", 60)).unload == ("early", "late")


def test_a_model_that_is_answering_is_not_named() -> None:
    found = need(150, resident("busy", 60, active=1))
    assert (found.is_tight, found.unload) == (True, ())


def test_no_model_is_named_if_all_of_them_do_not_suffice() -> None:
    assert need(900, resident("early", 60)).unload == ()


@pytest.mark.parametrize("fit", ["loaded", "never"])
def test_a_model_that_is_not_loaded_next_is_not_tight(fit: Fit) -> None:
    assert not need(900, fit=fit).is_tight
