"""What an answer of the Anthropic Messages API says, and what an error of its client means.

A verdict counts only if it is exactly the answer that was forced; a count only if it is a number.
"""

import json
from typing import Any, Final, cast

import anthropic
import httpx2
from anthropic.types import Message

from app.agents.agent import Broke, storable
from app.agents.chat import written_tokens
from pricing.rates import Usage

MAX_REASON_CHARS: Final = 500
MAX_TOKENS_BELIEVED: Final = 100_000_000  # no call counts more: beyond it a number is garbage
LONGEST_RETRY_AFTER_S: Final = 300
TOO_LONG: Final = Broke("The request is too long for the agent.", retryable=False)


def broke_of(error: Exception) -> Broke:
    """Say what went wrong in words that hold nothing of the server's answer nor of our key."""
    if isinstance(error, anthropic.APITimeoutError):
        untaken = isinstance(error.__cause__, httpx2.ConnectTimeout)
        return Broke("The agent did not answer in time.", retryable=True, busy=untaken)
    if isinstance(error, anthropic.APIStatusError):
        # An error event inside a stream comes under the stream's own status, 200.
        status = error.status_code
        if status in (401, 402, 403):
            return Broke("The agent could not be asked.", retryable=False)
        if status == 413:
            return TOO_LONG
        if 300 <= status < 500 and status not in (408, 409, 429):
            return Broke("The agent does not take a request like this.", retryable=False)
        busy = status in (408, 409, 429) or status >= 500
        too_much = "The agent has too much to do."
        reason = too_much if status in (429, 529) else "The agent is out of order."
        return Broke(reason, True, busy=busy, retry_after_s=_retry_after_s(error))
    if isinstance(error, anthropic.APIConnectionError | httpx2.TransportError):
        untaken = isinstance(error.__cause__ or error, httpx2.ConnectError)
        return Broke("The agent cannot be reached.", retryable=True, busy=untaken)
    return Broke("The agent's answer cannot be read.", retryable=True)


def _retry_after_s(error: anthropic.APIStatusError) -> float:
    text = error.response.headers.get("retry-after", "")
    return float(min(int(text), LONGEST_RETRY_AFTER_S)) if text.isascii() and text.isdigit() else 0


def verdict_of(message: Message, forced_tool: bool) -> tuple[bool, str] | None:
    """Read the answer that was forced: those two fields, those types, and nothing else."""
    said = _tool_input(message) if forced_tool else _json_answer(message)
    if not isinstance(said, dict) or said.keys() != {"accept", "reason"}:
        return None
    accept, reason = said["accept"], said["reason"]
    if type(accept) is not bool or not isinstance(reason, str):
        return None
    printable = "".join(c if c.isprintable() else " " for c in reason)
    return accept, storable(" ".join(printable.split())[:MAX_REASON_CHARS])


def _tool_input(message: Message) -> Any:
    calls = [block for block in message.content if block.type == "tool_use"]
    if message.stop_reason != "tool_use" or len(calls) != 1:
        return None
    return calls[0].input if calls[0].name == "verdict" else None


def _json_answer(message: Message) -> Any:
    texts = [block.text for block in message.content if block.type == "text"]
    called = any("tool_use" in block.type for block in message.content)
    if message.stop_reason != "end_turn" or len(texts) != 1 or called:
        return None
    try:
        # A list of pairs is no dict: so a verdict that says a thing twice is not read.
        return json.loads(texts[0], object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    return found if len(found) == len(pairs) else pairs


def usage_of(message: Message) -> Usage | Broke:
    """Return the tokens that the API counted. Input read from a cache is input all the same."""
    broke = Broke("The agent did not say what it used.", retryable=True)
    counted = getattr(message, "usage", None)
    read, written = (getattr(counted, f"{way}_tokens", None) for way in ("input", "output"))
    cached = [
        getattr(counted, f"cache_{way}_input_tokens", None) or 0 for way in ("read", "creation")
    ]
    if not all(is_count(n) for n in (read, written, *cached)):
        return broke
    return Usage(cast(int, read) + sum(cached), cast(int, written))


def used_so_far(message: Message, written_bytes: int) -> Usage:
    """Return about what was used until now: what was written is counted at the end."""
    read = getattr(getattr(message, "usage", None), "input_tokens", 0)
    return Usage(read if is_count(read) else 0, written_tokens(written_bytes))


def is_count(value: Any) -> bool:
    """Return whether a value can be a count of tokens."""
    return type(value) is int and 0 <= value <= MAX_TOKENS_BELIEVED
