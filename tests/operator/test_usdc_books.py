"""The books in USDC, broken by hand and held against the chain: what is wrong is named."""

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import psycopg
import pytest
import sqlalchemy

from app import advance
from app.advance import Applied, Shell, Terms
from app.loops.deposits import Deposits
from app.operator.comparison import Comparison
from app.operator.usdc_books import UsdcBooks
from app.ports import UsdcRail
from app.promises.usdc_sending import UsdcSending
from db.engine import Database
from db.migrate import migrate
from db.promises import Outbox
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.refund import RefundKey
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import StubFacilitator
from pricing.money import MicroUsdc
from tests.world.clock import Clock
from tests.world.house_fixtures import instance_of
from tests.world.market_fixtures import PAYER, Market
from tests.world.patience import PATIENCE_S
from tests.world.town import copied, found, tamper
from tests.world.usdc_fixtures import Payer
from tests.world.usdc_street import client_of

_numbers = itertools.count(1)
SHOP = Payer("the shop of these books")
TOKEN = "a token of the operator's own"


def rail_on(stub: StubFacilitator) -> UsdcRail:
    """Return a second rail over a stub."""
    key = RefundKey(SHOP.key, BASE_SEPOLIA)
    return UsdcRail(BASE_SEPOLIA, key.address, client_of(stub), stub.ledger(BASE_SEPOLIA), key)


@pytest.fixture(scope="module")
async def street(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A database with refunds in USDC in every place, built once; each test gets a copy of it:
    `paid` is paid, `owed` waits, `flies` is in flight, and `u` has what was less than a cent."""
    template = sqlalchemy.make_url(postgres)
    admin = template.set(database="postgres").render_as_string(hide_password=False)
    name = f"usdc_street_{next(_numbers)}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}".encode())
    url = template.set(database=name).render_as_string(hide_password=False)
    migrate(url)
    db, clock = Database(url), Clock()
    await db.open()
    market = Market(db, Shell(db, Outbox(db), Terms(), clock), clock)
    stub = StubFacilitator(tmp_path_factory.mktemp("street") / "usdc.sqlite3", clock)
    sending = UsdcSending(db, market.shell, rail_on(stub), clock)
    for batch_id in ("paid", "owed", "flies"):
        await market.paid(batch_id, (30_000, 20_000))
        first, second = await market.claim(most=2)
        await market.deliver(first)
        await market.shell.do(advance.leases.decline, second.id, 1, "w", "no")
    await market.has_usdc("u", 9_000)
    await sending.send("paid:undelivered", 0)
    await stub.script_fault("settle", "5xx")
    await sending.send("flies:undelivered", 0)
    await market.is_right()
    await stub.close()
    await db.close()
    yield url


@pytest.fixture
def copy(street: str) -> Iterator[str]:
    """A copy of it, to be broken."""
    with copied(street) as url:
        yield url


# What was done by hand → the invariants that name it, and what they name.
BROKEN: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "an order's row deleted": (
        "DELETE FROM usdc_attempt WHERE payout_id = 'paid:undelivered'",
        [(5, "paid:undelivered"), (5, "payout:paid:undelivered:1:sent")],
    ),
    "an order forgotten, and its payout owed again": (
        "DELETE FROM usdc_attempt WHERE payout_id = 'flies:undelivered'; UPDATE payout"
        " SET state = 'owed', attempts = 0 WHERE id = 'flies:undelivered'",
        [
            (5, "payout:flies:undelivered:1:sent"),
            (7, "sending:flies:undelivered"),
            (7, "flies:undelivered"),
        ],
    ),
    "a payout set to paid by hand": (
        "UPDATE payout SET state = 'paid', paid_at = now() WHERE id = 'owed:undelivered'",
        [(5, "owed:undelivered"), (7, "refund:owed:undelivered")],
    ),
    "an order of another amount": (
        "UPDATE usdc_attempt SET amount_microusdc = 19999 WHERE payout_id = 'paid:undelivered'",
        [(5, "paid:undelivered"), (5, "payout:paid:undelivered:settled")],
    ),
    "an order to somebody else": (
        "UPDATE usdc_attempt SET payee = '0x1' WHERE payout_id = 'flies:undelivered'",
        [(5, "flies:undelivered")],
    ),
    "a payout in another asset": (
        "UPDATE payout SET asset = 'msat' WHERE id = 'owed:undelivered'",
        [
            (5, "payout:owed:undelivered:owed"),
            (6, "owed"),
            (7, "refund:owed:undelivered"),
            (7, "owed:undelivered"),
        ],
    ),
    "a rest that is owed no more": (
        "DELETE FROM payout WHERE id = 'owed:undelivered'",
        [(5, "payout:owed:undelivered:owed"), (7, "refund:owed:undelivered")],
    ),
    "an order that nobody asks about": (
        "UPDATE usdc_attempt SET check_at = NULL WHERE payout_id = 'flies:undelivered'",
        [(8, "flies:undelivered:order:1")],
    ),
    "a promise to send lost": (
        "DELETE FROM procrastinate_jobs WHERE lock = 'owed:undelivered:order:0'",
        [(8, "owed:undelivered:order:0")],
    ),
    "a balance of somebody's raised": (
        "UPDATE account SET balance = balance + 1 WHERE name = 'user:u'",
        [(1, "user:u"), (1, "the books in microusdc")],
    ),
    "a share in USDC made larger": (
        "UPDATE item SET share_amount = share_amount + 1 WHERE id = 'owedi001'",
        [(5, "item:owedi001:delivered"), (6, "owed")],
    ),
}


async def test_healthy_books_in_usdc_give_no_finding(copy: str) -> None:
    """Paid, owed, in flight, and on a balance: nothing is wrong."""
    assert await found(copy) == []


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_broken_by_hand_in_usdc_is_named(copy: str, what: str) -> None:
    """With its invariant, and the row or the entry that is wrong."""
    statements, named = BROKEN[what]
    tamper(copy, *statements.split("; "))
    findings = {(one.invariant, one.who) for one in await found(copy)}
    assert set(named) <= findings, findings


async def test_the_chain_is_held_against_the_books(market: Market, tmp_path: Path) -> None:
    """What lay there when it was first seen is the operator's own. From then on: to the millionth;
    less is wrong unless it may be on its way, and more is not, for anybody can send some."""
    clock = market.clock
    stub = StubFacilitator(tmp_path / "usdc.sqlite3", clock)
    rail = rail_on(stub)
    books = UsdcBooks(market.db, rail, clock)
    assert await replace(books, usdc=None).compare() is None

    async def told() -> Comparison:
        compared = await books.compare()
        assert compared is not None
        return compared

    first = await told()
    assert "first time" in first.said and first.beyond == FAUCET and first.is_done
    assert "to the millionth" in (await told()).said
    # Sold, and the chain doesn't show it: so lately that this may be right, and then not.
    await market.paid("b", (30_000,))
    lately = await told()
    assert lately.finding is None and "differs" in lately.said and lately.is_done
    clock.forward(minutes=16)
    wrong = await told()
    assert wrong.finding is not None and wrong.finding.invariant == 3
    assert "0.030000 USDC less" in wrong.said
    # It is there after all, and so is a gift.
    for amount in (30_000, 1):
        gift = Payer(f"who gives {amount}").pays(
            replace(rail.offer(MicroUsdc(amount))), int(clock().timestamp())
        )
        await rail.facilitator.settle(gift)
    more = await told()
    assert more.finding is None and more.is_done and "0.000001 USDC more" in more.said
    await books.accept("a gift")
    assert "to the millionth" in (await told()).said
    # A refund on its way may have left, or not.
    await market.shell.do(advance.batches.cancel, "b")
    sending = UsdcSending(market.db, market.shell, rail, clock)
    await stub.script_fault("settle", "5xx")
    await sending.send("b:undelivered", 0)
    assert (await told()).finding is None
    await sending.ask("b:undelivered", 1)
    settled = await told()
    assert "to the millionth" in settled.said, settled
    balance = await rail.ledger.balance_microusdc(rail.pay_to)
    assert balance == FAUCET + 1 and settled.beyond == balance
    await stub.close()


async def test_what_was_not_read_yet_is_not_taken_for_what_lay_there(
    market: Market, tmp_path: Path
) -> None:
    """Once reading has begun, the chain is first seen when all that it shows is in the books: else
    that would be missing for ever, once it is booked."""
    clock = market.clock
    stub = StubFacilitator(tmp_path / "usdc.sqlite3", clock)
    rail = rail_on(stub)
    books, reading = UsdcBooks(market.db, rail, clock), Deposits(market.db, market.shell, rail)
    await reading.turn()
    sent = Payer("somebody").pays(rail.offer(MicroUsdc(70_000)), int(clock().timestamp()))
    await rail.facilitator.settle(sent)
    unread = await books.compare()
    assert unread is not None and not unread.is_done and "on their way" in unread.said
    await books.accept("too early")
    await reading.turn()
    clock.forward(minutes=16)
    first, then = await books.compare(), await books.compare()
    assert first is not None and first.beyond == FAUCET
    assert then is not None and "to the millionth" in then.said
    await stub.close()


async def test_the_operator_sees_what_is_earned_and_owed_in_usdc(
    database_url: str, tmp_path: Path
) -> None:
    """Nothing of it before the first sale; then what the books say, and where refunds come from."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        instance_of(database_url, tmp_path, executors=[], OPERATOR_TOKEN=TOKEN) as instance,
        httpx2.AsyncClient(base_url=instance.url, headers=headers, timeout=PATIENCE_S) as http,
    ):
        assert "At its addresses" not in (await http.get("/operator")).text
        clock = Clock()
        clock.now = instance.built.clock()
        market = Market(instance.built.db, instance.built.shell, clock)
        await market.paid("b", (30_000, 20_000), payer=PAYER)
        [claim, *_] = await market.claim()
        assert await market.deliver(claim) == Applied()
        page = (await http.get("/operator")).text
    assert "At its addresses" in page
    assert "0.050000" in page and "0.030000" in page and "0.020000" in page
