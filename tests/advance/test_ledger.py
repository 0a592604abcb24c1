"""The books: a replay changes nothing, kept balances are the postings' sums, no debt below zero."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import ledger
from db.engine import Database, Tx, Unwritten
from statemachine import entries
from statemachine.entries import Account, Asset, Entry, Kind, Posting

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def post(db: Database, *posted: Entry) -> None:
    """Post entries in a transaction of their own."""
    await db.run("test", lambda tx: ledger.post(tx, posted, NOW))


async def test_an_entry_posted_twice_is_a_replay(db: Database) -> None:
    """The business key makes the second posting a no-op."""
    entry = entries.invoice_settled("h", (entries.of_job("j"), 5_000))
    await post(db, entry)
    await post(db, entry)
    assert await ledger.balance(db, "job:j", Asset.MSAT) == 5_000
    assert await ledger.balance(db, "rail:lightning", Asset.MSAT) == 5_000


async def test_a_liability_never_falls_below_zero(db: Database) -> None:
    """Earning more than was paid fails the whole transaction."""
    await post(db, entries.invoice_settled("h", (entries.of_job("j"), 5_000)))
    with pytest.raises(Unwritten, match="no_negative_liability"):
        await post(db, entries.eval_earned("j", 5_001))
    assert await ledger.balance(db, "job:j", Asset.MSAT) == 5_000
    assert await ledger.balance(db, "revenue:eval", Asset.MSAT) == 0


async def test_concurrent_entries_on_the_same_accounts_all_count(db: Database) -> None:
    """Forty entries at once on one rail account: no deadlock, nothing lost."""
    settled = [
        entries.invoice_settled(f"h{n}", (entries.of_job(f"j{n % 3}"), 1_000)) for n in range(40)
    ]
    await asyncio.gather(*(post(db, entry) for entry in settled))
    assert await ledger.balance(db, "rail:lightning", Asset.MSAT) == 40_000
    lines = await ledger.trial_balance(db)
    assert all(line.kept == line.recomputed for line in lines)


async def test_several_entries_of_one_event_are_posted_together(db: Database) -> None:
    """Entries that touch one account twice add up."""
    await post(
        db,
        entries.invoice_settled("h", (entries.of_job("j"), 9_000)),
        entries.work_charged("j", 4_000, 5_000, "j:surplus"),
    )
    assert await ledger.balance(db, "job:j", Asset.MSAT) == 0
    assert await ledger.balance(db, "refund:j:surplus", Asset.MSAT) == 5_000


@given(st.lists(st.integers(-(10**12), 10**12), min_size=0, max_size=5))
def test_an_entry_is_balanced_or_refused(amounts: list[int]) -> None:
    """Whatever the amounts, an Entry sums to zero, has no empty leg, and two legs at least."""
    legs = tuple(Posting(Account(f"a{n}", Kind.ASSET), a) for n, a in enumerate(amounts))
    good = len(amounts) >= 2 and sum(amounts) == 0 and 0 not in amounts
    if good:
        assert Entry("k", Asset.MSAT, legs).postings == legs
    else:
        with pytest.raises(ValueError, match="entry k"):
            Entry("k", Asset.MSAT, legs)


def test_an_entry_names_an_account_once() -> None:
    """Two legs on one account are one leg, or nothing."""
    account = Account("a", Kind.ASSET)
    with pytest.raises(ValueError, match="twice"):
        Entry("k", Asset.MSAT, (Posting(account, 1), Posting(account, -1)))


async def test_names_are_posted_as_they_are(db: Database) -> None:
    """Whatever letters are in a key or in a name."""
    strange = 'a "name", {of} \\ NULL'
    owed = entries.of_job(strange)
    legs = Posting(entries.RAIL, 5), Posting(owed, -5)
    await post(db, Entry(strange, Asset.MSAT, legs))
    assert await ledger.balance(db, owed.name, Asset.MSAT) == 5
    [first, _] = await ledger.entries_of(db, [owed.name])
    assert first.key == strange


async def test_who_earns_waits_for_nobody_who_earns(db: Database) -> None:
    """What the house's accounts have is kept in parts, of which each connection has its own: two
    entries that earn are posted beside each other, though neither has committed."""
    await post(db, entries.invoice_settled("i", (entries.of_job("i"), 5_000)))
    async with AsyncExitStack() as open_:
        parts: dict[int, Tx] = {}
        while len(parts) < 2:
            tx = await open_.enter_async_context(db.transaction())
            told = await tx.one("SELECT pg_backend_pid() %% 64 AS part")
            assert told is not None
            parts[told["part"]] = tx
        for name, tx in zip("jk", parts.values(), strict=True):
            entry = entries.invoice_settled(name, (entries.of_job(name), 5_000))
            await ledger.post(tx, [entry], NOW)
            await tx.answered()
    assert await ledger.balance(db, "rail:lightning", Asset.MSAT) == 15_000
    assert all(line.kept == line.recomputed for line in await ledger.trial_balance(db))
