"""One exchange over HTTP with an untrusted server: bounded in bytes and in time.

Nothing is followed elsewhere, nothing is unpacked, no cookie is kept. A server on this machine is
asked without a proxy: what goes there may be money in plain text.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, Any

import httpx2

from app.buyer.event_reader import Overlong, lines_of
from pricing.authorities import authorities
from pricing.loopback import is_here

MOST_BODY_BYTES = 4 * 1024 * 1024
LONGEST_DOWNLOAD_S = 1_800  # of one file
LONGEST_PAUSE_S = 30  # for one Retry-After; a longer one is reported, not waited for
_BUSY = (429, 502, 503, 504)
PLAIN = {"Accept-Encoding": "identity"}  # what is packed could unpack into anything


class Lost(Exception):
    """There is no answer. `may_pass`: the same call may get one later."""

    def __init__(self, reason: str, *, may_pass: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.may_pass = reason, may_pass


class BadAddress(ValueError):
    """This server can't be reached with the settings here. The message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: httpx2.Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on, line by line."""

    status: int
    kind: str
    lines: AsyncIterator[str]


class Exchange:
    """The connections to one server. `timeout_s` is for a whole answer."""

    def __init__(
        self, url: str, timeout_s: float, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._timeout_s = timeout_s
        try:
            self._http = httpx2.AsyncClient(
                base_url=url,
                timeout=timeout_s,
                headers=PLAIN,
                follow_redirects=False,
                trust_env=not is_here(url),
                verify=authorities(trust_env=not is_here(url)),
                transport=transport,
            )
        except httpx2.InvalidURL as wrong:
            raise BadAddress(f"{shown(url)} is no URL") from wrong
        except (
            ImportError,
            ValueError,
            OSError,
        ) as wrong:  # app.commands.surroundings says which one
            raise BadAddress(
                "A proxy or a certificate that this environment names can't be used"
            ) from wrong

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Ask once, and return the whole answer. Raises Lost, Overlong."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(method, path, **options) as answer,
            ):
                _unpacked(answer)
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MOST_BODY_BYTES:
                        raise Overlong(f"its answer is longer than {MOST_BODY_BYTES >> 20} MiB")
                return Answer(answer.status_code, answer.headers, bytes(body))
        except TimeoutError as late:
            raise Lost("it did not answer in time") from late
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as broken:
            raise _lost(broken) from broken
        finally:
            self._http.cookies.clear()

    async def download(
        self, path: str, into: IO[bytes], most_bytes: int, silence_s: float
    ) -> Answer:
        """Ask for a file, and write what comes; return the answer without it, or a refusal with
        its body. Raises Lost, Overlong."""
        try:
            async with (
                asyncio.timeout(LONGEST_DOWNLOAD_S),
                self._http.stream("GET", path, timeout=silence_s) as answer,
            ):
                _unpacked(answer)
                most = most_bytes if answer.status_code == 200 else MOST_BODY_BYTES
                size, body = 0, bytearray()
                async for piece in answer.aiter_bytes():
                    size += len(piece)
                    if size > most:
                        raise Overlong(f"its answer is longer than {most >> 20} MiB")
                    if answer.status_code == 200:
                        await asyncio.to_thread(into.write, piece)
                    else:
                        body += piece
                return Answer(answer.status_code, answer.headers, bytes(body))
        except TimeoutError as late:
            raise Lost("it did not send all of it in time") from late
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as broken:
            raise _lost(broken) from broken
        finally:
            self._http.cookies.clear()

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, headers: dict[str, str], silence_s: float
    ) -> AsyncIterator[Stream]:
        """Yield an answer's lines as they come. Raises Lost, Overlong, also while they are read."""
        try:
            asking = self._http.stream("GET", path, headers=headers, timeout=silence_s)
            async with asking as answer:
                _unpacked(answer)
                kind = answer.headers.get("content-type", "")
                lines = lines_of(answer.aiter_bytes())
                yield Stream(answer.status_code, kind, lines)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as broken:
            raise _lost(broken) from broken
        finally:
            self._http.cookies.clear()


def pause_s_before_next(answer: Answer, attempt: int, repeatable: bool) -> float | None:
    """Return how long to wait before the call is repeated; None when it is not repeated."""
    if answer.status not in _BUSY:
        return None
    said = answer.headers.get("retry-after", "")
    if said.isascii() and said.isdecimal() and len(said) < 6:
        return float(said) if int(said) <= LONGEST_PAUSE_S else None
    return 2.0**attempt / 8 if repeatable and answer.status != 429 else None


def shown(url: str) -> str:
    """Return a URL as a sentence may show it: without a name or password in it."""
    try:
        return str(httpx2.URL(url).copy_with(userinfo=b"")).rstrip("/")
    except httpx2.InvalidURL:
        return "the server's URL"


def _unpacked(answer: httpx2.Response) -> None:
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Overlong("its answer is packed, which it was not asked to be")


def _lost(error: Exception) -> Lost:
    """Return why there is no answer, in words; none of the server's own is among them."""
    said = str(error)
    match error:
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return Lost("its URL must start with http:// or https://", may_pass=False)
        case httpx2.ProxyError():
            return Lost("the proxy does not lead there")
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Lost("there was no connection in time")
        case httpx2.ConnectError() if "CERTIFICATE" in said.upper():
            return Lost("its certificate is not one that is trusted here")
        case httpx2.ConnectError() if "Errno -" in said:
            return Lost("its name is not known")
        case httpx2.ConnectError():
            return Lost("nothing answers there")
        case httpx2.TimeoutException():
            return Lost("it did not answer in time")
        case httpx2.DecodingError() | httpx2.LocalProtocolError() | httpx2.StreamError():
            return Lost("its answer can't be read", may_pass=False)
        case httpx2.RemoteProtocolError():
            return Lost("it hung up, or does not speak HTTP")
    return Lost("the connection was cut")
