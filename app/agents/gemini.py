"""An agent behind any server that speaks the Gemini API, asked through Google's own client.

An answer is accepted only if it is what was asked for: text and counts within bounds, or an image
of a type that browsers show. Any other answer is Broke.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final

import httpx2
import structlog
from google import genai
from google.genai import errors, types

from app.agents.agent import Broke, storable
from app.agents.chat import Declined, Done, Drawn, Piece, Said, Turn, written_tokens
from pricing.authorities import authorities
from pricing.loopback import is_here
from pricing.rates import Usage

CONNECT_TIMEOUT_S: Final = 10
MAKER: Final = "gemini"  # who makes its images
MAX_TOKENS_BELIEVED: Final = 100_000_000  # no call counts more: beyond it a number is garbage
MAX_CHARS_PER_TOKEN: Final = 200  # the longest tokens are runs of blanks; beyond it a stream lies
MAX_IMAGE_BYTES: Final = 16 * 1024 * 1024
IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/webp")
MOST_HISTORY_BYTES: Final = 100_000  # below the size from which some of these models cost more

_STOPPED: Final = types.FinishReason.STOP
_CUT: Final = types.FinishReason.MAX_TOKENS
_UNFINISHED: Final = (None, types.FinishReason.FINISH_REASON_UNSPECIFIED)
# The model's own failures; any other reason to stop means that it will not answer this.
_FAILED: Final = {
    types.FinishReason.OTHER,
    types.FinishReason.IMAGE_OTHER,
    types.FinishReason.NO_IMAGE,
    types.FinishReason.MALFORMED_FUNCTION_CALL,
    types.FinishReason.MALFORMED_RESPONSE,
    types.FinishReason.UNEXPECTED_TOOL_CALL,
    types.FinishReason.TOO_MANY_TOOL_CALLS,
    types.FinishReason.CONTINUATION,
}
_NOTHING_USED: Final = Usage(0, 0)
_DECLINES: Final = "The model declines to answer this."
_LATE: Final = Broke("The model did not answer in time.", retryable=True)
_UNREADABLE: Final = Broke("The model's answer cannot be read.", retryable=True)
_UNCOUNTED: Final = Broke("The model did not say what it used.", retryable=True)

# The answers of the client that are under way in this context: to close them, which its own
# streams do not do when they are left in the middle.
_open: ContextVar[list[httpx2.Response]] = ContextVar("gemini_open")
_log = structlog.get_logger("agent")


class GeminiChat:
    """Answer and draw through the official client, against `base_url`."""

    def __init__(
        self,
        client_key: str,
        base_url: str,
        chat_model: str,
        image_model: str,
        *,
        priced: frozenset[str] = frozenset(),
        max_output_tokens: int = 4_096,
        max_image_tokens: int = 4_096,
        answer_deadline_s: float = 60,
        image_deadline_s: float = 60,
        name: str = "gemini",
    ) -> None:
        self.name = name
        self.chat_model, self.image_model = chat_model, image_model
        self.max_output_tokens, self.max_image_tokens = max_output_tokens, max_image_tokens
        self.most_history_bytes = MOST_HISTORY_BYTES
        self._priced = priced | {chat_model}
        self._answer_deadline_s, self._image_deadline_s = answer_deadline_s, image_deadline_s
        # A redirect would take the key elsewhere; a proxy has no business before a local server.
        self._http = httpx2.AsyncClient(
            follow_redirects=False,
            trust_env=not is_here(base_url),
            verify=authorities(trust_env=not is_here(base_url)),
            timeout=httpx2.Timeout(answer_deadline_s, connect=CONNECT_TIMEOUT_S),
            event_hooks={"response": [_remember]},
        )
        options = types.HttpOptions(
            base_url=base_url, api_version="v1beta", httpx_async_client=self._http
        )
        self._client = genai.Client(
            api_key=client_key, enterprise=False, vertexai=False, http_options=options
        )

    def takes(self, model: str) -> str:
        """See Chat. Only what has a price can be asked for, and only what writes text."""
        return model if model in self._priced and "-image" not in model else ""

    async def answer(
        self, model: str, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """See Chat."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._answer_deadline_s
        opened: list[httpx2.Response] = []
        pieces = self._pieces(model, turns, max_output_tokens)
        try:
            while True:
                try:
                    # Not around the whole: a deadline must not end who waits for the next piece.
                    async with asyncio.timeout_at(until_s):
                        _open.set(opened)
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    piece = _LATE
                except Exception as error:
                    # The client raises more than its own errors when an answer is garbage.
                    piece = _broke(error)
                if isinstance(piece, Broke):
                    _tell("answer", piece)
                yield piece
                if not isinstance(piece, Said):
                    return
        finally:
            for response in opened:
                with suppress(httpx2.HTTPError):
                    await response.aclose()
            with suppress(Exception):
                await pieces.aclose()

    async def draw(self, prompt: str) -> Drawn | Declined | Broke:
        """See Chat."""
        try:
            async with asyncio.timeout(self._image_deadline_s):
                answer = await self._client.aio.models.generate_content(
                    model=self.image_model,
                    contents=_contents([Turn("user", prompt)]),
                    config=self._config(self.max_image_tokens, response_modalities=["IMAGE"]),
                )
                drawn = _drawn(answer)
        except TimeoutError:
            drawn = _LATE
        except Exception as error:
            drawn = _broke(error)
        if isinstance(drawn, Broke):
            _tell("draw", drawn)
        return drawn

    async def healthy(self) -> Broke | None:
        """Ask what the model is, which costs nothing. Any answer will do but a refusal."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._client.aio.models.get(model=self.chat_model)
        except TimeoutError:
            return _LATE
        except errors.APIError as error:
            if error.code in (401, 403) or error.code >= 500:
                return _broke(error)
        except Exception as error:
            return _broke(error)
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _config(self, max_output_tokens: int, **more: Any) -> types.GenerateContentConfig:
        return types.GenerateContentConfig(
            max_output_tokens=max_output_tokens,
            candidate_count=1,
            # Left on, the client would go on asking by itself, beyond the ceiling.
            automatic_continuation=False,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            **more,
        )

    async def _pieces(
        self, model: str, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        config = self._config(max_output_tokens, thinking_config=_thinking(model))
        stream: AsyncIterator[
            types.GenerateContentResponse
        ] = await self._client.aio.models.generate_content_stream(
            model=model, contents=_contents(turns), config=config
        )
        counted: Usage | None = None
        written = written_bytes = 0
        async for chunk in stream:
            counted = _usage(chunk) or counted
            text = _text(chunk)
            written, written_bytes = written + len(text), written_bytes + len(text.encode())
            if written > MAX_CHARS_PER_TOKEN * max_output_tokens:
                yield Broke("The model wrote without end.", retryable=False, usage=counted)
                return
            if text:
                yield Said(text, _until_now(counted, written_bytes))
            end = _end(chunk, counted, bool(written))
            if end is not None:
                yield end
                return
        yield Broke("The model's answer was cut off.", retryable=True, usage=counted)


async def _remember(response: httpx2.Response) -> None:
    with suppress(LookupError):
        _open.get().append(response)


def _thinking(model: str) -> types.ThinkingConfig | None:
    """Return how much a family may think: thoughts are output, and eat the ceiling and money."""
    if model.startswith("gemini-3"):
        return types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)
    if model.startswith("gemini-2.5-flash"):
        return types.ThinkingConfig(thinking_budget=0)
    return None


def _contents(turns: Sequence[Turn]) -> list[types.ContentUnion]:
    return [
        types.Content(
            role="user" if turn.role == "user" else "model",
            parts=[types.Part.from_text(text=turn.text)],
        )
        for turn in turns
    ]


def _parts(answer: types.GenerateContentResponse) -> list[types.Part]:
    candidates = answer.candidates or []
    content = candidates[0].content if candidates else None
    return [part for part in (content.parts if content else None) or [] if not part.thought]


def _text(answer: types.GenerateContentResponse) -> str:
    return storable("".join(part.text for part in _parts(answer) if isinstance(part.text, str)))


def _end(answer: types.GenerateContentResponse, counted: Usage | None, said: bool) -> Piece | None:
    """Return what ends the answer with this chunk; None when there is more to come."""
    feedback = answer.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        return Declined(_DECLINES, counted or _NOTHING_USED)
    reason = answer.candidates[0].finish_reason if answer.candidates else None
    if reason in _UNFINISHED:
        return None
    if reason in _FAILED:
        return Broke("The model's answer was cut off.", retryable=True, usage=counted)
    if reason not in (_STOPPED, _CUT):
        return Declined(_DECLINES, counted or _NOTHING_USED)
    if counted is None:
        return _UNCOUNTED
    if not said:
        return Declined("The model has nothing to say to this.", counted)
    return Done(counted, cut=reason is _CUT)


def _drawn(answer: types.GenerateContentResponse) -> Drawn | Declined | Broke:
    counted = _usage(answer)
    for part in _parts(answer):
        blob = part.inline_data
        if blob is None or not blob.data:
            continue
        if blob.mime_type not in IMAGE_TYPES or len(blob.data) > MAX_IMAGE_BYTES:
            return replace(_UNREADABLE, usage=counted)
        return Drawn(blob.data, blob.mime_type, counted, MAKER) if counted else _UNCOUNTED
    end = _end(answer, counted, said=False)
    if isinstance(end, Declined | Broke):
        return end
    return Broke("The model drew nothing.", retryable=True, usage=counted)


def _usage(answer: types.GenerateContentResponse) -> Usage | None:
    """Return the tokens that the API counted; thoughts are output, and tools' answers input."""
    meta = answer.usage_metadata
    if meta is None:
        return None
    read = (meta.prompt_token_count, meta.tool_use_prompt_token_count or 0)
    written = (meta.candidates_token_count or 0, meta.thoughts_token_count or 0)
    if not all(_is_count(count) for count in (*read, *written)):
        return None
    return Usage(sum(count or 0 for count in read), sum(written))


def _until_now(counted: Usage | None, written_bytes: int) -> Usage:
    """Return what was used until now, where the API counts the words only at the end."""
    counted = counted or _NOTHING_USED
    return Usage(counted.input_tokens, max(counted.output_tokens, written_tokens(written_bytes)))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TOKENS_BELIEVED


def _tell(call: str, broke: Broke) -> None:
    _log.warning("agent_broke", call=call, reason=broke.reason, retryable=broke.retryable)


def _broke(error: Exception) -> Broke:
    """Say what went wrong in words that hold nothing of the server's answer nor of our key."""
    if isinstance(error, httpx2.TimeoutException):
        return _LATE
    if isinstance(error, httpx2.TransportError):
        return Broke("The model cannot be reached.", retryable=True)
    code = error.code if isinstance(error, errors.APIError) else None
    if type(code) is not int:
        return _UNREADABLE
    if code in (401, 402, 403, 404):
        return Broke("The model could not be asked.", retryable=False)
    if code == 429:
        return Broke("The model has too much to do.", retryable=True)
    if 300 <= code < 500 and code not in (408, 409):
        return Broke("The model does not take a request like this.", retryable=False)
    return Broke("The model is out of order.", retryable=True)
