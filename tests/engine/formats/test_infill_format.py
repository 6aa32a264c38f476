from __future__ import annotations

import pytest

from pico_jupyter.engine.formats.infill_format import INFILL_FORMATS, InfillFormat, detect_infill_format


@pytest.mark.parametrize("infill", INFILL_FORMATS, ids=lambda infill: infill.families[0])
def test_a_format_is_found_by_its_tokens(infill: InfillFormat) -> None:
    assert detect_infill_format({*infill.tokens, "<other>"}) == infill


@pytest.mark.parametrize("infill", INFILL_FORMATS, ids=lambda infill: infill.families[0])
def test_a_format_with_a_missing_token_is_not_found(infill: InfillFormat) -> None:
    for missing in infill.tokens:
        assert detect_infill_format(set(infill.tokens) - {missing}) is None


def test_a_vocabulary_without_these_tokens_has_no_format() -> None:
    assert detect_infill_format({"<|im_start|>", "<|endoftext|>"}) is None
