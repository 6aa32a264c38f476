"""Tables of what was measured: one for a terminal, one as benchmarks/RESULTS.md. Pure: results in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Case, Figure
from benchmarks.checkpoints import SHAPES
from benchmarks.results import CaseResult, Results
from benchmarks.servers import MLX_LM, PICO
from benchmarks.spread import Comparison, Spread

FAILED, NOTHING = "failed", "—"
_TERMINAL_TITLE = 66
_METHOD = (
    "- Both are real servers on this machine; nothing is mocked. Each case visits one, then the other, round by round; "
    "the one that is not measured stays up and idles, and no visit begins before both idle.",
    "- mlx_lm.server (and mlx_vlm.server, where pictures are asked about) is started with the variables of our running "
    "model kernel that decide how it computes. Both get the same requests, on connections of their own, from one "
    "client; times are the client's, connecting included.",
    "- Models have random weights in float32 from fixed seeds and write as many tokens as they are asked for; one "
    "token is one word, so that tokens are counted in the text. Model `tiny` is pico-tiny in float32, `tiny-vl` is "
    "pico-tiny-vl.",
)


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    case: Case
    figure: Figure
    ours: str
    theirs: str
    ratio: str
    bar: str
    verdict: str


def rows(cases: Sequence[Case], results: Results) -> Iterator[Row]:
    """A row for each figure of each case that was measured, in the order of the design's table."""
    for case in sorted(cases, key=lambda case: int(case.id[1:])):
        if (result := results.result(case)) is not None:
            for figure in case.figures:
                yield _row(case, figure, result)


def terminal_table(cases: Sequence[Case], results: Results) -> str:
    """All figures with medians and spread, for a terminal."""
    lines = []
    last = ""
    for row in rows(cases, results):
        if row.case.key != last:
            lines += ["", row.case.key + _beside(row.case, "   ")]
            last = row.case.key
        verdict = {"holds": "ok  ", "fails": "FAIL"}.get(row.verdict, "    ")
        title = f"  {verdict} {row.figure.title}"
        lines.append(f"{title:<{_TERMINAL_TITLE}}{row.ours:>30}{row.theirs:>30}{row.ratio:>24}   {row.bar}")
    head = f"{'':<{_TERMINAL_TITLE}}{PICO:>30}{MLX_LM:>30}{'ratio':>24}   ours must be"
    seen_too = [f"  {key}: {note}" for key, result in results.cases.items() for note in [*result.notes, *result.errors]]
    return "\n".join([head, *lines, *(["", "seen too:", *seen_too] if seen_too else [])])


def results_page(cases: Sequence[Case], results: Results, remarks: str) -> str:
    """The page benchmarks/RESULTS.md."""
    table = list(rows(cases, results))
    judged = [row for row in table if row.verdict]
    held = sum(row.verdict == "holds" for row in judged)
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks --write`; do not edit. Reasons live in `remarks.md`.",
        "",
        f"**{held} of {len(judged)} bars hold.** Medians over the rounds, with the range in brackets; ratios are ours "
        "over theirs, round by round.",
        "",
        *_about(results.about),
        "",
        f"| id | case | measured | {PICO} | {MLX_LM} | ratio | ours must be | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    last = ""
    for row in table:
        case = row.case.title + _beside(row.case, " ")
        cells = [row.case.id, case] if row.case.key != last else ["", ""]
        last = row.case.key
        verdict = {"holds": "yes", "fails": "**no**"}.get(row.verdict, "")
        cells += [row.figure.title, row.ours, row.theirs, row.ratio, row.bar, verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## Reasons", "", *_reasons(judged, remarks_of(remarks))]
    lines += ["## How it was measured", "", *_methods(cases, results)]
    return "\n".join(lines).rstrip() + "\n"


def _beside(case: Case, space: str) -> str:
    """Whom a case is compared with, where that is not whom the table's head names."""
    return f"{space}(beside: {case.rival})" if case.rival not in ("", MLX_LM) else ""


def remarks_of(text: str) -> dict[str, str]:
    """The paragraphs below each `## B<n>` heading of remarks.md."""
    parts = re.split(r"^## (B\d+)[ \t]*$", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _row(case: Case, figure: Figure, result: CaseResult) -> Row:
    comparison = result.comparison(figure.key, PICO, case.rival)
    bar = figure.bar
    holds = bar.holds(comparison) if bar else None
    return Row(
        case,
        figure,
        _written(comparison.our_spread, figure.unit, is_missing=FAILED),
        _written(
            comparison.their_spread, figure.unit, is_missing=FAILED if case.rival and not figure.is_ours else NOTHING
        ),
        _ratio(comparison, figure),
        bar.text if bar else "",
        "" if holds is None else "holds" if holds else "fails",
    )


def _ratio(comparison: Comparison, figure: Figure) -> str:
    if figure.unit == "pass" or (ratio := comparison.ratio) is None:
        return NOTHING
    return _span(ratio, lambda value: f"{value:.2f}" if value < 100 else f"{value:.0f}")


def _written(spread: Spread | None, unit: str, *, is_missing: str) -> str:
    if spread is None:
        return is_missing
    match unit:
        case "pass":
            return "pass" if spread.low == 1 else "fail" if spread.high == 0 else "sometimes"
        case "s":
            return _span(spread, lambda value: f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}") + " s"
        case "ms":
            return _span(spread, lambda value: f"{value * 1000:.1f}") + " ms"
        case "%":
            return _span(spread, lambda value: f"{value * 100:.0f}") + " %"
        case "tokens" | "calls":
            return _span(spread, lambda value: f"{value:.0f}")
        case "MB":
            return _span(spread, lambda value: f"{value / 1e6:.0f}") + " MB"
        case _:
            return _span(spread, lambda value: f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}")


def _span(spread: Spread, write: Any) -> str:
    median, low, high = write(spread.median), write(spread.low), write(spread.high)
    return median if low == high else f"{median} ({low}–{high})"


def _about(about: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    how = ", `--quick`" if about["quick"] else ""
    lines = [
        f"- {about['started']} to {about['finished']}{how}, commit {about['commit']}",
        f"- {about['system']}, {about['processor']}, {about['cores']} cores, {about['memory'] / 1e9:.0f} GB; "
        f"load before the run {about['load before']}",
        f"- Python {about['python']}, {versions}",
    ]
    if again := about.get("again"):
        lines.append(
            "- Measured later than the others: " + ", ".join(f"{name} ({said})" for name, said in again.items())
        )
    for name, blas in about["blas"].items():
        settings = ", ".join(f"`{key}={value}`" for key, value in blas["variables"].items())
        lines.append(f"- BLAS of {name}: {settings or 'as mlx brings it'}")
    return lines


def _reasons(judged: Sequence[Row], remarks: Mapping[str, str]) -> list[str]:
    failing = {row.case.id for row in judged if row.verdict == "fails"}
    remarked = {row.case.id for row in judged} & set(remarks)
    lines = []
    for name in sorted(failing | remarked, key=lambda name: int(name[1:])):
        said = remarks.get(name) or "A bar fails and its reason is not written down yet."
        lines += [f"**{name}.** {said}", ""]
    return lines or ["Every bar holds.", ""]


def _methods(cases: Sequence[Case], results: Results) -> list[str]:
    """What each measuring function says about itself, once."""
    lines = []
    seen: set[str] = set()
    for case in sorted(cases, key=lambda case: int(case.id[1:])):
        function = getattr(case.measure, "func", case.measure)
        if results.result(case) and function.__name__ not in seen:
            seen.add(function.__name__)
            words = " ".join((function.__doc__ or "").split())
            lines.append(f"- **{case.id}** {words}")
    seen_too = [f"- {key}: {note}" for key, result in results.cases.items() for note in [*result.notes, *result.errors]]
    method = [*_METHOD, *(f"- Model `{name}`: {shape}." for name, shape in SHAPES.items())]
    return [*method, *lines, *(["", "## What else was seen", "", *seen_too] if seen_too else [])]
