"""The auditor on batches, items and leases: whatever is broken by hand is found and named."""

import itertools
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import sqlalchemy

from app import advance
from app.advance import Shell, Terms
from db.engine import Database
from db.migrate import migrate
from db.promises import Outbox
from tests.world.clock import Clock
from tests.world.market_fixtures import Market
from tests.world.town import copied, found, tamper

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
async def street(postgres: str) -> AsyncIterator[str]:
    """A database with batches in every place, built once; each test gets a copy of it."""
    template = sqlalchemy.make_url(postgres)
    admin = template.set(database="postgres").render_as_string(hide_password=False)
    name = f"street_{next(_numbers)}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}".encode())
    url = template.set(database=name).render_as_string(hide_password=False)
    migrate(url)
    db, clock = Database(url), Clock()
    await db.open()
    terms = Terms(session_minimum_msat=1_000, session_idle_s=10**6)
    await _build(Market(db, Shell(db, Outbox(db), terms, clock), clock))
    await db.close()
    yield url


async def _build(market: Market) -> None:
    """Leave `over` (one delivered, one lost), `runs` (delivered, held, pending), `s1` over and `s2`
    under way on a session's balance, and `unpaid`."""
    do = market.shell.do
    await market.bought("over", (600, 1_400))
    first, second = await market.claim(most=2)
    await market.deliver(first)
    await do(advance.leases.decline, second.id, 1, "w", "no")
    await market.bought("runs", (500, 500, 1_000))
    first, _ = await market.claim(most=2)
    await market.deliver(first)
    await market.session("s", 100_000)
    await market.reserved("s1", (700, 300), "s")
    await do(advance.batches.cancel, "s1")
    await market.reserved("s2", (700, 300), "s")
    await market.order("unpaid", (1_000,))
    await market.is_right()


@pytest.fixture
def copy(street: str) -> Iterator[str]:
    """A copy of it, to be broken."""
    with copied(street) as url:
        yield url


async def test_healthy_batches_give_no_finding(copy: str) -> None:
    """Paid, unpaid, cancelled, under way and over: nothing is wrong."""
    assert await found(copy) == []


# What was done by hand → the invariants that name it, and what they name.
BROKEN: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "an item set to delivered by hand": (
        "UPDATE item SET state = 'completed', sha256 = 'x' WHERE id = 'runsi003'",
        [(5, "item:runsi003:delivered"), (6, "runs"), (6, "runsi003")],
    ),
    "a delivered item forgotten": (
        "UPDATE item SET state = 'failed', sha256 = NULL WHERE id = 'overi001'",
        [
            (5, "item:overi001:delivered"),
            (5, "batch:over:rounded"),
            (6, "over"),
            (6, "overi001"),
        ],
    ),
    "an item deleted": ("DELETE FROM item WHERE id = 'runsi003'", [(6, "runs")]),
    "a share made larger": (
        "UPDATE item SET share_amount = share_amount + 1 WHERE id = 'runsi001'",
        [(5, "item:runsi001:delivered"), (6, "runs")],
    ),
    "a share moved to another item": (
        "UPDATE item SET share_amount = 1500 - share_amount WHERE id IN ('runsi001', 'runsi003')",
        [(5, "item:runsi001:delivered"), (6, "runs")],
    ),
    "a batch charged for more": (
        "UPDATE batch SET charged_amount = charged_amount + 100 WHERE id = 'runs'",
        [(6, "runs"), (7, "batch:runs")],
    ),
    "a batch that ended at a fraction of a sat": (
        "UPDATE batch SET charged_amount = 600 WHERE id = 'over'",
        [(5, "batch:over:rounded"), (6, "over")],
    ),
    "a count raised": ("UPDATE batch SET failed = failed + 1 WHERE id = 'runs'", [(6, "runs")]),
    "a batch ended by hand": (
        "UPDATE batch SET state = 'completed', completed_at = now() WHERE id = 'runs'",
        [(6, "runs"), (7, "batch:runs")],
    ),
    "a batch begun that nobody had paid for": (
        "UPDATE batch SET state = 'queued' WHERE id = 'unpaid'",
        [(4, "unpaid"), (6, "unpaid")],
    ),
    "a price raised after it was told": (
        "UPDATE batch SET price_amount = price_amount + 1000 WHERE id = 'unpaid'",
        [(6, "unpaid")],
    ),
    "a session's batch made dearer": (
        "UPDATE batch SET price_amount = price_amount + 1000 WHERE id = 's2'",
        [(5, "batch:s2:reserved"), (2, "s"), (6, "s2"), (7, "batch:s2")],
    ),
    "a session's batch ended by hand": (
        "UPDATE batch SET state = 'cancelled', completed_at = now() WHERE id = 's2'",
        [(5, "batch:s2:ended"), (2, "s"), (6, "s2"), (7, "batch:s2")],
    ),
    "a refund forgotten": (
        "DELETE FROM payout WHERE id = 'over:undelivered'",
        [(5, "payout:over:undelivered:owed"), (6, "over"), (7, "refund:over:undelivered")],
    ),
    "a lease ended by hand": (
        "UPDATE lease SET state = 'lapsed' WHERE item_id = 'runsi002'",
        [(6, "runsi002")],
    ),
    "a lease deleted": ("DELETE FROM lease WHERE item_id = 'overi001'", [(6, "overi001")]),
    "a file's row deleted": ("DELETE FROM artifact WHERE id = 'aoveri001'", [(6, "overi001")]),
    "a batch deleted": (
        "DELETE FROM batch WHERE id = 'runs'",
        [(5, "item:runsi001:delivered"), (7, "batch:runs")],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_broken_by_hand_is_named(copy: str, what: str) -> None:
    """With its invariant, and the row or the entry that is wrong."""
    statement, named = BROKEN[what]
    tamper(copy, statement)
    findings = {(one.invariant, one.who) for one in await found(copy)}
    assert set(named) <= findings
