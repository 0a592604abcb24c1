"""Workers of the network: their rows, what each has earned, and who was heard of lately."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from db.engine import Database, Tx
from db.lookups import Lookup
from db.rows import Reads, columns
from statemachine.entries import Asset
from statemachine.speed import FADES, Speed
from statemachine.worker import NEW_FOR, NEW_ITEMS, WorkerFacts, WorkerState

NOTED = timedelta(seconds=10)  # how exactly it is known when a worker was heard of
HEARD_WITHIN = timedelta(seconds=45)  # it counts as there for so long


@dataclass(frozen=True, slots=True)
class NewWorker:
    """A worker that is to be written: the hash of its token, never the token."""

    id: str
    account_id: str
    name: str
    sha256: str
    shown: str
    pay_to: str
    usdc_to: str | None = None
    payout_key: str | None = None


class WorkerRow(NamedTuple):
    """A worker as it is now."""

    id: str
    account_id: str
    name: str
    shown: str
    pay_to: str
    state: WorkerState
    delivered: int
    held_msat: int
    held_microusdc: int
    trusted_at: datetime | None
    silent: int
    silent_since: datetime | None
    given_back: int
    given_back_since: datetime | None
    created_at: datetime
    seen_at: datetime
    forfeited_msat: int
    forfeited_microusdc: int
    failed: int
    lost: int
    late: int
    canary_due: bool
    canaries_passed: int
    canaries_failed: int
    earned_msat: int
    earned_microusdc: int
    usdc_to: str | None
    payout_key: str | None
    signed: int
    next_pay_to: str | None
    next_usdc_to: str | None
    next_at: datetime | None

    def forfeited(self, asset: Asset) -> int:
        """Return what it has lost of what was held of its pay."""
        return self.forfeited_msat if asset is Asset.MSAT else self.forfeited_microusdc


_ROW = f"SELECT {columns(WorkerRow)} FROM worker"
_OF_TOKEN = Lookup(WorkerRow, ["sha256"], f"{_ROW} WHERE worker.sha256 = asked.sha256")
_INSERT = """
INSERT INTO worker (id, account_id, name, sha256, shown, pay_to, usdc_to, payout_key, state,
                    created_at, seen_at)
VALUES (%(id)s, %(account_id)s, %(name)s, %(sha256)s, %(shown)s, %(pay_to)s, %(usdc_to)s,
        %(payout_key)s, %(state)s, %(now)s, %(now)s)
"""


async def insert(tx: Tx, new: NewWorker, facts: WorkerFacts, now: datetime) -> None:
    """Write a new worker."""
    await tx.execute(
        _INSERT,
        id=facts.id,
        account_id=facts.account_id,
        name=new.name,
        sha256=new.sha256,
        shown=new.shown,
        pay_to=new.pay_to,
        usdc_to=new.usdc_to,
        payout_key=new.payout_key,
        state=facts.state,
        now=now,
    )


async def by_token(db: Database, sha256: str) -> WorkerRow | None:
    """Return the worker whose token has this hash."""
    return await _OF_TOKEN.find(db, sha256)


async def get(db: Database, worker_id: str) -> WorkerRow | None:
    """Return a worker as it is now."""
    return await db.row(WorkerRow, f"{_ROW} WHERE id = %(id)s", id=worker_id)


async def every(db: Database) -> list[WorkerRow]:
    """Return all workers, those first that were heard of last."""
    return await db.rows(WorkerRow, f"{_ROW} ORDER BY seen_at DESC, id")


async def lock(tx: Tx, worker_id: str) -> WorkerRow | None:
    """Return a worker's row, locked; who needs a lease's lock too takes that one first."""
    return await tx.row(WorkerRow, f"{_ROW} WHERE id = %(id)s FOR UPDATE", id=worker_id)


def facts_of(row: WorkerRow) -> WorkerFacts:
    """Return the law's view of a row."""
    return WorkerFacts(
        id=row.id,
        account_id=row.account_id,
        state=row.state,
        since=row.created_at,
        delivered=row.delivered,
        held_msat=row.held_msat,
        held_microusdc=row.held_microusdc,
        is_trusted=row.trusted_at is not None,
        silent=row.silent,
        silent_since=row.silent_since,
        forfeited_msat=row.forfeited_msat,
        forfeited_microusdc=row.forfeited_microusdc,
        failed=row.failed,
        lost=row.lost,
        late=row.late,
        canary_due=row.canary_due,
        canaries_passed=row.canaries_passed,
        canaries_failed=row.canaries_failed,
    )


_MOVE = """
UPDATE worker SET state = %(state)s, delivered = %(delivered)s, held_msat = %(held_msat)s,
       held_microusdc = %(held_microusdc)s, silent = %(silent)s, silent_since = %(silent_since)s,
       forfeited_msat = %(forfeited_msat)s, forfeited_microusdc = %(forfeited_microusdc)s,
       failed = %(failed)s, lost = %(lost)s, late = %(late)s, canary_due = %(canary_due)s,
       canaries_passed = %(canaries_passed)s, canaries_failed = %(canaries_failed)s,
       trusted_at = CASE WHEN %(is_trusted)s THEN coalesce(trusted_at, %(now)s) END
 WHERE id = %(id)s
"""


async def move(tx: Tx, after: WorkerFacts, now: datetime) -> None:
    """Write the facts after an event."""
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        delivered=after.delivered,
        held_msat=after.held_msat,
        held_microusdc=after.held_microusdc,
        silent=after.silent,
        silent_since=after.silent_since,
        forfeited_msat=after.forfeited_msat,
        forfeited_microusdc=after.forfeited_microusdc,
        failed=after.failed,
        lost=after.lost,
        late=after.late,
        canary_due=after.canary_due,
        canaries_passed=after.canaries_passed,
        canaries_failed=after.canaries_failed,
        is_trusted=after.is_trusted,
        now=now,
    )


async def describe(tx: Tx, worker_id: str, name: str) -> None:
    """Write what a worker is called."""
    await tx.execute("UPDATE worker SET name = %(name)s WHERE id = %(id)s", id=worker_id, name=name)


async def count_given_back(tx: Tx, worker_id: str, times: int, since: datetime) -> None:
    """Write how often a worker has given an item back since then."""
    query = (
        "UPDATE worker SET given_back = %(times)s, given_back_since = %(since)s WHERE id = %(id)s"
    )
    await tx.execute(query, id=worker_id, times=times, since=since)


_STILL = """
UPDATE worker_lane SET last_seen = %(now)s
 WHERE worker_id = %(id)s AND last_seen < %(noted)s AND last_seen >= %(heard)s
"""


async def hear(tx: Tx, worker_id: str, now: datetime) -> None:
    """Note that a worker is at work: it makes what it did a moment ago."""
    heard = now - 2 * HEARD_WITHIN
    await tx.execute(_STILL, id=worker_id, now=now, noted=now - NOTED, heard=heard)


class _Measured(NamedTuple):
    """The columns of a lane's row that are a speed."""

    took_ms: int
    work: int
    items: int


async def speed(reads: Reads, worker_id: str, lane: str) -> Speed:
    """Return how fast a worker was in a lane."""
    query = (
        f"SELECT {columns(_Measured)} FROM worker_lane WHERE worker_id = %(id)s AND lane = %(lane)s"
    )
    row = await reads.row(_Measured, query, id=worker_id, lane=lane)
    return Speed(*row) if row is not None else Speed()


class Available(NamedTuple):
    """How many workers were heard of lately in a lane, that are given items."""

    lane: str
    workers: int
    most_pixels: int  # the largest picture that one of them makes
    vram_gb: int


_AVAILABLE = """
SELECT l.lane, count(*) AS workers, max(l.most_pixels) AS most_pixels, max(l.vram_gb) AS vram_gb
  FROM worker_lane l JOIN worker w ON w.id = l.worker_id
 WHERE w.state = 'online' AND l.last_seen >= %(since)s AND l.most_pixels >= %(least_pixels)s
   AND l.vram_gb >= %(least_vram_gb)s
 GROUP BY l.lane ORDER BY l.lane
"""


async def available(
    db: Database, now: datetime, least_pixels: int = 0, least_vram_gb: int = 0
) -> list[Available]:
    """Return who is there by lane, of those whose machines can do at least so much."""
    return await db.rows(
        Available,
        _AVAILABLE,
        since=now - HEARD_WITHIN,
        least_pixels=least_pixels,
        least_vram_gb=least_vram_gb,
    )


class Makers(NamedTuple):
    """How many workers were heard of lately that make some tier of a model, each counted once."""

    model: str
    workers: int


_OF_TIERS = """
SELECT split_part(l.lane, '/', 1) AS model, count(DISTINCT l.worker_id) AS workers
  FROM worker_lane l JOIN worker w ON w.id = l.worker_id
 WHERE w.state = 'online' AND l.last_seen >= %(since)s AND strpos(l.lane, '/') > 0
 GROUP BY 1 ORDER BY 1
"""


async def of_tiers(db: Database, now: datetime) -> list[Makers]:
    """Return who is there by model, of those that make it by the tier."""
    return await db.rows(Makers, _OF_TIERS, since=now - HEARD_WITHIN)


_EARN = f"""
WITH kept AS (
  INSERT INTO earning (item_id, worker_id, lane, asset, amount, held_amount, took_ms, created_at)
  VALUES (%(item_id)s, %(worker_id)s, %(lane)s, %(asset)s, %(amount)s, %(held_amount)s,
          %(took_ms)s, %(now)s) RETURNING worker_id, asset, amount),
measured AS (
  UPDATE worker_lane SET took_ms = took_ms - took_ms / {FADES} + %(took_ms)s,
         work = work - work / {FADES} + %(work)s, items = items + 1
   WHERE worker_id = %(worker_id)s AND lane = %(lane)s)
UPDATE worker w SET
       earned_msat = earned_msat + CASE k.asset WHEN 'msat' THEN k.amount ELSE 0 END,
       earned_microusdc = earned_microusdc + CASE k.asset WHEN 'msat' THEN 0 ELSE k.amount END
  FROM kept k WHERE w.id = k.worker_id
"""


class Earned(NamedTuple):
    """What a worker is paid for an item, of that what is held back, and how long it took."""

    item_id: str
    worker_id: str
    lane: str
    asset: Asset
    amount: int
    held_amount: int
    took_ms: int
    work: int  # what the item weighs


async def earn(tx: Tx, earned: Earned, now: datetime) -> None:
    """Write what a locked worker has earned by an item, and how fast it was; count both."""
    await tx.execute(_EARN, **earned._asdict(), now=now)


class Found(NamedTuple):
    """A worker."""

    id: str


_DUE = """
SELECT id FROM worker w WHERE trusted_at IS NULL AND state <> 'banned'
   AND created_at <= %(since)s AND delivered >= %(items)s
   AND NOT EXISTS (SELECT FROM canary c WHERE c.worker_id = w.id AND c.state = 'given')
 ORDER BY created_at LIMIT %(most)s
"""


async def due(db: Database, now: datetime, most: int) -> list[str]:
    """Return workers that are new no more, with no open canary, whose pay is still held back."""
    rows = await db.rows(Found, _DUE, since=now - NEW_FOR, items=NEW_ITEMS, most=most)
    return [row.id for row in rows]


class Rate(NamedTuple):
    """What workers were paid in a lane of late, and how long an item took them: the medians."""

    lane: str
    asset: Asset
    items: int
    amount: int
    took_ms: int


_RATES = """
SELECT lane, asset, count(*) AS items,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) AS amount,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY took_ms) AS took_ms
  FROM (SELECT lane, asset, amount, took_ms FROM earning WHERE created_at >= %(since)s
         ORDER BY created_at DESC LIMIT %(most)s) lately
 GROUP BY lane, asset ORDER BY lane, asset
"""
MOST_RATED = 2_000


async def rates(db: Database, since: datetime) -> list[Rate]:
    """Return what was paid since then, for the newest items."""
    return await db.rows(Rate, _RATES, since=since, most=MOST_RATED)


class _Amount(NamedTuple):
    amount: int


async def earned(db: Database, item_id: str) -> int:
    """Return what was paid for an item, in the smallest unit of its asset; 0: it was not made."""
    query = "SELECT amount FROM earning WHERE item_id = %(id)s"
    row = await db.row(_Amount, query, id=item_id)
    return row.amount if row else 0
