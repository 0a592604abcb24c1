"""Claims: fifty claimers at a table in which a hundred thousand items of a thousand payers wait, a
third of them of one payer; and how long somebody new waits there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg

from .claimers import BARE
from .polls import run_script
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Slice, in_turn, row_of
from .stand import Broken, Process, Stand

CLAIMERS, PROCESSES = 50, 2
WAIT, PAYERS = 100_000, 1_000
FEW_WAIT, FEW_PAYERS = 16_000, 200  # more than is claimed in that moment
NEWCOMERS, FEW_NEWCOMERS = 40, 6
NEWCOMER_S = 0.1  # between two of them


@dataclass(frozen=True)
class Side50:
    """Fifty claimers of one database, in processes of their own."""

    database_url: str
    processes: list[Process]

    def claim(self, seconds: float) -> list[dict[str, Any]]:
        """Have all of them claim for so long."""
        share = CLAIMERS // len(self.processes)

        def ask(process: Process) -> dict[str, Any]:
            told: dict[str, Any] = process.ask(
                do="claim", database_url=self.database_url, count=share, seconds=seconds
            )
            return told

        with ThreadPoolExecutor(len(self.processes)) as at_once:
            return list(at_once.map(ask, self.processes))

    def slice(self, stand: Stand, seconds: float) -> Slice:
        """Measure for so long."""
        weather = stand.weather()
        told = self.claim(seconds)
        latencies = [each for one in told for each in one["latencies_us"]]
        if not latencies:
            raise Broken("nobody has claimed anything")
        rate = sum(len(one["latencies_us"]) / one["took_s"] for one in told)
        cpu_us = sum(one["cpu_s"] for one in told) / len(latencies) * 1e6
        return Slice(rate, cpu_us, 0, latencies, weather())

    def ids(self) -> list[str]:
        """Return every item that any of them was given."""
        told = [each.ask(do="ids", database_url=self.database_url) for each in self.processes]
        return [item_id for one in told for item_id in one["ids"]]


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Claim from two such tables in turn; then let newcomers buy while the house claims."""
    wait, payers = (FEW_WAIT, FEW_PAYERS) if pace.quick else (WAIT, PAYERS)
    filled, crowd = stand.database(), stand.process("crowd")
    crowd.ask(do="fill", database_url=filled, count=wait, payers=payers)
    crowd.ask(do="leave", database_url=filled)
    copies = stand.database(like=filled), stand.database(like=filled)
    run_script(copies[1], BARE)
    for url in copies:
        run_script(url, "VACUUM ANALYZE")
    ours, bare = (_side(stand, *each) for each in zip(copies, ("ours", "bare"), strict=True))
    both = in_turn(
        lambda: ours.slice(stand, pace.slice_s),
        lambda: bare.slice(stand, pace.slice_s),
        pace.rounds(),
    )
    wants = (Want("rate", least=0.7), Want("p99"), Want("cpu"))
    name = f"claims: {CLAIMERS} claimers, {wait:,} items of {payers:,} payers wait"
    yield row_of(name, both, wants, ("Boltwork", "bare claim"))
    yield _newcomers(stand, pace, ours, crowd)
    _check_once(ours)


def _side(stand: Stand, database_url: str, whose: str) -> Side50:
    processes = [stand.process("claimers", f"claimers-{whose}-{n}") for n in range(PROCESSES)]
    for number, process in enumerate(processes):
        first = number * (CLAIMERS // PROCESSES)
        process.ask(do="open", database_url=database_url, whose=whose, first=first)
    return Side50(database_url, processes)


# For each newcomer: how many of the others' items were claimed in his lane from when his was there
# to be claimed until it was, by claims that had not begun before; and how many payers had any there
# then. A round is one item of each of them.
_ROUNDS = """
WITH mine AS (
  SELECT i.id, i.lane, i.created_at AS came, there.at, l.created_at AS taken
    FROM unnest(CAST(%(there)s AS timestamptz[])) WITH ORDINALITY AS there(at, number)
    JOIN batch b ON b.payer = 'newcomer ' || number - 1 JOIN item i ON i.batch_id = b.id
    LEFT JOIN lease l ON l.item_id = i.id),
others AS (
  SELECT i.lane, b.payer, l.created_at AS taken FROM item i JOIN batch b ON b.id = i.batch_id
    LEFT JOIN lease l ON l.item_id = i.id WHERE b.payer NOT LIKE 'newcomer %%'),
each AS (
  SELECT m.id, m.came, m.at, m.taken,
         count(*) FILTER (WHERE o.taken BETWEEN m.at AND m.taken) AS before,
         count(DISTINCT o.payer) FILTER (WHERE o.taken IS NULL OR o.taken >= m.at) AS payers
    FROM mine m LEFT JOIN others o ON o.lane = m.lane GROUP BY m.id, m.came, m.at, m.taken)
SELECT count(*), count(*) FILTER (WHERE taken IS NULL), max(before), min(payers),
       max(before / greatest(1.0, payers)), max(1000 * extract(epoch FROM taken - at)),
       max(1000 * extract(epoch FROM at - came))
  FROM each
"""


def _newcomers(stand: Stand, pace: Pace, ours: Side50, crowd: Process) -> Row:
    count = FEW_NEWCOMERS if pace.quick else NEWCOMERS
    weather, seconds = stand.weather(), count * NEWCOMER_S * 2 + 1
    with ThreadPoolExecutor(1) as beside:
        claiming = beside.submit(ours.claim, seconds)
        asked = dict(count=count, pause_s=NEWCOMER_S)
        there = crowd.ask(do="newcomers", database_url=ours.database_url, **asked)["told"]
        told = claiming.result()
    with psycopg.connect(ours.database_url) as connection:
        found = connection.execute(_ROUNDS.encode(), {"there": there}).fetchone()
    assert found is not None
    came, left, before, payers, most_rounds, waited_ms, buying_ms = found
    if left:
        raise Broken(f"{left} of {came} newcomers' items were not claimed at all")
    claimed = sum(len(one["latencies_us"]) for one in told)
    more = {
        "claims before, at most": float(before),
        "ms, at most": float(waited_ms),
        "ms that buying took, at most": float(buying_ms),
    }
    rounds = Verdict(
        "rounds that anybody waited, at most", float(most_rounds), Want("round", most=1)
    )
    return Row(
        f"newcomers beside {payers:,} payers or more",
        {"Boltwork": Side(rate=claimed / seconds, more=more)},
        (rounds,),
        came,
        came,
        weather(),
    )


_TWICE = "SELECT count(*), count(DISTINCT item_id) FROM lease"


def _check_once(side: Side50) -> None:
    """See that no item was given to two claimers, by what they say and by what is written."""
    ids = side.ids()
    with psycopg.connect(side.database_url) as connection:
        row = connection.execute(_TWICE).fetchone()
    assert row is not None
    if len(set(ids)) != len(ids) or row[0] != row[1] or row[0] < len(ids):
        raise Broken(f"claimed twice: {len(ids)} claims, {len(set(ids))} items, {row} leases")
