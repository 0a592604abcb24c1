"""A conversation through the Anthropic Messages API, piece by piece, with what was used so far."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final

import anthropic
from anthropic.types import AssistantMessageParam, MessageParam, UserMessageParam

from app.agents.agent import Broke, storable
from app.agents.chat import Declined, Done, Piece, Said, Turn
from app.agents.messages_answer import usage_of, used_so_far

MOST_CHARS_PER_TOKEN: Final = 200  # beyond it a stream lies
FINISHED: Final = ("end_turn", "stop_sequence")
CUT: Final = ("max_tokens", "model_context_window_exceeded")


async def stream_answer(
    client: anthropic.AsyncAnthropic,
    model: str,
    turns: Sequence[Turn],
    max_output_tokens: int,
    deadline_s: float,
    extras: dict[str, Any],
    broke: Callable[[Exception], Broke],
) -> AsyncGenerator[Piece, None]:
    """Yield an answer; leaving it closes the connection, which stops the model.

    `broke` says what an error of the client means.
    """
    until_s = asyncio.get_running_loop().time() + deadline_s
    pieces = _pieces(client, model, turns, max_output_tokens, extras)
    try:
        while True:
            try:
                # Not around the whole: a deadline must not end who waits for the next piece.
                async with asyncio.timeout_at(until_s):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                piece = Broke("The agent did not answer in time.", retryable=True)
            except Exception as error:
                # The client raises more than its own errors when an answer is garbage.
                piece = broke(error)
            yield piece
            if not isinstance(piece, Said):
                return
    finally:
        await pieces.aclose()


async def _pieces(
    client: anthropic.AsyncAnthropic,
    model: str,
    turns: Sequence[Turn],
    max_output_tokens: int,
    extras: dict[str, Any],
) -> AsyncGenerator[Piece, None]:
    messages = [_message(turn) for turn in turns]
    written_bytes = 0
    async with client.messages.stream(
        model=model, max_tokens=max_output_tokens, messages=messages, **extras
    ) as stream:
        async for text in stream.text_stream:
            text = storable(text)
            written_bytes += len(text.encode())
            if written_bytes > MOST_CHARS_PER_TOKEN * max_output_tokens:
                so_far = used_so_far(stream.current_message_snapshot, written_bytes)
                yield Broke("The agent wrote without end.", retryable=False, usage=so_far)
                return
            yield Said(text, used_so_far(stream.current_message_snapshot, written_bytes))
        message = await stream.get_final_message()
    used = usage_of(message)
    if isinstance(used, Broke):
        yield used
    elif message.stop_reason == "refusal":
        yield Declined("The agent declines to answer this.", used)
    elif message.stop_reason not in (*FINISHED, *CUT):
        yield Broke("The agent's answer was cut off.", retryable=True, usage=used)
    elif not written_bytes:
        yield Declined("The agent has nothing to say to this.", used)
    else:
        yield Done(used, cut=message.stop_reason in CUT)


def _message(turn: Turn) -> MessageParam:
    if turn.role == "user":
        return UserMessageParam(role="user", content=turn.text)
    return AssistantMessageParam(role="assistant", content=turn.text)
