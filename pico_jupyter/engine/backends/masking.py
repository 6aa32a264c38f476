"""Applies the constraints of rows to their logits: tokens that a constraint excludes get the logit -inf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import mlx.core as mx
import numpy as np

from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.structure.constraint import RowConstraint, fill_masks

# For each byte of a mask, the biases of its eight tokens, (256, 8): 0 for a set bit, else -inf.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_BIASES = np.where(_BITS, 0, -np.inf).astype(np.float32)


def constrain(rows: Sequence[Row], inputs: mx.array, logits: mx.array) -> mx.array:
    """Exclude tokens from the logits (rows, vocabulary) of those rows that have a constraint.

    `inputs` has the latest token of each row. Queues the computation of the logits, then waits for the inputs, so that
    the masks are made while the logits are computed. Rows without a constraint are unchanged.
    """
    constrained = [index for index, row in enumerate(rows) if row.sampling.constraint is not None]
    if not constrained:
        return logits
    mx.async_eval(logits)  # type: ignore[no-untyped-call]  # untyped in mlx's stubs
    latest = cast("list[int]", inputs.tolist())
    constraints = [cast(RowConstraint, rows[index].sampling.constraint) for index in constrained]
    for index, constraint in zip(constrained, constraints, strict=True):
        if constraint.consumed < rows[index].sampled:
            constraint.consume(latest[index])
    masks, excludes = fill_masks(constraints)
    limited = [position for position, is_limited in enumerate(excludes) if is_limited]
    if not limited:
        return logits
    selected = mx.array([constrained[position] for position in limited])
    allowed = mx.array(_BIASES)[mx.array(masks[limited].view(np.uint8))].reshape(len(limited), -1)
    return logits.at[selected].add(_fit(allowed, logits.shape[-1]))


def _fit(bias: mx.array, vocabulary: int) -> mx.array:
    """The biases for `vocabulary` logits. Logits without a token, the padding of the vocabulary, are excluded."""
    missing = vocabulary - bias.shape[-1]
    if missing <= 0:
        return bias[:, :vocabulary]
    return mx.pad(bias, [(0, 0), (0, missing)], constant_values=-mx.inf)
