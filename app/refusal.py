"""Why a request is not served: a clear sentence for its sender, and what to do next."""

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """A request that is not served, with the reason for its sender."""

    def __init__(
        self,
        status: int,
        sentence: str,
        next_step: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.next_step = status, sentence, next_step
        self.headers, self.more = dict(headers or {}), more


def unavailable(sentence: str, retry_after_s: int) -> Refusal:
    """Return a 503 that says when to come back."""
    return Refusal(
        503,
        sentence,
        f"Send the same request again in {retry_after_s} seconds.",
        {"Retry-After": str(retry_after_s)},
    )
