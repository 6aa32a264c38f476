"""Tunes glibc's malloc, which allocates the arrays of mlx on Linux, for large arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping

TUNABLES_VARIABLE = "GLIBC_TUNABLES"
# glibc 2.35 introduced hugetlb.
MIN_GLIBC = (2, 35)
# hugetlb=1 requests transparent huge pages. They save misses of the TLB when a step reads all weights, which are costly
# in virtual machines. The other settings put all arrays into one growing heap, because huge pages do not fit into many
# small mappings, and because a new mapping for each array costs page faults.
TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.arena_max=1",
        f"glibc.malloc.mmap_threshold={8 << 30}",
        f"glibc.malloc.top_pad={256 << 20}",
    )
)
# A user who sets one of these has already chosen the settings of malloc.
USER_VARIABLES = (TUNABLES_VARIABLE, "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


def heap_tuning(environ: Mapping[str, str], libc: str | None = None) -> dict[str, str]:
    """Return the variables that tune malloc in a new process; empty where they do not apply.

    They apply with glibc 2.35 or newer, unless the user has set variables for malloc. `libc` is the C library, such as
    "glibc 2.36"; "" for one that is not glibc; None: that of this process.
    """
    name, _, version = (_libc() if libc is None else libc).partition(" ")
    is_new = name == "glibc" and tuple(map(int, version.split(".")[:2])) >= MIN_GLIBC
    is_set = any(variable in environ for variable in USER_VARIABLES)
    return {TUNABLES_VARIABLE: TUNABLES} if is_new and not is_set else {}


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # Windows; macOS; musl.
        return ""
