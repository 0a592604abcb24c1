"""Logins under attack: what guesses at everybody's passwords leave of a poll.

Each guess is at another name than the one before, and from another address: so none is refused
before its password is looked at, for as long as a name may be guessed at.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from app import advance
from app.advance import Shell, Terms
from app.advance.accounts import Opening
from app.keys.passwords import Passwords
from app.trade.logins import Logins
from db.engine import Database
from db.people_tables import LoginBy
from db.promises import Outbox

from .buyers import REQUEST
from .lines import Line, request
from .orders import expected
from .polls import get
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Slice, arriving, in_turn, measured, row_of
from .stand import Broken, Server, Stand

NAMES, FEW_NAMES = 1_000, 60
GUESSES_A_S = 100.0
POLLS_A_S = 50.0
SLICE_S = 10.0  # of a hundred polls p99 is the slowest one, of five hundred it says something
OURS = {"TRUSTED_PROXIES": 1}


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Poll two servers in turn; passwords are guessed at the first, while it is polled."""
    names = [f"somebody-{number}" for number in range(FEW_NAMES if pace.quick else NAMES)]
    url = stand.database()
    server, other = (
        stand.server("house", url, settings=OURS),
        stand.server("house", stand.database()),
    )
    asyncio.run(_open(url, names))
    mine, theirs = (arriving(each, POLLS_A_S, asyncio.run(_job(each))) for each in (server, other))
    guessers = stand.process("guessers")
    slower = pace if pace.quick else replace(pace, slice_s=SLICE_S)

    def attacked() -> Slice:
        guessers.ask(do="begin", port=server[1], names=names, rate=GUESSES_A_S)
        try:
            return measured(mine, stand, slower)
        finally:
            guessers.ask(do="end")

    weather = stand.weather()
    both = in_turn(attacked, lambda: measured(theirs, stand, slower), slower.rounds())
    told: dict[str, int] = guessers.ask(do="end")["told"]
    wants = (Want("p99", most=1.5), Want("p50"), Want("cpu"))
    name = f"poll beside {GUESSES_A_S:.0f} guesses at passwords a second"
    yield row_of(name, both, wants, ("attacked", "without"))
    if not any(told.get(status) for status in ("401", "429", "503")):
        raise Broken(f"guesses were answered {told}")
    more = {f"answered {status}": float(count) for status, count in sorted(told.items())}
    let_in = Verdict("let in", told.get("200", 0), Want("in", most=0))
    yield Row("guesses at passwords", {"Boltwork": Side(more=more)}, (let_in,), 1, 1, weather())


async def _job(server: Server) -> str:
    line = Line(server[1])
    made = expected(await line.ask(request("POST", "/api/jobs", REQUEST)), 201)
    line.close()
    return get(f"/api/jobs/{made['jobId']}")


async def _open(database_url: str, names: list[str]) -> None:
    """Open an account for each name, all by one password."""
    db, passwords = Database(database_url), Passwords()
    shell = Shell(db, Outbox(db), Terms(), lambda: datetime.now(UTC))
    logins = Logins(db, shell, passwords, shell.clock, lambda: uuid4().hex)
    await db.open()
    secret = await passwords.hashed("the password of all of them")
    for name in names:
        new = Opening(uuid4().hex, name, secret, "0" * 64)
        await shell.do(advance.accounts.open_with_password, new, logins.new(LoginBy.PASSWORD)[1])
    await db.close()
