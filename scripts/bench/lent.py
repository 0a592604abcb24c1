"""Those who lend machines: their claims over HTTP beside a bare debit's requests; a claim where a
million items wait beside one where a thousand do, while the planner knows of a thousand and when it
knows of all; and what a thousand workers cost that wait for work.
"""

import asyncio
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from time import sleep
from uuid import uuid4

import httpx2
import psutil
import psycopg

from app import advance
from app.advance import Shell, Terms
from app.keys.api_keys import Prefix, kept_of, new_key, shown
from db.engine import Database
from db.promises import Outbox
from db.workers import NewWorker

from .claiming import CLAIMERS, FEW_PAYERS, FEW_WAIT, PAYERS, WAIT
from .debits import PEER
from .filling import KNOWN, analyse, copies, unheard_of
from .growth import MANY, QUICK_MANY
from .polls import post, run_script
from .prepaid import RICH_MSAT
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Slice, Target, closed, in_turn, measured, row_of
from .stand import Broken, Process, Server, Stand
from .window import cpu_of

LENDERS, FEW_LENDERS = 3_000, 1_000  # more than ask in that moment: none of them holds too many
IDLE, FEW_IDLE = 1_000, 100
FIRST = 40  # workers that come and go before
FIRST_WAIT_S, IDLE_WAIT_S = 2, 30
MOST_WATCHED_S = 12.0  # of those: all of them wait meanwhile
PATIENCE_S = 20.0
# From one address come all of them here; and none of their work is looked at.
LENT = {"WORKERS": True, "WORKER_REQUESTS_PER_MINUTE": 0, "WORKER_CANARY_EVERY": 0}
AT = "/api/v1/workers/claims"
MODELS = ("z-image-turbo", "flux-schnell")
WANTS = (Want("p99", most=1.5), Want("p50"))

# The crowd's lanes under the names of those that workers are asked for.
_LANES = """
UPDATE item SET lane = {name}, asked = asked || jsonb_build_object('model', split_part({name},
       '/', 1));
UPDATE lane_turn SET lane = {name};
UPDATE lane_floor SET lane = {name};
VACUUM ANALYZE
"""
_NAME = (
    "CASE split_part(lane, '/', 1) WHEN 'a' THEN 'z-image-turbo' ELSE 'flux-schnell' END || '/' ||"
    " CASE split_part(lane, '/', 2) WHEN 'small' THEN 'basic' WHEN 'middle' THEN 'pro' ELSE"
    " 'premium' END"
)
_LEASES = "SELECT count(*), count(DISTINCT item_id) FROM lease"


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Measure all of it."""
    yield _over_http(stand, pace)
    yield from _grown(stand, pace)
    yield _idle(stand, pace)


def lenders(database_url: str, count: int) -> dict[str, str]:
    """Register so many workers, which are trusted; return the token of each by its id."""

    async def register() -> dict[str, str]:
        db, tokens = Database(database_url), dict[str, str]()
        shell = Shell(db, Outbox(db), Terms(), lambda: datetime.now(UTC))
        await db.open()
        for number in range(count):
            token = new_key(Prefix.WK)
            ids, sha256 = (uuid4().hex, uuid4().hex), kept_of(token)
            assert sha256 is not None, "it was just made"
            new = NewWorker(*ids, f"worker {number}", sha256, shown(token), "you@example.org")
            await shell.do(advance.workers.register, new)
            tokens[new.id] = token
        await db.close()
        return tokens

    tokens = asyncio.run(register())
    run_script(database_url, "UPDATE worker SET trusted_at = now();\nVACUUM ANALYZE worker")
    return tokens


def asks(token: str, wait_s: int = 0) -> str:
    """Return the request of a worker that makes all that is sold by the tier."""
    body = {"models": MODELS, "maxPixels": 2_048 * 2_048, "vramGb": 24, "wait": wait_s}
    return post(AT, f"Authorization: Bearer {token}\r\n", json.dumps(body))


def _over_http(stand: Stand, pace: Pace) -> Row:
    wait, payers = (FEW_WAIT, FEW_PAYERS) if pace.quick else (WAIT, PAYERS)
    url, crowd = stand.database(), stand.process("crowd")
    crowd.ask(do="fill", database_url=url, count=wait, payers=payers)
    crowd.ask(do="leave", database_url=url)
    run_script(url, _LANES, name=_NAME)
    tokens = lenders(url, FEW_LENDERS if pace.quick else LENDERS)
    run_script(url, PEER, msat=RICH_MSAT, owners="worker", id="id")
    ours = stand.server("house", url, worker=False, settings=LENT)
    bare = stand.server("debits", url)
    mine = closed(ours, *map(asks, tokens.values()), connections=CLAIMERS)
    theirs = closed(bare, *(post(f"/once/{each}") for each in tokens), connections=CLAIMERS)
    # Fifty who wait for one server are not all under way within a moment.
    slow = replace(pace, warm_s=pace.slice_s)
    both = in_turn(
        lambda: _claimed(mine, stand, slow, url),
        lambda: measured(theirs, stand, slow),
        slow.rounds(),
    )
    name = f"claims over HTTP: {CLAIMERS} workers at once, {wait:,} items of {payers:,} payers wait"
    return row_of(
        name,
        both,
        (Want("rate", least=0.7), Want("p99"), Want("cpu")),
        ("Boltwork", "bare debit"),
        "None was claimed twice",
    )


def _claimed(target: Target, stand: Stand, pace: Pace, database_url: str) -> Slice:
    """Have workers claim for a while; afterwards they hold nothing, and no item waits again."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = connection.execute(_LEASES).fetchone()
        told = measured(target, stand, pace)
        after = connection.execute(_LEASES).fetchone()
        connection.execute("UPDATE lease SET state = 'released' WHERE state = 'held'")
    assert before is not None and after is not None
    if after[0] != after[1]:
        raise Broken(f"claimed twice: {after[0]} leases of {after[1]} items")
    if after[0] - before[0] < len(told.latencies_us):
        raise Broken(f"{len(told.latencies_us)} answers, {after[0] - before[0]} leases")
    return told


# ---------------------------------------------------------------------------- as more items wait


def _grown(stand: Stand, pace: Pace) -> Iterator[Row]:
    many = QUICK_MANY if pace.quick else MANY
    with unheard_of(stand):
        urls, takers = [_waiting(stand, count) for count in (many, KNOWN)], []
        for number, url in enumerate(urls):
            takers.append(taker := stand.process("claimers", f"claimers-of-{number}"))
            taker.ask(do="open", database_url=url, whose="ours", first=0)
        yield _compared("stale", stand, pace, takers, urls, many)
        for url in urls:
            analyse(url)
        yield _compared("fresh", stand, pace, takers, urls, many)


def _waiting(stand: Stand, count: int) -> str:
    """Return a database in which so many items wait; the planner knows of the first thousand."""
    url, crowd = stand.database(), stand.process("crowd", f"crowd-of-{count}")
    crowd.ask(do="fill", database_url=url, count=KNOWN, payers=FEW_PAYERS)
    crowd.ask(do="leave", database_url=url)
    run_script(url, "ANALYZE")
    copies(url, count // KNOWN - 1)
    return url


def _compared(
    known: str, stand: Stand, pace: Pace, takers: list[Process], urls: list[str], many: int
) -> Row:
    def of(taker: Process, url: str) -> Slice:
        weather = stand.weather()
        told = taker.ask(do="steady", database_url=url, seconds=pace.slice_s)
        return Slice(**told, load_cpu_us=0, foreign=weather())

    both = in_turn(lambda: of(takers[0], urls[0]), lambda: of(takers[1], urls[1]), pace.rounds(0.5))
    names = (f"{many:,} wait", f"{KNOWN:,} wait")
    return row_of(f"claim of an item as more wait, {known} statistics", both, WANTS, names)


# ---------------------------------------------------------------------------- idle workers


def _idle(stand: Stand, pace: Pace) -> Row:
    """Have workers wait for work that does not come, each in a long poll of its own."""
    count, seconds = FEW_IDLE if pace.quick else IDLE, min(pace.seconds, MOST_WATCHED_S)
    url = stand.database()
    tokens = list(lenders(url, count).values())
    server = stand.server("house", url, worker=False, settings=LENT)
    idlers = stand.process("idlers")
    weather = stand.weather()
    _come(idlers, server, [asks(token, FIRST_WAIT_S) for token in tokens[:FIRST]])
    _until(server, range(1, FIRST + 1))
    _until(server, (0,))
    process = psutil.Process(server[0].pid)
    before, without = process.memory_full_info().uss, _percent(server, seconds)
    _come(idlers, server, [asks(token, IDLE_WAIT_S) for token in tokens])
    _until(server, (count,))
    kib = (process.memory_full_info().uss - before) / 1_024 / count
    percent = _percent(server, seconds)
    _until(server, (count,))
    idlers.ask(do="close")
    more = {"% of a processor": percent, "% with none": without, "KiB each": kib}
    verdicts = (
        Verdict("% of a processor more than with none", percent - without, Want("cpu", most=1)),
        Verdict("KiB each", kib, Want("KiB", most=50)),
    )
    name = f"{count:,} idle workers, each in a long poll"
    return Row(name, {"Boltwork": Side(more=more)}, verdicts, 1, 1, weather())


def _come(idlers: Process, server: Server, requests: list[str]) -> None:
    idlers.ask(do="open", port=server[1], requests=requests)


def _percent(server: Server, seconds: float) -> float:
    """Return how much of one processor a server uses, in percent."""
    before_s = cpu_of(server[0].pid)
    sleep(seconds)
    return (cpu_of(server[0].pid) - before_s) / seconds * 100


def _until(server: Server, counts: Collection[int]) -> None:
    """Wait until as many workers idle at a server as one of these says."""
    idle, pause_s = -1, 0.1
    for _ in range(int(PATIENCE_S / pause_s)):
        idle = httpx2.get(f"http://127.0.0.1:{server[1]}/bench/idle").json()["idle"]
        if idle in counts:
            return
        sleep(pause_s)
    raise Broken(f"{idle} workers idle, and not {max(counts)}")
