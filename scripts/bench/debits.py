"""Debits: what it takes to charge a prepaid balance, on a thousand sessions and on one.

A debit of ours is whole and honest: the macaroon is checked, the ceiling is set aside where its
session still takes it, and then a part of it is charged and the rest given back: two
transactions, each with its entry in the ledger. The peer does the least: a guarded UPDATE and two
postings, in two transactions as we do, or (the row that only tells) in one.
"""

import asyncio
from dataclasses import replace

from .polls import post, run_script
from .prepaid import ASK, RICH_MSAT, Opened, many
from .rows import Row, Verdict, Want
from .slices import Pace, Pair, closed, compare
from .stand import Stand

SESSIONS = 1_000
FEW_SESSIONS = 50  # when all is measured for a moment only
REQUESTS = "session requests, each a whole job of an instant agent"
REQUESTS_A_SECOND = 160  # on two quiet cores, on which the peer does some 1,400 a second
REQUESTS_A_DEBIT = 0.11  # the same, whatever the machine and whoever else is on it

PEER = """
CREATE TABLE bench_balance (id text PRIMARY KEY, msat bigint NOT NULL);
CREATE TABLE bench_posting (id bigserial PRIMARY KEY, account text NOT NULL, msat bigint NOT NULL);
CREATE INDEX ON bench_posting (account);
INSERT INTO bench_balance SELECT {id}, {msat} FROM {owners};
VACUUM ANALYZE
"""


def debit_of(session: Opened) -> str:
    """Return the request that debits a session."""
    return post(f"/bench/debit/{session.session_id}", session.header)


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Debit many sessions and one; then have whole requests done on them."""
    url = stand.database()
    ours = stand.server("house", url)
    sessions = asyncio.run(many(url, ours, FEW_SESSIONS if pace.quick else SESSIONS))
    run_script(url, PEER, msat=RICH_MSAT, owners="session", id="id")
    bare = stand.server("debits", url)
    each = closed(ours, *map(debit_of, sessions), connections=8)
    twice = closed(bare, *(post(f"/twice/{one.session_id}") for one in sessions), connections=8)
    once = closed(bare, *(post(f"/once/{one.session_id}") for one in sessions), connections=8)
    hot, busy = (closed(ours, debit_of(sessions[0]), connections=n) for n in (8, 32))
    asking = [post(f"{one.path}/request", one.header, ASK) for one in sessions]
    spread, at_one = closed(ours, *asking), closed(ours, asking[0])
    count = len(sessions)
    told = (Want("rate"), Want("cpu"))
    pairs = (
        Pair(
            f"debit, {count} sessions",
            each,
            twice,
            (Want("rate", least=0.5), Want("cpu")),
            ("Boltwork", "peer, 2 transactions"),
        ),
        Pair(
            f"debit, {count} sessions, and a peer that sets nothing aside",
            each,
            once,
            told,
            ("Boltwork", "peer, 1 transaction"),
        ),
        Pair(
            "debit, one hot session",
            busy,
            hot,
            (Want("rate", least=0.8),),
            ("32 clients", "8 clients"),
        ),
        Pair(
            REQUESTS,
            spread,
            twice,
            (Want("rate", least=REQUESTS_A_DEBIT), Want("cpu")),
            ("Boltwork", "peer, 2 transactions"),
        ),
        Pair(
            f"{REQUESTS}, on one session",
            at_one,
            spread,
            told,
            ("one session", f"{count} sessions"),
        ),
    )
    # Thirty-two who wait for one row are not all under way within a moment.
    slow = replace(pace, slice_s=pace.slice_s * 2, warm_s=pace.slice_s)
    return [_with_rate(compare(pair, stand, slow)) for pair in pairs]


def _with_rate(row: Row) -> Row:
    """Hold session requests to their number a second, too: what a quiet machine is to show."""
    if row.name != REQUESTS:
        return row
    rate = Verdict("rate", row.sides["Boltwork"].rate or 0, Want("rate", least=REQUESTS_A_SECOND))
    return replace(row, verdicts=(*row.verdicts, rate))
