"""Counts the requests and tokens of each user and model since the server's start, for v1/usage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pico_jupyter.dialects.openai_answer_schema import ModelUsage, UsageReport
from pico_jupyter.types import TokenUsage


@dataclass(slots=True)
class _Total:
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class UserUsage:
    """The requests and tokens of one user, for each model."""

    def __init__(self) -> None:
        self._totals: dict[str, _Total] = {}

    def __repr__(self) -> str:
        return f"<UserUsage [{len(self._totals)} models]>"

    def add(self, model: str, usage: TokenUsage) -> None:
        """Count an answered request. `model`: name in the catalog."""
        total = self._totals.setdefault(model, _Total())
        total.requests += 1
        total.prompt_tokens += usage.prompt_tokens
        total.completion_tokens += usage.completion_tokens
        total.cached_tokens += usage.cached_tokens

    def models(self) -> list[ModelUsage]:
        """Return the totals of the models that the user has used, in the order of their names."""
        return [
            ModelUsage(
                model=model,
                requests=total.requests,
                prompt_tokens=total.prompt_tokens,
                completion_tokens=total.completion_tokens,
                total_tokens=total.prompt_tokens + total.completion_tokens,
                cached_tokens=total.cached_tokens,
            )
            for model, total in sorted(self._totals.items())
        ]


class UsageTotals:
    """The usage of all users. `now` returns seconds since the epoch."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._since = int(now())
        self._users: dict[str, UserUsage] = {}

    def __repr__(self) -> str:
        return f"<UsageTotals [{len(self._users)} users]>"

    def of(self, user: str) -> UserUsage:
        """Return the usage of a user."""
        return self._users.setdefault(user, UserUsage())

    def report(self, user: str) -> UsageReport:
        """Return the answer of v1/usage for a user."""
        used = self._users.get(user, UserUsage())
        return UsageReport(since=self._since, data=used.models())
