"""Limits per caller: who is counted as one caller, how it is counted, and what is answered."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from pydantic import ValidationError

from app.http.counts import PostgresStorage
from app.http.throttle import Rule, Throttle, caller_address
from app.plant import loops_of
from app.refusal import Refusal, Why
from app.settings import Settings
from db.engine import Database, DatabaseAway
from payments.lnurl import decode
from pricing.oracle import Oracle
from tests.world.contract import refused
from tests.world.house_fixtures import PEER, Instance, a_request, instance_of
from tests.world.rail_fixtures import RailClock

HOUR_S = 3600


@pytest.mark.parametrize(
    ("forwarded", "trusted", "caller"),
    [
        ([], 0, PEER),
        (["203.0.113.9"], 0, PEER),
        ([], 1, PEER),
        (["203.0.113.9"], 1, "203.0.113.9"),
        (["192.0.2.1, 203.0.113.9"], 1, "203.0.113.9"),
        (["192.0.2.1, 203.0.113.9"], 2, "192.0.2.1"),
        (["192.0.2.1", "203.0.113.9"], 1, "203.0.113.9"),
        (["192.0.2.1", "203.0.113.9"], 2, "192.0.2.1"),
        (["203.0.113.9,"], 1, PEER),
        (["203.0.113.9"], 2, PEER),
        (["  203.0.113.9\t"], 1, "203.0.113.9"),
        (["203.0.113.9:4711"], 1, "203.0.113.9"),
        (["unknown"], 1, PEER),
        (["203.0.113.256"], 1, PEER),
        (["203.0.113.09"], 1, PEER),
        (["3405803785"], 1, PEER),
        (["0x7f.1"], 1, PEER),
        (["①②⑦.⓪.⓪.①"], 1, PEER),
        (["2001:db8:1:2:3:4:5:6"], 1, "2001:db8:1:2::/64"),
        (["[2001:db8:1:2::1]:443"], 1, "2001:db8:1:2::/64"),
        (["[2001:DB8:1:2::1]"], 1, "2001:db8:1:2::/64"),
        (["fe80::1%eth0"], 1, "fe80::/64"),
        (["::ffff:203.0.113.9"], 1, "203.0.113.9"),
        (["::FFFF:cb00:7109"], 1, "203.0.113.9"),
        (["[2001:db8::1"], 1, PEER),
    ],
)
def test_the_caller_is_who_the_trusted_proxies_name(
    forwarded: list[str], trusted: int, caller: str
) -> None:
    """The hop that many from the right; where there is no address, the peer."""
    assert caller_address(PEER, forwarded, trusted) == caller


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::/64"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_peer_is_counted_as_an_address_is(peer: str, caller: str) -> None:
    """IPv6 by /64, mapped IPv4 as what it is; a socket without an address is a caller too."""
    assert caller_address(peer, [], 0) == caller


texts = st.text(max_size=40)
v4 = st.ip_addresses(v=4).map(str)
ids = st.integers(0, 2**64 - 1)


@given(said=st.lists(texts, max_size=4), trusted=st.integers(0, 3))
@example(said=[",,,"], trusted=3)
def test_nobody_breaks_it(said: list[str], trusted: int) -> None:
    """Whatever the header holds, there is a caller, written as an address is."""
    caller = caller_address(PEER, said, trusted)
    head, _, width = caller.partition("/")
    IPv6Address(head) if width else IPv4Address(head)


@given(forged=st.lists(texts, max_size=4), hops=st.lists(v4, min_size=1, max_size=3))
def test_what_a_caller_writes_does_not_matter(forged: list[str], hops: list[str]) -> None:
    """What stands before the trusted hops, on lines of its own or not, changes nothing."""
    plain = caller_address(PEER, [", ".join(hops)], len(hops))
    assert plain == hops[0]
    assert caller_address(PEER, [", ".join([*forged, *hops])], len(hops)) == plain
    assert caller_address(PEER, [*forged, *hops], len(hops)) == plain


@given(net=ids, one=ids, other=ids)
def test_a_64_is_one_caller(net: int, one: int, other: int) -> None:
    """Two addresses of a /64 are one caller, and those of two are two."""
    first, second = (str(IPv6Address(net << 64 | host)) for host in (one, other))
    if IPv6Address(first).ipv4_mapped or IPv6Address(second).ipv4_mapped:
        return
    assert caller_address(first, [], 0) == caller_address(second, [], 0)
    next_door = str(IPv6Address((net ^ 1) << 64 | one | 1 << 63))
    assert caller_address(first, [], 0) != caller_address(next_door, [], 0)


async def test_a_window_holds_what_was_counted_in_it(db: Database) -> None:
    """It opens with the first, closes when its time is over, and a new one begins at nothing."""
    clock = RailClock()
    storage = PostgresStorage(db, clock)
    assert await storage.get("a") == 0 and await storage.get_expiry("a") == clock.now.timestamp()
    closes_at = clock.now + timedelta(seconds=60)
    assert [await storage.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    clock.advance(59)
    assert await storage.incr("a", 60, amount=2) == 5
    assert await storage.get_expiry("a") == closes_at.timestamp()
    assert await storage.incr("b", 60) == 1
    clock.advance(1)
    assert await storage.get("a") == 0
    assert await storage.incr("a", 60) == 1
    assert await storage.get("b") == 1


async def test_two_that_count_at_once_forget_nothing(db: Database, database_url: str) -> None:
    """Of sixty hits at once, through two processes' connections, exactly so many are allowed."""
    beside = Database(database_url)
    await beside.open()
    clock = RailClock()
    storages = [PostgresStorage(db, clock), PostgresStorage(beside, clock)]
    counts = await asyncio.gather(*(storages[n % 2].incr("a", HOUR_S) for n in range(60)))
    assert sorted(counts) == [*range(1, 61)]
    await beside.close()


@pytest.fixture
def clock() -> RailClock:
    """A clock that a test moves."""
    return RailClock()


@pytest.fixture
async def limited(database_url: str, tmp_path: Path, clock: RailClock) -> AsyncIterator[Instance]:
    """An instance with small limits, behind one proxy, by the test's clock."""
    few: dict[str, Any] = {
        "ESTIMATES_PER_MINUTE": "2",
        "CREATES_PER_MINUTE": "2",
        "CLAIMS_PER_MINUTE": "2",
    }
    async with instance_of(
        database_url, tmp_path, clock=clock, TRUSTED_PROXIES="1", **few
    ) as running:
        yield running


def left(answer: httpx2.Response) -> tuple[int, int, int]:
    """Return what an answer says of its limit."""
    most, rest, reset = (
        int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")
    )
    return most, rest, reset


ASK = {"request": "hello"}
LIMITED: list[tuple[str, Any, int]] = [
    ("/api/estimate", ASK, 200),
    ("/api/jobs", ASK, 201),
    (f"/api/jobs/{'0' * 32}/refund", {"invoice": "lnbc1"}, 404),
]


@pytest.mark.parametrize(("path", "body", "status"), LIMITED)
async def test_beyond_the_limit_is_a_429(
    limited: Instance, clock: RailClock, path: str, body: Any, status: int
) -> None:
    """Each answer tells what is left; the one too many says when to come back, and then it goes
    on.
    """
    resets_at = int(clock.now.timestamp()) + 60
    first = await limited.post(path, body)
    assert first.status_code == status and left(first) == (2, 1, resets_at)
    clock.advance(18)
    bad = await limited.post(path, {"odd": 1})
    assert bad.status_code == 400 and left(bad) == (2, 0, resets_at)
    over = await limited.post(path, body)
    refused(over, 429, "more than 2")
    assert left(over) == (2, 0, resets_at)
    assert over.headers["retry-after"] == "42" and " 42 seconds" in over.json()["next"]
    clock.advance(42)
    again = await limited.post(path, body)
    assert again.status_code == status and left(again) == (2, 1, resets_at + 60)


async def test_a_limit_of_one_is_one(database_url: str, tmp_path: Path, clock: RailClock) -> None:
    """The sentence has the singular of what it counts."""
    one = instance_of(database_url, tmp_path, clock=clock, ESTIMATES_PER_MINUTE="1")
    async with one as instance:
        await instance.post("/api/estimate", ASK)
        over = await instance.post("/api/estimate", ASK)
        refused(over, 429, "more than 1 estimate in one minute")


FAILING: list[tuple[str, Any]] = [
    ("/api/estimate", ASK),
    ("/api/jobs", ASK),
    ("/api/ask", ASK),
]


@pytest.mark.parametrize(("path", "body"), FAILING)
async def test_what_fails_on_our_side_is_given_back(
    database_url: str, tmp_path: Path, clock: RailClock, path: str, body: Any
) -> None:
    """While there is no price nobody is counted for asking, as often as may be asked in a minute;
    after that it counts, for failures have an end too."""
    few: dict[str, Any] = {"ESTIMATES_PER_MINUTE": "2", "CREATES_PER_MINUTE": "2"}
    nobody = Oracle((), clock=clock, fallback_microusd=None, development_microusd=None)
    async with instance_of(database_url, tmp_path, clock=clock, oracle=nobody, **few) as instance:
        told = []
        for _ in range(4):
            answer = await instance.post(path, body)
            assert answer.status_code == 503
            told.append(left(answer)[1])
        assert told == [2, 2, 1, 0]
        refused(await instance.post(path, body), 429, "more than 2")


async def test_each_rule_and_each_caller_is_counted_alone(limited: Instance) -> None:
    """What one has used up is nobody else's, and a forged hop makes nobody another."""
    mine, other = {"X-Forwarded-For": "203.0.113.9"}, {"x-forwarded-FOR": "203.0.113.10"}
    for _ in range(2):
        answer = await limited.post("/api/estimate", ASK, headers=mine)
        assert answer.status_code == 200
    for forged in ("192.0.2.1, 203.0.113.9", "203.0.113.10,203.0.113.9", ",, 203.0.113.9"):
        forging = {"x-forwarded-for": forged}
        refused(await limited.post("/api/estimate", ASK, headers=forging), 429)
    twice = [("X-Forwarded-For", "203.0.113.10"), ("X-FORWARDED-FOR", "203.0.113.9")]
    refused(await limited.http.post("/api/estimate", json=ASK, headers=twice), 429)
    assert (await limited.post("/api/estimate", ASK, headers=other)).status_code == 200
    assert (await limited.post("/api/estimate", ASK)).status_code == 200
    assert (await limited.post("/api/jobs", ASK, headers=mine)).status_code == 201


async def test_keys_of_two_callers_never_meet(limited: Instance) -> None:
    """Behind a proxy too, an Idempotency-Key is its caller's own."""
    ids = [
        (
            await limited.post(
                "/api/jobs",
                ASK,
                headers={"Idempotency-Key": "one key for all three", "X-Forwarded-For": hop},
            )
        ).json()["jobId"]
        for hop in ("203.0.113.9", "203.0.113.10", "203.0.113.9")
    ]
    assert ids[0] == ids[2] != ids[1]


async def test_a_wallet_is_told_in_its_own_words(limited: Instance) -> None:
    """Withdrawals count as claims, and their refusal has LNURL's keys only."""
    job = await limited.to_end()
    url = decode(job["refunds"][0]["lnurlWithdraw"])
    assert url is not None
    path = urlsplit(url).path
    offer = (await limited.http.get(path)).json()
    asked = {"k1": offer["k1"], "pr": "lnbc1"}
    said = [(await limited.http.get(f"{path}/callback", params=asked)).json() for _ in range(3)]
    assert [one["status"] for one in said] == ["ERROR"] * 3
    assert ["more than 2" in one["reason"] for one in said] == [False, False, True]


async def test_a_limit_of_nothing_is_none(instance: Instance) -> None:
    """Where the operator has lifted a limit, nothing is counted, and nothing is said of one."""
    answer = await instance.post("/api/estimate", ASK)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert await instance.built.db.read_all("SELECT key FROM rate_limit") == []


async def test_closed_windows_are_forgotten(limited: Instance, clock: RailClock) -> None:
    """The sweep takes away what no longer counts."""
    query = "SELECT key FROM rate_limit"
    await limited.post("/api/estimate", ASK)
    clock.advance(30)
    await limited.post("/api/jobs", ASK)
    assert len(await limited.built.db.read_all(query)) == 2
    clock.advance(30)
    await loops_of(limited.built).recovery.turn()
    [kept] = await limited.built.db.read_all(query)
    assert "create" in kept["key"]


class BrokenStorage(Storage):
    """Counts nothing: whatever it is asked breaks, as it does when its server is away."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__(wrap_exceptions=True)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What it raises."""
        return ConnectionError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Break."""
        raise ConnectionError("canary: redis://user:password@host")

    async def get(self, key: str) -> int:
        """Break."""
        raise ConnectionError("canary: redis://user:password@host")

    get_expiry = check = reset = clear = get  # type: ignore[assignment]  # all break alike


async def test_while_nobody_can_count_nobody_is_let_through(tmp_path: Path) -> None:
    """A storage that is away is a 503, with the limit's headers, and without a word of why; the
    longer it is away, the later one is to come back."""
    request, now = a_request(), datetime(2026, 11, 22, tzinfo=UTC)
    rules = {Rule.DEMO: RateLimitItemPerMinute(5)}
    throttle = Throttle(BrokenStorage(), rules, lambda: now)
    for asking, after_s in ((throttle.count, "5"), (throttle.look, "77"), (throttle.count, "154")):
        request.scope["state"].clear()
        with pytest.raises(Refusal) as raised:
            await asking(request, Rule.DEMO)
        assert raised.value.why is Why.DATABASE_AWAY and "canary" not in str(raised.value)
        assert raised.value.headers["Retry-After"] == after_s
        now += timedelta(seconds=77)
        assert request.scope["state"]["rate_limit"]["x-ratelimit-remaining"] == 0


async def test_postgres_away_lets_nobody_through(tmp_path: Path) -> None:
    """Without Postgres the count fails as every other use of it does."""
    nowhere = PostgresStorage(Database("postgresql://nobody@127.0.0.1:9/none"), RailClock())
    throttle = Throttle(nowhere, {Rule.DEMO: RateLimitItemPerMinute(5)}, RailClock())
    with pytest.raises(DatabaseAway):
        await throttle.count(a_request(), Rule.DEMO)
    assert await nowhere.check() is False


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ("memcached://127.0.0.1", "redis://host:6379/0"),
        ("redis://", "redis://host:6379/0"),
        ("redis://user:planted@127.0.0.1:6379/0", "pip install redis"),
    ],
)
def test_a_redis_that_can_not_be_used_is_refused_at_the_start(storage: str, says: str) -> None:
    """Another store, or one without its package, stops the start with what to do."""
    with pytest.raises(ValidationError, match=says) as raised:
        Settings.model_validate({"RATE_LIMIT_STORAGE": storage})
    assert "planted" not in str(raised.value)


@pytest.mark.parametrize("name", ["TRUSTED_PROXIES", "CREATES_PER_MINUTE", "DEMO_PER_HOUR"])
def test_a_limit_is_never_negative(name: str) -> None:
    """A number below nothing is refused; so is a demo without a limit."""
    with pytest.raises(ValidationError):
        Settings.model_validate({name: "-1"})
    with pytest.raises(ValidationError):
        Settings.model_validate({"DEMO_PER_HOUR": "0"})
