"""Limits per caller: how often an address may ask for what costs us and is not paid yet.

Who asks is the peer, or the hop that the trusted proxies name, and nothing else that a caller can
write. Counts lie in Postgres (or Redis): they hold across processes and restarts, and where they
can't be read, nothing is let through. What fails on our side is given back, within a limit too.
"""

import contextlib
import ipaddress
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum, auto
from functools import lru_cache, partial

from limits import (
    RateLimitItem,
    RateLimitItemPerDay,
    RateLimitItemPerHour,
    RateLimitItemPerMinute,
)
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from starlette.requests import Request

from app.http.counts import NAMESPACE, make_storage
from app.http.dialect import AGENT_JOBS, why_of
from app.http.worker_pace import WorkerPace
from app.ports import Clock
from app.refusal import LEAST_RETRY_S, Refusal, Spent, Why, patience_s, unavailable
from app.settings import Settings
from app.strict_json import BadInput
from db import switches
from db.engine import Database, DatabaseAway

LOGINS_PER_MINUTE = 10
GUESSES, GUESSES_EACH, GUESSES_IN_MIN = 10, 50, 15  # at one name's password; of one address
V1_IN_MIN = 15  # as the document says
CLOSED_S = 60  # when to come back while nothing is sold
GIVEN_BACK = "given back"  # what is counted beside a rule, so that failures too have an end
SUBSCRIBER = 64  # bits of an IPv6 address that one subscriber is given at least

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5}")


class Rule(StrEnum):
    """What is counted, each by itself."""

    DEMO = auto()
    ESTIMATE = auto()
    CREATE = auto()  # jobs, sessions, offers: each makes a row and an invoice
    SUBMIT = auto()  # batches of pictures and films: each may make five hundred rows
    BYTES = auto()  # of what is not paid yet, of one caller
    ALL_BYTES = auto()  # and of all of them
    DESTINATION = auto()  # claims on refunds: invoices are decoded, strangers' servers asked
    LOGIN = auto()  # guesses at the operator's token
    ACCOUNT = auto()  # new accounts
    GUESS = auto()  # wrong passwords of one name
    GUESS_EACH = auto()  # and of one address
    V1 = auto()  # requests to /api/v1
    KEY_MINUTE = auto()  # requests of one account to the image jobs API
    KEY_DAY = auto()


SAYS = {
    Rule.DEMO: ("demo", "demos"),
    Rule.ESTIMATE: ("estimate", "estimates"),
    Rule.CREATE: ("request for an invoice", "requests for an invoice"),
    Rule.SUBMIT: ("job submission", "job submissions"),
    Rule.BYTES: ("kB of requests", "kB of requests"),
    Rule.ALL_BYTES: ("kB of requests", "kB of requests"),
    Rule.DESTINATION: ("claim on a refund", "claims on refunds"),
    Rule.LOGIN: ("login", "logins"),
    Rule.ACCOUNT: ("new account", "new accounts"),
    Rule.V1: ("request", "requests"),
    Rule.KEY_MINUTE: ("request", "requests"),
    Rule.KEY_DAY: ("request", "requests"),
}
UNCOUNTED = "The limits can't be looked up just now."
NEXT = {
    Rule.DEMO: "Try again in {wait_s} seconds, or buy the job with POST /api/jobs.",
}


def is_ours(failed: Exception) -> bool:
    """Say whether our side is to blame for what a caller is not given."""
    if isinstance(failed, Refusal | BadInput):
        return AGENT_JOBS.status(why_of(failed)) >= 500 and not isinstance(failed, Spent)
    return True


def caller_address(peer: str, forwarded: Sequence[str], trusted_proxies: int) -> str:
    """Return the caller of a request that came by so many proxies of the operator's.

    Each of these has appended whom it was asked by, so the caller is that many hops from the end,
    and what stands before it is hearsay. Where there is no address, the peer is the caller.
    """
    if trusted_proxies:
        hops = ",".join(forwarded).split(",")
        named = _plain(hops[-trusted_proxies]) if len(hops) >= trusted_proxies else None
        if named is not None:
            return named
    return _of_peer(peer)


@lru_cache(4_096)  # those who ask come again: to read an address takes as long as to find a route
def _of_peer(peer: str) -> str:
    return _plain(peer) or peer


def _plain(text: str) -> str | None:
    """Return an address as it is counted; None for what is none."""
    text = text.strip(" \t")
    ported = _WITH_PORT.fullmatch(text)
    try:
        given = ipaddress.ip_address((ported[1] or ported[2]) if ported else text)
    except ValueError:
        return None
    if isinstance(given, ipaddress.IPv4Address):
        return str(given)
    if given.ipv4_mapped is not None:
        return str(given.ipv4_mapped)
    host_bits = given.max_prefixlen - SUBSCRIBER
    return str(ipaddress.IPv6Network((int(given) >> host_bits << host_bits, SUBSCRIBER)))


def make_rules(settings: Settings) -> dict[Rule, RateLimitItem]:
    """Return the limits that the settings name; one of 0 is none."""
    minutely = {
        Rule.ESTIMATE: settings.estimates_per_minute,
        Rule.CREATE: settings.creates_per_minute,
        Rule.SUBMIT: settings.submissions_per_minute,
        Rule.DESTINATION: settings.claims_per_minute,
        Rule.KEY_MINUTE: settings.key_requests_per_minute,
    }
    rules: dict[Rule, RateLimitItem] = {
        rule: RateLimitItemPerMinute(most, namespace=NAMESPACE)
        for rule, most in minutely.items()
        if most
    }
    hourly = {
        Rule.BYTES: settings.request_kb_per_hour,
        Rule.ALL_BYTES: settings.request_kb_per_hour_all,
        Rule.ACCOUNT: settings.accounts_per_hour,
    }
    rules |= {
        rule: RateLimitItemPerHour(most, namespace=NAMESPACE)
        for rule, most in hourly.items()
        if most
    }
    if settings.key_requests_per_day:
        most = settings.key_requests_per_day
        rules[Rule.KEY_DAY] = RateLimitItemPerDay(most, namespace=NAMESPACE)
    if settings.v1_requests_per_15_minutes:
        most = settings.v1_requests_per_15_minutes
        rules[Rule.V1] = RateLimitItemPerMinute(most, V1_IN_MIN, namespace=NAMESPACE)
    rules[Rule.LOGIN] = RateLimitItemPerMinute(LOGINS_PER_MINUTE, namespace=NAMESPACE)
    for rule, most in ((Rule.GUESS, GUESSES), (Rule.GUESS_EACH, GUESSES_EACH)):
        rules[rule] = RateLimitItemPerMinute(most, GUESSES_IN_MIN, namespace=NAMESPACE)
    rules[Rule.DEMO] = RateLimitItemPerHour(settings.demo_per_hour, namespace=NAMESPACE)
    return rules


class Throttle:
    """Counts what callers ask, and refuses what is too much. Windows are fixed, from their first
    request on.
    """

    def __init__(
        self,
        storage: Storage,
        rules: Mapping[Rule, RateLimitItem],
        clock: Callable[[], datetime],
        sells: Callable[[], Awaitable[bool]] | None = None,
        trusted_proxies: int = 0,
        workers_per_minute: int = 0,
    ) -> None:
        self._storage, self._limiter = storage, FixedWindowRateLimiter(storage)
        self._rules, self._clock, self._sells = rules, clock, sells
        self._trusted_proxies = trusted_proxies
        self.workers = WorkerPace(workers_per_minute, clock)
        self._mute_since: datetime | None = None  # since when nobody can count

    def address(self, request: Request) -> str:
        """Return who asks: an IPv4 address, or the /64 of an IPv6 one."""
        peer = request.client.host if request.client else ""
        if not self._trusted_proxies:
            return caller_address(peer, (), 0)
        forwarded = request.headers.getlist("x-forwarded-for")
        return caller_address(peer, forwarded, self._trusted_proxies)

    def payer(self, request: Request) -> str:
        """Return who is to blame for what a caller without a session asks for."""
        return f"address:{self.address(request)}"

    async def count(self, request: Request, rule: Rule, account_id: str | None = None) -> None:
        """Count this request, or refuse it with 429 (503 while nobody can count).

        Whatever it is answered then tells its caller how much is left. `account_id`: whose request
        it is, where it is not its address that counts.
        """
        if rule in (Rule.CREATE, Rule.SUBMIT, Rule.DEMO) and self._sells is not None:
            await self._check_sells(self._sells)
        await self._ask(request, rule, counts=True, account_id=account_id)

    @contextlib.asynccontextmanager
    async def turn(self, request: Request, rule: Rule) -> AsyncIterator[None]:
        """Count this request as `count` does, and not where it then fails on our side.

        Nobody is given back more in a window than may be asked in one: whoever finds out how to
        make us fail has twice as much, and no more.
        """
        item = self._rules.get(rule)
        try:
            await self.count(request, rule)
        except Refusal as refused:
            if item is not None and refused.why is Why.TOO_MANY:
                # Else a turn that is given back would not show.
                await self._uncount(self.address(request), rule, item)
            raise
        try:
            yield
        except Exception as failed:
            if item is not None and is_ours(failed):
                with contextlib.suppress(StorageError, DatabaseAway):  # then it stays counted
                    await self._give_back(request, rule, item)
            raise

    async def _give_back(self, request: Request, rule: Rule, item: RateLimitItem) -> None:
        caller = self.address(request)
        window = await self._limiter.get_window_stats(item, rule, caller)
        if window.reset_time <= self._clock().timestamp():
            return  # it was counted in a window that is closed
        if not await self._limiter.hit(item, GIVEN_BACK, rule, caller):
            return
        await self._uncount(caller, rule, item)
        reset_s, left = await self._limiter.get_window_stats(item, rule, caller)
        _tell(request, item.amount, left, reset_s)

    @contextlib.asynccontextmanager
    async def guess(self, rule: Rule, guesser: str) -> AsyncIterator[None]:
        """Count a guess at a secret, and not where it is right, or is not looked at.

        It is counted before: of many at once, too many are refused, whether right or wrong.
        """
        item = self._rules[rule]
        try:
            allowed = await self._limiter.hit(item, rule, guesser)
            reset_s = 0.0
            if not allowed:
                reset_s, _ = await self._limiter.get_window_stats(item, rule, guesser)
        except StorageError:
            raise self._uncounted() from None
        if not allowed:
            wait_s = max(1, math.ceil(reset_s - self._clock().timestamp()))
            raise Refusal(
                Why.TOO_MANY,
                "That is too many wrong guesses. Nothing is looked at for a while.",
                f"Try again in {wait_s} seconds.",
                {"Retry-After": str(wait_s)},
            )
        try:
            yield
        except Refusal as refused:
            if refused.why is not Why.CREDENTIAL_INVALID:
                await self._uncount(guesser, rule, item)
            raise
        await self._uncount(guesser, rule, item)

    async def _uncount(self, caller: str, rule: Rule, item: RateLimitItem, amount: int = 1) -> None:
        key, length_s = item.key_for(rule, caller), item.get_expiry()
        if await self._storage.incr(key, length_s, amount=-amount) < 0:
            # It closed just now: nothing of this was in the next.
            await self._storage.incr(key, length_s, amount=amount)

    async def _check_sells(self, sells: Callable[[], Awaitable[bool]]) -> None:
        """Refuse what would begin something new, while the operator sells nothing."""
        try:
            if await sells():
                return
        except DatabaseAway as away:
            raise unavailable(
                Why.DATABASE_AWAY,
                "The server can't reach its database just now.",
                patience_s(away.lasted_s),
            ) from None
        raise unavailable(
            Why.NOT_SELLING,
            "The operator has stopped selling for now. Work that is paid for continues.",
            CLOSED_S,
        )

    async def weigh(self, request: Request, size: int) -> None:
        """Count the bytes of a request that is not paid yet, or refuse it: 429, or 503 where all
        callers together have sent too much."""
        for rule, caller, item in self._scales(request):
            try:
                allowed = await self._limiter.hit(item, rule, caller, cost=_kb(size))
                reset_s, _ = await self._limiter.get_window_stats(item, rule, caller)
            except StorageError:
                raise self._uncounted() from None
            self._mute_since = None
            if not allowed:
                left_s = math.ceil(reset_s - self._clock().timestamp())
                wait_s = min(item.get_expiry(), max(1, left_s))
                if rule is Rule.ALL_BYTES:
                    raise unavailable(Why.BUSY, "Too many unpaid requests just now.", wait_s)
                _tell(request, item.amount, 0, reset_s)
                raise _too_many(rule, item, wait_s)

    async def unweigh(self, request: Request, size: int) -> None:
        """Give back the bytes of a request that were counted just now: it is paid for."""
        with contextlib.suppress(StorageError):
            for rule, caller, item in self._scales(request):
                await self._uncount(caller, rule, item, _kb(size))

    def _scales(self, request: Request) -> Iterator[tuple[Rule, str, RateLimitItem]]:
        for rule, caller in ((Rule.BYTES, self.address(request)), (Rule.ALL_BYTES, "all")):
            item = self._rules.get(rule)
            if item is not None:
                yield rule, caller, item

    async def look(self, request: Request, rule: Rule) -> bool:
        """Show the caller how much is left, and count nothing. Return whether there is any."""
        return await self._ask(request, rule, counts=False)

    async def _ask(
        self, request: Request, rule: Rule, *, counts: bool, account_id: str | None = None
    ) -> bool:
        item = self._rules.get(rule)
        if item is None:
            return True
        now_s = self._clock().timestamp()
        _tell(request, item.amount, 0, now_s + LEAST_RETRY_S)  # until it is known
        caller = f"account:{account_id}" if account_id else self.address(request)
        try:
            allowed = not counts or await self._limiter.hit(item, rule, caller)
            reset_s, left = await self._limiter.get_window_stats(item, rule, caller)
        except StorageError:
            raise self._uncounted() from None
        self._mute_since = None
        _tell(request, item.amount, left, reset_s)
        if not allowed:
            wait_s = min(item.get_expiry(), max(1, math.ceil(reset_s - now_s)))
            raise _too_many(rule, item, wait_s, "account" if account_id else "address")
        return left > 0

    def _uncounted(self) -> Refusal:
        now = self._clock()
        self._mute_since = self._mute_since or now
        lasted_s = (now - self._mute_since).total_seconds()
        return unavailable(Why.DATABASE_AWAY, UNCOUNTED, patience_s(lasted_s))


def _tell(request: Request, most: int, left: int, reset_s: float) -> None:
    """Have the answer say what is left: app/http/edge.py adds it, whoever answers."""
    request.scope["state"]["rate_limit"] = {
        "x-ratelimit-limit": most,
        "x-ratelimit-remaining": left,
        "x-ratelimit-reset": math.ceil(reset_s),
    }


def _kb(size: int) -> int:
    return max(1, math.ceil(size / 1_000))


def _too_many(rule: Rule, item: RateLimitItem, wait_s: int, whose: str = "address") -> Refusal:
    one, many = SAYS[rule]
    allowed = f"{item.amount} {one if item.amount == 1 else many}"
    window = item.GRANULARITY.name
    within = f"one {window}" if item.multiples == 1 else f"{item.multiples} {window}s"
    return Refusal(
        Why.TOO_MANY,
        f"That is more than {allowed} in {within} from your {whose}.",
        NEXT.get(rule, "Send the same request again in {wait_s} seconds.").format(wait_s=wait_s),
        {"Retry-After": str(wait_s)},
    )


def make_throttle(settings: Settings, db: Database, clock: Clock) -> Throttle:
    """Return what counts how often each caller asks, as the settings say."""
    return Throttle(
        make_storage(settings, db, clock),
        make_rules(settings),
        clock,
        partial(switches.is_on, db, switches.Name.SELLING),
        settings.trusted_proxies,
        settings.worker_requests_per_minute,
    )
