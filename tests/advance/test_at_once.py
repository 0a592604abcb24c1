"""What is set aside on a session and given back is written by one call, where that is all there is
to it: it comes to what the law says, step by step.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from app import advance
from app.advance import Applied, Purse, Replayed, Short, Spending
from app.advance.holds import Payer
from app.main import utc_now
from db import sessions
from db.engine import Tx
from statemachine import hold as law
from statemachine.session import SessionState
from tests.world.house_fixtures import Instance, instance_of
from tests.world.session_fixtures import Holder, held

AMOUNT_MSAT = 9_000
LIMIT_MSAT = 20_000


@pytest.fixture(scope="module")
async def house(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance without a worker: of all tests, each of which has sessions of its own."""
    folder = tmp_path_factory.mktemp("house")
    async with instance_of(database_url_of_file, folder, worker=False) as instance:
        yield instance


@dataclass
class Session:
    """A session of its own, with one budget that one may be held to."""

    house: Instance
    holder: Holder

    @property
    def id(self) -> str:
        """Its id."""
        return self.holder.session_id

    def spending(self, budgeted: bool) -> Spending:
        """Return on whose word it pays."""
        link = f"link of {self.id}"
        return Spending((link,), ((link, LIMIT_MSAT),) if budgeted else ())

    async def begins(self, name: str, amount_msat: int, budgeted: bool) -> object:
        """Set an amount aside."""
        return await self.house.built.shell.do(
            advance.holds.begin, f"{name} {self.id}", "t", amount_msat, self.id,
            self.spending(budgeted),
        )  # fmt: skip

    async def stands(self) -> list[dict[str, object]]:
        """Return all that is written of it, with its id taken out."""
        found = []
        for query in (
            "SELECT state, version, reserved_msat, rests, ended FROM session WHERE id = %(id)s",
            "SELECT state, charge_msat, spent_msat, budgets, amount_msat, ended_at IS NULL AS runs"
            " FROM hold WHERE session_id = %(id)s ORDER BY id",
            "SELECT used_msat, limit_msat FROM allowance WHERE session_id = %(id)s",
            "SELECT replace(p.account, %(id)s, '') AS account, p.amount,"
            " replace(e.key, %(id)s, '') AS key FROM posting p JOIN entry e ON e.id = p.entry_id"
            " WHERE e.id IN (SELECT entry_id FROM posting WHERE account LIKE '%%' || %(id)s)"
            " AND e.key NOT LIKE 'invoice:%%' ORDER BY e.id, p.account",
            "SELECT replace(name, %(id)s, '') AS name, balance FROM account"
            " WHERE name LIKE '%%' || %(id)s ORDER BY name",
            "SELECT reason, amount FROM payout WHERE session_id = %(id)s",
        ):
            found += await self.house.built.db.read_all(query, id=self.id)
        return [{k: str(v).replace(self.id, "") for k, v in row.items()} for row in found]

    async def write(self, columns: str) -> None:
        """Have its row be as is wanted."""
        await self.house.built.db.read_all(
            f"UPDATE session SET {columns} WHERE id = %(id)s RETURNING 1", id=self.id
        )


async def session_of(house: Instance) -> Session:
    """Return a new session of 3,000 sats."""
    return Session(house, await held(house, 3_000))


@pytest.mark.parametrize("budgeted", [True, False])
@pytest.mark.parametrize("minimum_msat", [50_000, 2_996_000])
@pytest.mark.parametrize(
    "event", [law.Used(4_000), law.Used(AMOUNT_MSAT), law.Broke(3_000), law.LetGo()]
)
async def test_a_hold_ends_alike_at_once_and_step_by_step(
    house: Instance, event: law.Event, minimum_msat: int, budgeted: bool
) -> None:
    """Whether or not whoever ends it knows whose it is; and a session that runs low is paused."""
    stood = []
    for is_known in (True, False):
        session = await session_of(house)
        for name in ("first", "second"):
            assert await session.begins(name, AMOUNT_MSAT, budgeted) == Applied()
        await session.write(f"minimum_msat = {minimum_msat}")
        links = tuple(link for link, _ in session.spending(budgeted).budgets)
        known = Payer(session.id, AMOUNT_MSAT, links) if is_known else None
        for again in (Applied(), Replayed()):
            done = await house.built.shell.do(
                advance.holds.end, f"first {session.id}", event, known
            )
            assert done == again
        stood.append(await session.stands())
    assert stood[0] == stood[1]
    low = minimum_msat > 2_991_000 and event == law.Used(AMOUNT_MSAT)
    state = SessionState.PAUSED if low else SessionState.ACTIVE
    assert stood[0][0]["state"] == state


@pytest.mark.parametrize("state", ["active", "paused", "expired"])
async def test_what_is_not_said_of_a_hold_is_not_believed(house: Instance, state: str) -> None:
    """Another session, another amount: the row says what it is; so does its session."""
    session, other = await session_of(house), await session_of(house)
    for one in (session, other):
        assert await one.begins("first", AMOUNT_MSAT, False) == Applied()
    before = await other.stands()
    await session.write(f"state = '{state}'" + (", ended = 'closed'" * (state == "expired")))
    wrong = Payer(other.id, AMOUNT_MSAT - 1, ())
    done = await house.built.shell.do(
        advance.holds.end, f"first {session.id}", law.Used(4_000), wrong
    )
    assert done == Applied() and await other.stands() == before
    row, held_row, *_ = await session.stands()
    assert row["reserved_msat"] == "0" and held_row["charge_msat"] == "4000"
    assert row["state"] == ("expired" if state == "expired" else "active")


async def test_what_is_set_aside_is_what_the_law_says(house: Instance) -> None:
    """Up to the last msat of the balance and of the budget; beyond, nothing is written."""
    session = await session_of(house)
    assert await session.begins("one", LIMIT_MSAT - 1, True) == Applied()
    before = await session.stands()
    assert await session.begins("two", 2, True) == Short(Purse.BUDGET, 2, 1)
    assert await session.begins("two", 3_000_000, False) == Short(
        Purse.BALANCE, 3_000_000, 3_000_000 - LIMIT_MSAT + 1
    )
    assert await session.stands() == before
    assert await session.begins("two", 1, True) == Applied()
    assert await session.begins("three", 3_000_000 - LIMIT_MSAT, False) == Applied()
    [row, *_] = await session.stands()
    assert (row["state"], row["reserved_msat"]) == ("active", "3000000")
    await session.write("state = 'paused'")
    assert await session.begins("four", 1, False) == Replayed()


async def test_a_credential_is_looked_at_where_it_pays(house: Instance) -> None:
    """Where its session takes it, it comes to what it does after a look. Else nothing is written:
    its first use, another nonce, too little money, no active session, a revoked link.
    """
    session, looked_at = await session_of(house), await session_of(house)
    db = house.built.db
    [row] = await db.read_all("SELECT nonce FROM session WHERE id = %(id)s", id=session.id)

    async def begins(amount_msat: int = AMOUNT_MSAT, nonce: str = row["nonce"]) -> object:
        return await house.built.shell.do(
            advance.holds.begin_shown, f"first {session.id}", "t", amount_msat, session.id,
            session.spending(budgeted=True), nonce,
        )  # fmt: skip

    async def is_revoked(link: str) -> None:
        await db.run("test", lambda tx: sessions.revoke(tx, session.id, link, utc_now()))

    before = await session.stands()
    assert await begins() is None
    await session.write("credential_used_at = now()")
    assert await begins(nonce="ab" * 16) is None
    assert await begins(LIMIT_MSAT + 1) is None
    await session.write("state = 'paused'")
    assert await begins() is None
    await session.write("state = 'active'")
    await is_revoked(f"link of {session.id}")
    assert await begins() is None
    assert await session.stands() == before
    await db.read_all("DELETE FROM revocation WHERE session_id = %(id)s RETURNING 1", id=session.id)
    await is_revoked("another link")
    assert await begins() == Applied()
    assert await looked_at.begins("first", AMOUNT_MSAT, True) == Applied()
    assert await session.stands() == await looked_at.stands()


FORMER = 200  # holds that a session has had

_FORMER = """
INSERT INTO hold (id, state, session_id, purpose, amount_msat, charge_msat, created_at, expires_at,
                  ended_at)
SELECT 'former ' || n || of.id, 'dropped', of.id, 't', 1, 0, now(), now(), now()
  FROM session of, generate_series(1, %(count)s) n WHERE of.id = %(id)s
"""
_READ = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'hold'"


async def test_the_end_of_a_hold_reads_no_other_of_its_session(house: Instance) -> None:
    """However many it has had, and though it was planned while there were few."""
    session, shell = await session_of(house), house.built.shell
    known = Payer(session.id, AMOUNT_MSAT, ())

    async def read_by_one(tx: Tx, name: str) -> int:
        act = shell.act(tx)
        spending = session.spending(budgeted=False)
        await advance.holds.begin(act, name, "t", AMOUNT_MSAT, session.id, spending)
        [before] = await tx.all(_READ)
        assert await advance.holds.end(act, name, law.Used(4_000), known) == Applied()
        [after] = await tx.all(_READ)
        return int(after["idx_tup_fetch"] - before["idx_tup_fetch"])

    async def work(tx: Tx) -> tuple[int, int]:
        few = await read_by_one(tx, f"one {session.id}")
        await tx.execute(_FORMER, id=session.id, count=FORMER)
        return few, await read_by_one(tx, f"another {session.id}")

    few, many = await house.built.db.run("test", work)
    assert 0 < many <= few
