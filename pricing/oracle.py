"""What a bitcoin costs now: several independent sources, their agreed median, or a refusal.

A price is never guessed: it comes from sources that agree, from a cache younger than its age
limit, or from the operator's own fixed price and then says so. Anything else is PriceUnavailable.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import httpx2

from pricing.authorities import authorities
from pricing.loopback import is_here
from pricing.money import BtcPrice, MicroUsd, halfway, usd_to_microusd

DEFAULT_MINIMUM_SOURCES: Final = 3
FAILURE_TTL_S: Final = 5  # how long a first failure is remembered before sources are asked again
LONGEST_FAILURE_TTL_S: Final = 60  # each failure after it is remembered twice as long, up to this
MAX_BODY_BYTES: Final = 64 * 1024
LOWEST_USD: Final = Decimal(1_000)
HIGHEST_USD: Final = Decimal(100_000_000)
# An answer may lie this far from the median of all; parts of a hundred.
OUTLIER_PCT: Final = 5

_DECIMAL_TEXT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """Where to ask, and the steps through the JSON answer that lead to the price in USD."""

    name: str
    url: str
    path: tuple[str, ...]


BUILT_IN: Final[tuple[Source, ...]] = (
    Source(
        "coingecko",
        "https://api.coingecko.com/api/v3/simple/price?ids=bitcoin&vs_currencies=usd",
        ("bitcoin", "usd"),
    ),
    Source("coinbase", "https://api.coinbase.com/v2/prices/BTC-USD/spot", ("data", "amount")),
    Source(
        "kraken",
        "https://api.kraken.com/0/public/Ticker?pair=XBTUSD",
        ("result", "XXBTZUSD", "c", "0"),
    ),
    Source("bitstamp", "https://www.bitstamp.net/api/v2/ticker/btcusd/", ("last",)),
    Source("mempool", "https://mempool.space/api/v1/prices", ("USD",)),
)


@dataclass(frozen=True, slots=True)
class PriceUnavailable:
    """No price can be named. `reason` is a sentence for the buyer; ask again after a while."""

    reason: str
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """What a source last said, for the operator. `error` is empty after a good answer."""

    name: str
    answered_at: datetime | None = None
    microusd_per_btc: int | None = None
    error: str = ""
    failures: int = 0  # since the start


@dataclass(frozen=True, slots=True)
class OracleStatus:
    """The price in the cache, how many sources must answer, and each source's last words."""

    price: BtcPrice | None
    minimum_sources: int
    sources: tuple[SourceStatus, ...]


@dataclass(frozen=True, slots=True)
class Mute:
    """A source gave no price. `reached` says whether it answered at all."""

    error: str
    reached: bool


class WrongAnswer(ValueError):
    """A source answered something that is not a price."""


def parse_sources(text: str) -> tuple[Source, ...]:
    """Read sources separated by commas: built-in names, or `name=url#json.path`.

    `kraken,coinbase,mine=https://example.org/ticker#result.0.last`. Numbers in a path index
    lists; a comma inside a URL is written %2C. Nothing at all means every built-in source.
    Raises ValueError with a sentence that names the item.
    """
    known = {source.name: source for source in BUILT_IN}
    items = [item.strip() for item in text.split(",") if item.strip()]
    found: dict[str, Source] = {}
    for item in items:
        if "=" in item:
            source = _parse_source(item)
        elif item in known:
            source = known[item]
        else:
            raise ValueError(
                f"the price source {item!r} is not one of {', '.join(known)}:"
                " write name=https://host/path#json.path for another"
            )
        if source.name in found:
            raise ValueError(f"the price source {source.name!r} is named twice")
        found[source.name] = source
    return tuple(found.values()) or BUILT_IN


def _parse_source(item: str) -> Source:
    name, _, place = item.partition("=")
    url, _, path = place.partition("#")
    steps = tuple(path.split("."))
    problem = ""
    if not _NAME.fullmatch(name):
        problem = "its name must be lower-case letters, digits, '_', '.' or '-'"
    elif not all(steps):
        problem = "after the URL comes '#' and the path to the price, separated by dots"
    else:
        try:
            address = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"cannot read the price source {item!r}: {error}") from error
        if address.scheme not in ("http", "https") or not address.host:
            problem = "its URL must begin with https:// (or http://) and a host"
    if problem:
        raise ValueError(f"cannot read the price source {item!r}: {problem}")
    return Source(name, url, steps)


def agree(answers: Mapping[str, int]) -> tuple[int, tuple[str, ...]] | None:
    """Return the price a strict majority of answers agree on, and who they are; else None.

    Answers further than 5 % from the median of all are dropped, and the median of the rest is the
    price. As long as the liars are a minority it lies within what the honest ones said.
    """
    if not answers:
        return None
    middle = _median(answers.values())
    kept = {
        name: value
        for name, value in answers.items()
        if abs(value - middle) * 100 <= middle * OUTLIER_PCT
    }
    if 2 * len(kept) <= len(answers):
        return None
    return _median(kept.values()), tuple(sorted(kept))


def _median(values: Iterable[int]) -> int:
    ordered = sorted(values)
    half = len(ordered) // 2
    return halfway(ordered[half], ordered[~half])


def read_price(body: bytes, path: tuple[str, ...]) -> int:
    """Return the micro-USD that a JSON answer names at `path`; WrongAnswer for anything else."""
    try:
        found: Any = json.loads(
            body, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise WrongAnswer("the answer is not JSON") from error
    for step in path:
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isascii() and step.isdigit():
            index = int(step)
            if index >= len(found):
                raise WrongAnswer(f"the answer has nothing at {'.'.join(path)}")
            found = found[index]
        else:
            raise WrongAnswer(f"the answer has nothing at {'.'.join(path)}")
    if isinstance(found, str) and _DECIMAL_TEXT.fullmatch(found):
        found = Decimal(found)
    if not isinstance(found, Decimal):
        raise WrongAnswer("the price is not a number")
    if not LOWEST_USD <= found <= HIGHEST_USD:
        raise WrongAnswer("the price is out of all bounds")
    return usd_to_microusd(found)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON, though Python would read it")


class Oracle:
    """Asks the sources when the cached price is old, once for however many callers wait.

    `minimum_sources` must answer, or all of them where fewer are configured, and a strict
    majority of the answers must agree. The in-process sharing of one refresh saves calls only;
    nothing depends on it for correctness.
    """

    def __init__(
        self,
        sources: tuple[Source, ...],
        *,
        clock: Callable[[], datetime],
        fallback_microusd: int | None,
        development_microusd: int | None,
        ttl_s: int = 60,
        max_age_s: int = 900,
        source_timeout_s: float = 5,
        minimum_sources: int = DEFAULT_MINIMUM_SOURCES,
    ) -> None:
        if minimum_sources < 1:
            raise ValueError("at least one price source must answer")
        self._sources = sources
        self._clock = clock
        self._fallback_microusd = fallback_microusd
        self._development_microusd = development_microusd
        self._ttl_s = ttl_s
        self._max_age_s = max_age_s
        self._source_timeout_s = source_timeout_s
        self._minimum = min(minimum_sources, max(1, len(sources)))
        # One that trusts the environment's proxies, and one for the sources on this machine.
        self._elsewhere, self._here = (
            httpx2.AsyncClient(
                follow_redirects=False,
                # Compressed answers could unpack into more than is ever read raw.
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                timeout=source_timeout_s,
                trust_env=trusted,
                verify=authorities(trust_env=trusted),
            )
            for trusted in (True, False)
        )
        self._live: BtcPrice | None = None
        self._failed_at: datetime | None = None
        self._failures = 0  # one after another
        self._why = "the price has not been asked for yet"
        self._all_silent = False
        self._refreshing: asyncio.Task[None] | None = None
        self._statuses = {source.name: SourceStatus(source.name) for source in sources}

    async def price(self) -> BtcPrice | PriceUnavailable:
        """Return a price no older than its age limit, or say why there is none."""
        if self._live is not None and self._younger(self._live.at, self._ttl_s):
            return self._live
        if self._failed_at is None or not self._younger(self._failed_at, self._pause_s):
            await self._refresh_once()
        if self._live is not None and self._younger(self._live.at, self._max_age_s):
            return self._live
        return self._without_sources()

    async def healthy(self) -> PriceUnavailable | None:
        """Return None when a price can be named."""
        price = await self.price()
        return price if isinstance(price, PriceUnavailable) else None

    def status(self) -> OracleStatus:
        """Return what each source last said, without asking anybody."""
        return OracleStatus(self._live, self._minimum, tuple(self._statuses.values()))

    async def close(self) -> None:
        """Stop a refresh under way and let go of the connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        await self._elsewhere.aclose()
        await self._here.aclose()

    def _younger(self, then: datetime, age_s: int) -> bool:
        # An age below zero means that the clock was set back: then the true age is not known.
        return timedelta(0) <= self._clock() - then < timedelta(seconds=age_s)

    def _without_sources(self) -> BtcPrice | PriceUnavailable:
        if self._fallback_microusd is not None:
            return BtcPrice(
                MicroUsd(self._fallback_microusd),
                self._clock(),
                ("operator",),
                "The operator's fixed bitcoin price was used, because no live price is available.",
            )
        if self._development_microusd is not None and self._all_silent:
            return BtcPrice(
                MicroUsd(self._development_microusd),
                self._clock(),
                ("development",),
                "An example price of the development environment: no price source was reached.",
            )
        return PriceUnavailable(
            f"The bitcoin price is not known: {self._why}.", retry_after_s=self._left_s()
        )

    @property
    def _pause_s(self) -> int:
        """How long the sources are left alone after the last failure."""
        doublings = min(self._failures, 10) - 1
        return min(FAILURE_TTL_S << max(0, doublings), LONGEST_FAILURE_TTL_S)

    def _left_s(self) -> int:
        """Return after how many whole seconds the sources are asked again, at the earliest."""
        if self._failed_at is None or not self._younger(self._failed_at, self._pause_s):
            return 1
        left = self._failed_at + timedelta(seconds=self._pause_s) - self._clock()
        return max(1, math.ceil(left.total_seconds()))

    async def _refresh_once(self) -> None:
        """Wait for the refresh under way, or for a new one. A caller that leaves stops nothing."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(), name="oracle-refresh")
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, _: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def _refresh(self) -> None:
        # The price is as old as the question, not as the slowest answer.
        asked_at = self._clock()
        said = await asyncio.gather(*(self._ask(source) for source in self._sources))
        answers: dict[str, int] = {}
        for source, answer in zip(self._sources, said, strict=True):
            before = self._statuses[source.name]
            if isinstance(answer, Mute):
                failures = before.failures + 1
                self._statuses[source.name] = replace(before, error=answer.error, failures=failures)
            else:
                answers[source.name] = answer
                self._statuses[source.name] = replace(
                    before, answered_at=asked_at, microusd_per_btc=answer, error=""
                )
        agreed = agree(answers) if len(answers) >= self._minimum else None
        if agreed is not None:
            value, names = agreed
            self._live = BtcPrice(MicroUsd(value), asked_at, names)
            self._failed_at, self._failures = None, 0
            return
        self._failed_at, self._failures = self._clock(), self._failures + 1
        self._all_silent = all(isinstance(a, Mute) and not a.reached for a in said)
        self._why = (
            f"{len(answers)} of {len(self._sources)} sources answered, {self._minimum} are needed"
            if len(answers) < self._minimum
            else f"the {len(answers)} sources that answered do not agree"
        )

    async def _ask(self, source: Source) -> int | Mute:
        try:
            async with asyncio.timeout(self._source_timeout_s):
                return await self._fetch(source)
        except TimeoutError:
            return Mute(f"no answer within {self._source_timeout_s:g} s", reached=False)
        except WrongAnswer as error:
            return Mute(str(error), reached=True)
        except httpx2.TransportError as error:
            return Mute(f"cannot be reached ({type(error).__name__})", reached=False)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            return Mute(f"cannot be asked ({type(error).__name__})", reached=False)

    async def _fetch(self, source: Source) -> int:
        client = self._here if is_here(source.url) else self._elsewhere
        async with client.stream("GET", source.url) as response:
            if response.status_code != 200:
                raise WrongAnswer(f"answered HTTP {response.status_code}")
            age = response.headers.get("age", "0")
            if not age.isdecimal() or int(age[:12]) > self._max_age_s:
                raise WrongAnswer("the answer is an old copy")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise WrongAnswer(f"answered more than {MAX_BODY_BYTES} bytes")
        return read_price(bytes(body), source.path)
