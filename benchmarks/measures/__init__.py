"""Lists all cases in the order in which they run. Cases with the same setup are neighbours and share their servers."""

from benchmarks.measures import correctness, ground, latency, pictures, prefixes, residency, structure, throughput

CASES = (
    *latency.CASES,
    *prefixes.CASES,
    *throughput.CASES,
    *structure.CASES,
    *residency.CASES,
    *ground.CASES,
    *correctness.CASES,
    *latency.ONE_SLOT_CASES,
    *prefixes.BUDGET_CASES,
    *pictures.CASES,
)
