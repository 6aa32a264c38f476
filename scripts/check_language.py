"""Lists wording that a reader has to read twice, in code, documentation and notebooks: `check_language.py [PATH…]`.

Each rule is a phrase that has a plain replacement. Exits with status 1 if a file contains such a phrase.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".py", ".md", ".ts", ".tsx", ".ipynb", ".toml", ".css", ".yaml", ".json"}
EXCLUDED = (
    "labextension/yarn.lock",
    "scripts/check_language.py",
    "pico_jupyter/builtin/",
    "training/",
    "tests/panel/safe.json",
)

# Patterns, each with advice what to write in its place.
RULES = (
    (r"\b[Kk]nows (no|not|nothing|neither|none)\b", "say what the module does; import-linter holds the rest"),
    (
        r"\b([Nn]obody|[Ss]omebody|[Ww]hoever|[Ww]hosever)\b",
        "name the actor: the caller, the client, the user, no reader",
    ),
    (r"\b[Aa]new\b", "again, or a new …"),
    (r"\b(is|are|was|were) none\b", "is not a …, or there is no …"),
    (r"\bso many (\w+ )?(as|times)\b", "give the number a name"),
    (r"\bof (its|their) own accord\b", "unasked, or on its own"),
    (r"\bhad better\b", "should, or must"),
    (r"\bfor good\b", "permanently"),
    (r"\bfor want of\b", "without"),
    (r"\blest\b", "so that … not"),
    (r"\bputs? (it|them|this|that) back\b", "requeue, or restore"),
    (r"\blets? go of\b", "release"),
    (r"\bstyle rule\b", "state the reason itself"),
)


def tracked(paths: list[str]) -> list[Path]:
    """The tracked text files under `paths`, relative to the repository's root (empty: all)."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [Path(name) for name in listed if Path(name).suffix in SUFFIXES and not name.startswith(EXCLUDED)]


def findings(path: Path) -> list[str]:
    """One line for each forbidden phrase of a file: its position, the phrase, and the advice."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        for pattern, instead in RULES:
            if match := re.search(pattern, line):
                found.append(f"{path}:{number}: {match[0]!r}: {instead}")
    return found


def main() -> int:
    """Print all findings. Returns the exit status."""
    found = [line for path in tracked(sys.argv[1:]) if path.exists() for line in findings(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
