"""A second asset in the books: what is told in msat stays what it was, and each asset adds up."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import advance
from app.advance import Applied
from app.commands import doctor
from app.plant import books_of
from db import ledger, overview, standing
from db.audit import audit
from db.engine import Unwritten
from statemachine.entries import (
    EXPENSE_FAILED,
    EXPENSE_ROUTING,
    RAIL,
    RAIL_USDC,
    REVENUE_WORK,
    Account,
    Asset,
    Entry,
    Kind,
    Posting,
    invoice_settled,
    of_job,
    of_refund,
    of_session,
)
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of, settings_for
from tests.world.market_fixtures import Market
from tests.world.patience import PATIENCE_S
from tests.world.town import build, tamper

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "a token of the operator's own"


def usdc(key: str, *legs: tuple[Account, int]) -> Entry:
    """Return an entry in millionths of a USDC."""
    return Entry(key, Asset.MICROUSDC, tuple(Posting(*leg) for leg in legs))


async def post(instance: Instance, *entries: Entry) -> None:
    """Post entries in one transaction."""
    await instance.built.db.run("test", lambda tx: ledger.post(tx, entries, NOW))


async def sell_batches_for_usdc(instance: Instance) -> None:
    """Sell a batch, of which one item of two is delivered, and one that is not made."""
    clock = Clock()
    clock.now = instance.built.clock()
    market = Market(instance.built.db, instance.built.shell, clock)
    await market.paid("b", (2_500_000, 2_490_001))
    first, second = await market.claim(most=2)
    assert await market.deliver(first) == Applied()
    await market.shell.do(advance.leases.decline, second.id, 1, "w", "no")
    await market.has_usdc("u", 9_999)


async def book_usdc(instance: Instance, job_id: str) -> None:
    """Book USDC on accounts of its own, and on those that hold msat too."""
    own = Account("user:somebody", Kind.LIABILITY)
    await post(
        instance,
        usdc("usdc:1", (RAIL_USDC, 5_000_000), (own, -5_000_000)),
        usdc("usdc:2", (own, 2_500_000), (of_job(job_id), -2_500_000)),
        usdc("usdc:3", (of_job(job_id), 1_500_000), (REVENUE_WORK, -1_500_000)),
        usdc("usdc:4", (EXPENSE_ROUTING, 700), (EXPENSE_FAILED, 7_000_000), (RAIL, -7_000_700)),
        usdc("usdc:5", (own, 900), (of_refund(f"{job_id}:surplus"), -900)),
        usdc("usdc:6", (own, 800), (of_session(job_id), -800)),
    )


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Instance, dict[str, str]]]:
    """A job in every place that a job can rest in, told in msat."""
    async with instance_of(database_url, tmp_path, OPERATOR_TOKEN=TOKEN) as instance:
        yield instance, await build(instance)


async def told_in_msat(instance: Instance) -> list[Any]:
    """Return all that the books tell of msat alone."""
    db, rail = instance.built.db, instance.built.rail
    return [
        await standing.rail_sheet(db, rail.identity, None),
        await standing.prepaid_msat(db),
        await overview.sheet(db),
        [line for line in await ledger.trial_balance(db) if line.asset is Asset.MSAT],
        [line for line in await overview.trial_groups(db) if line.asset == "msat"],
        [await ledger.balance(db, a.name, Asset.MSAT) for a in (RAIL, REVENUE_WORK)],
    ]


async def test_what_is_told_in_msat_is_not_moved_by_another_asset(
    town: tuple[Instance, dict[str, str]],
) -> None:
    """The rail's sheet, the overview, the trial balance and every balance stay what they were."""
    instance, jobs = town
    before = await told_in_msat(instance)
    await book_usdc(instance, jobs["done"])
    assert await told_in_msat(instance) == before
    db = instance.built.db
    assert await ledger.balance(db, RAIL_USDC.name, Asset.MSAT) == 0
    assert await ledger.balance(db, RAIL_USDC.name, Asset.MICROUSDC) == 5_000_000
    assert await ledger.balance(db, REVENUE_WORK.name, Asset.MICROUSDC) == 1_500_000
    groups = {
        line.name: (line.kept, line.recomputed)
        for line in await overview.trial_groups(db)
        if line.asset == "microusdc"
    }
    assert groups["user"] == (5_000_000 - 2_500_000 - 1_700,) * 2
    assert groups["revenue:work"] == (1_500_000,) * 2
    assert groups["rail:lightning"] == (-7_000_700,) * 2


async def test_the_review_finds_nothing_wrong_with_a_second_asset(
    town: tuple[Instance, dict[str, str]], database_url: str, tmp_path: Path
) -> None:
    """The audit, the comparison with the rail, and the doctor are as right as without it."""
    instance, _ = town
    books = books_of(instance.built)
    await instance.http.request("DELETE", "/api/dev/stub/faults")
    while not (await books.compare()).is_done:  # the payment that hung has settled
        await asyncio.sleep(0.1)
    settings = settings_for(tmp_path, DATABASE_URL=database_url, PORT=0)
    well = await doctor.examine_all(settings, database_url, None)
    await sell_batches_for_usdc(instance)
    assert await audit(instance.built.db) == []
    review = await books.review()
    assert review.findings == () and review.rail.is_done, review.rail.said
    assert await doctor.examine_all(settings, database_url, None) == well


async def test_a_second_asset_is_audited_by_itself(
    town: tuple[Instance, dict[str, str]], database_url: str
) -> None:
    """A balance that is not what its postings add up to is named with its asset, and so is an
    asset whose books do not sum to zero."""
    instance, _ = town
    await sell_batches_for_usdc(instance)
    tamper(database_url, "UPDATE account SET balance = balance - 1 WHERE name = 'rail:x402'")
    named = {(each.invariant, each.who): each.what for each in await audit(instance.built.db)}
    assert set(named) == {(1, "rail:x402"), (1, "the books in microusdc")}
    assert named[1, "rail:x402"].endswith(" microusdc")  # its refund may have left by itself


async def test_a_debt_in_one_asset_is_not_paid_by_what_rests_in_another(
    town: tuple[Instance, dict[str, str]],
) -> None:
    """A liability is guarded in each asset apart."""
    instance, _ = town
    await post(instance, invoice_settled("h", (of_job("new"), 9_000)))
    with pytest.raises(Unwritten, match="no_negative_liability"):
        await post(instance, usdc("k", (of_job("new"), 1), (REVENUE_WORK, -1)))


async def test_entries_of_two_assets_are_posted_in_one_transaction(
    town: tuple[Instance, dict[str, str]],
) -> None:
    """Each is booked in its own asset, whichever comes first, and none in that of the first."""
    instance, _ = town
    db, account = instance.built.db, of_job("new")
    await post(
        instance,
        usdc("k", (RAIL_USDC, 70), (account, -70)),
        invoice_settled("h", (account, 9_000)),
    )
    assert await ledger.balance(db, account.name, Asset.MSAT) == 9_000
    assert await ledger.balance(db, account.name, Asset.MICROUSDC) == 70


async def test_the_operator_sees_each_asset_in_its_own_unit(
    town: tuple[Instance, dict[str, str]],
) -> None:
    """The page of the trial balance has a table for each, which sums to zero."""
    instance, jobs = town
    await book_usdc(instance, jobs["done"])
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        page = await http.get("/operator/books", headers={"Authorization": f"Bearer {TOKEN}"})
    assert page.status_code == 200
    assert "Trial balance in sats" in page.text and "Trial balance in USDC" in page.text
    assert "5.000000" in page.text and "sum to zero" in page.text
