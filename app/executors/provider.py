"""What all executors share that have others make: each answer is bounded in size, and who asks
bounds its time; a call is made again only where nothing was begun by the first one.

What a buyer reads is a sentence of ours. A provider's own words are neither told nor logged: they
may quote the key, or the prompt. Its address is the operator's, and is left only for what it names
itself: a file at its own address, or at a public one.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import orjson

from app.executors.gate import PAUSES_S, Gate
from app.executors.measure import Measured, measured
from app.ports import Declined, Made, NotBegun, Undoable, Wanted
from payments.kept_alive import limits
from payments.public_http import Answer, Away, PublicHttp
from pricing.authorities import authorities
from pricing.loopback import is_here

CONNECT_S: Final = 10
PROBE_S: Final = 10
MOST_JSON_BYTES: Final = 1024 * 1024  # of an answer that holds no file
MOST_PICTURE_BYTES: Final = 48 * 1024 * 1024  # of 4096 squared, without loss
MOST_FILM_BYTES: Final = 128 * 1024 * 1024
RETRIES_S: Final = (1.0, 3.0, 9.0)  # pauses before it is asked again
LONGEST_PAUSE_S: Final = 20.0  # beyond it the gate shuts, and somebody else may try
MOST_RETRY_AFTER_S: Final = 3_600.0
NOTHING_BEGAN: Final = (429, 503)
OPERATORS: Final = (401, 402, 403)  # a wrong key, no credit, no right to it

UNAVAILABLE: Final = "Who makes this model can't be reached now."
DECLINES: Final = "Who makes this model declines to make this: its content rules forbid it."
UNFIT: Final = "Who makes this model can't make it from these inputs."
TOO_SHORT: Final = "Who makes this model made a shorter film than was asked for."
OTHER_SIZE: Final = "Who makes this model made it in another size than was asked for."


Hears = Callable[[str, int], None]  # what went wrong, in our words, and the status, if any


class ProviderBroke(Exception):
    """It gave nothing that can be used. It may be tried again."""


class ProviderAway(ProviderBroke, NotBegun):
    """It could not be asked, and its gate is shut. Nothing was begun."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the JSON of it; None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def media_type(self) -> str:
        """Return what it says that it is, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Form:
    """A body of several parts: fields, and files with their names and kinds."""

    fields: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes, str]]


class Provider:
    """The connections to one provider, and its gate."""

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        probe_path: str,
        mend: str,
        at_once: int,
        pauses_s: Sequence[float] = PAUSES_S,
        retries_s: Sequence[float] = RETRIES_S,
        public: PublicHttp | None = None,
        hears: Hears | None = None,
    ) -> None:
        self.name, self.base_url, self.mend = name, base_url.rstrip("/"), mend
        self.gate = Gate(self._probe, pauses_s)
        self._probe_path, self._retries_s = probe_path, retries_s
        self._hears = hears or self._log
        self._places = asyncio.Semaphore(at_once)
        self.headers = dict(headers)
        here = is_here(base_url)
        # A redirect would take the key elsewhere; a proxy has no business before this machine. The
        # key is put into each request that goes to the provider's own address, and into no other.
        self._http = httpx2.AsyncClient(
            follow_redirects=False,
            trust_env=not here,
            verify=authorities(trust_env=not here),
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            limits=limits(),
            headers={"Accept-Encoding": "identity", "User-Agent": "boltwork"},
        )
        self._public = public or PublicHttp(
            timeout_s=60, most_bytes=MOST_FILM_BYTES, accept="image/*, video/*"
        )

    @asynccontextmanager
    async def turn(self, deadline_s: float) -> AsyncIterator[None]:
        """Hold one of the places, and then no longer than the deadline."""
        async with self._places:
            try:
                async with asyncio.timeout(deadline_s):
                    yield
            except TimeoutError:
                self.tell("late")
                raise ProviderBroke("the provider was late") from None

    async def ask(
        self,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        most_bytes: int = MOST_JSON_BYTES,
    ) -> Heard:
        """Ask, by POST where there is a body; again where nothing was begun.

        Raises ProviderAway, with the gate shut, when it can't be asked.
        """
        pauses_s = [*self._retries_s, None]
        for pause_s in pauses_s:
            status, wait_s = 0, 0.0
            try:
                heard = await self._once(path, body, query, most_bytes)
                if heard.status not in NOTHING_BEGAN or _is_spent(heard):
                    return heard
                status, wait_s = heard.status, _retry_after_s(heard)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
                pass  # it was never told what is wanted
            if pause_s is None or wait_s > LONGEST_PAUSE_S:
                break
            await asyncio.sleep(max(pause_s, wait_s))
        self.tell("busy" if status else "unreachable", status)
        self.gate.shut(Undoable(UNAVAILABLE, self.mend), wait_s)
        raise ProviderAway("the provider can't be asked")

    async def fetch(self, url: str, most_bytes: int) -> bytes:
        """Return a file that the provider named: at its own address, or at a public one."""
        parts, own = urlsplit(url), urlsplit(self.base_url)
        if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
            try:
                heard = await self._read("GET", url, None, {}, most_bytes)
            except httpx2.HTTPError:
                raise self.broke("its file broke off") from None
            status, data = heard.status, heard.body
        else:
            given = await self._public.get(url)
            if not isinstance(given, Answer):
                raise self.broke("its file is away" if isinstance(given, Away) else "its file")
            status, data = given.status, given.body
        if status != 200 or len(data) > most_bytes:
            raise self.broke("its file", status)
        return data

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return await self.gate.trouble()

    def refused(self, heard: Heard) -> Undoable | Declined:
        """Return what an answer means that isn't the one hoped for. 5xx and junk are raised."""
        if heard.status in (*OPERATORS, 404) or _is_spent(heard):
            self.tell("refuses us", heard.status)
            trouble = Undoable(UNAVAILABLE, self.mend)
            if heard.status != 404:  # which is of this model alone
                self.gate.shut(trouble)
            return trouble
        if heard.status in (400, 413, 415, 422):
            self.tell("refuses this", heard.status)
            return Declined(DECLINES if is_moderated(heard) else UNFIT)
        if heard.status >= 500:
            self.gate.shut(Undoable(UNAVAILABLE, self.mend))
        raise self.broke("its answer", heard.status)

    def broke(self, what: str, status: int = 0) -> ProviderBroke:
        """Return an error, and write it down."""
        self.tell(what, status)
        return ProviderBroke(f"{self.name}: {what}")

    def tell(self, what: str, status: int = 0) -> None:
        """Write down what went wrong, in our words."""
        self._hears(what, status)

    def _log(self, what: str, status: int) -> None:
        import structlog  # a lent machine has none, and hears of it otherwise

        log = structlog.get_logger("executor")
        log.warning("provider_broke", executor=self.name, what=what, status=status)

    async def free(self, path: str, body: object = None, *, method: str = "POST") -> None:
        """Let the provider know that something is wanted no more. Whatever it says is taken."""
        with suppress(httpx2.HTTPError, TimeoutError, ProviderBroke):
            async with asyncio.timeout(CONNECT_S):
                await self._once(path, body, None, MOST_JSON_BYTES, method)

    async def glance(
        self,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        most_bytes: int = MOST_JSON_BYTES,
    ) -> Heard | None:
        """Ask once, and shut no gate; None where it isn't answered: it matters to nobody much."""
        with suppress(httpx2.HTTPError, TimeoutError, ProviderBroke):
            async with asyncio.timeout(PROBE_S):
                return await self._once(path, body, query, most_bytes)
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._public.close()

    async def _once(
        self,
        path: str,
        body: object,
        query: Mapping[str, str] | None,
        most_bytes: int,
        method: str = "",
    ) -> Heard:
        url = str(httpx2.URL(self.base_url + path, params=query or None))
        method = method or ("GET" if body is None else "POST")
        try:
            return await self._read(method, url, body, self.headers, most_bytes)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self.broke(f"its answer ({type(error).__name__})") from None

    async def _read(
        self, method: str, url: str, body: object, headers: Mapping[str, str], most_bytes: int
    ) -> Heard:
        given: dict[str, Any] = {"headers": dict(headers)}
        if isinstance(body, Form):
            given |= {"data": body.fields, "files": body.files}
        elif body is not None:
            given["content"] = orjson.dumps(body)
            given["headers"]["Content-Type"] = "application/json"
        async with self._http.stream(method, url, **given) as response:
            # Unpacked it might be a thousand times as long as what is counted here.
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self.broke("its answer is packed", response.status_code)
            raw = bytearray()
            async for piece in response.aiter_raw():
                raw += piece
                if len(raw) > most_bytes:
                    raise self.broke("its answer is too long", response.status_code)
            return Heard(response.status_code, response.headers, bytes(raw))

    async def _probe(self) -> Undoable | None:
        """Ask what costs nothing. Any answer will do but a refusal of ours, or a broken one."""
        try:
            async with asyncio.timeout(PROBE_S):
                heard = await self._once(self._probe_path, None, None, MOST_PICTURE_BYTES)
        except (httpx2.HTTPError, TimeoutError, ProviderBroke):
            return Undoable(UNAVAILABLE, self.mend)
        if heard.status in OPERATORS or heard.status >= 500 or _is_spent(heard):
            return Undoable(UNAVAILABLE, self.mend)
        return None


def made(data: bytes, wanted: Wanted) -> Made | None:
    """Return a file as what it is; None where it isn't what was asked for."""
    found = measured(data)
    if found is None or found.is_film != (wanted.duration_ms > 0):
        return None
    width, height = (wanted.width, wanted.height) if found.is_film else (found.width, found.height)
    return Made(data, found.media_type, width, height, wanted.duration_ms)


def decoded(text: object) -> bytes | None:
    """Return the bytes of base64, with or without `data:` before it; None where it is none."""
    if not isinstance(text, str):
        return None
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def is_short(data: bytes, wanted: Wanted) -> bool:
    """Say whether a film says that it is clearly shorter than what was asked for."""
    found = measured(data)
    return bool(found and 0 < found.duration_ms < wanted.duration_ms * 4 // 5)


def is_of_shape(found: Measured | Made, wanted: Wanted) -> bool:
    """Say whether a picture has the shape that was asked for, and is no smaller."""
    if not (found.width and found.height):
        return False
    asked = wanted.width / wanted.height
    alike = abs(found.width / found.height - asked) <= SHAPE * asked
    return alike and found.width >= (1 - SHAPE) * wanted.width


SHAPE: Final = 0.06  # how far a shape may be off: makers round sides to multiples of 16 to 64


def is_moderated(heard: Heard) -> bool:
    """Say whether a refusal is one of content, in the codes that providers have for it."""
    return is_blocked(_error(heard))


def is_blocked(error: Mapping[str, Any]) -> bool:
    """Say whether an error of a provider is about content."""
    told = " ".join(str(error.get(name, "")) for name in ("code", "type", "message", "details"))
    return any(sign in told.lower() for sign in _MODERATED)


_MODERATED: Final = (
    "moderation", "content_policy", "content policy", "content_filter", "content_violation",
    "safety", "policy violation", "policies", "prohibited",
)  # fmt: skip
_SPENT: Final = (
    "insufficient_quota", "billing", "insufficient_balance", "credits", "api_key_invalid",
)  # fmt: skip


def _is_spent(heard: Heard) -> bool:
    """Say whether there is no credit, or no such key: some say so with 400 or 429."""
    error = _error(heard)
    told = " ".join(str(error.get(name, "")) for name in ("code", "type", "details")).lower()
    return heard.status in (400, 402, 429) and any(sign in told for sign in _SPENT)


def _error(heard: Heard) -> Mapping[str, Any]:
    """Return the error object of an answer, whichever of the usual shapes it has."""
    body = heard.json() if len(heard.body) <= MOST_JSON_BYTES else None
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict):
        return error
    told = body.get("code", "") if isinstance(body, dict) else ""
    return {"message": error, "code": told} if isinstance(error, str) else {}


def _retry_after_s(heard: Heard) -> float:
    """Return what Retry-After says, in seconds; 0 where it says nothing that can be read."""
    text = heard.headers.get("retry-after", "").strip()
    return min(float(text), MOST_RETRY_AFTER_S) if text.isascii() and text.isdigit() else 0.0
