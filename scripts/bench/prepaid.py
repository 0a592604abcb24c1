"""Sessions to measure with: one that is really paid for, and as many more like it as are wanted."""

import asyncio
from dataclasses import dataclass

import httpx2
import psycopg

from .stand import Server

ASK = '{"request":"Say what a Lightning invoice is."}'
RICH_MSAT = 10**13  # so much rests on each session that was filled in: none runs dry


@dataclass(frozen=True)
class Opened:
    """A session, and what opens it."""

    server: Server
    session_id: str
    macaroon: str

    @property
    def path(self) -> str:
        """Where it is."""
        return f"/api/sessions/{self.session_id}"

    @property
    def header(self) -> str:
        """The header line that shows its macaroon."""
        return f"Authorization: Bearer {self.macaroon}\r\n"

    async def asked(self) -> tuple[str, int]:
        """Have a request done; return its id and the size of what is told of it afterwards."""
        headers = {"Authorization": f"Bearer {self.macaroon}", "Content-Type": "application/json"}
        async with _http(self.server) as http:
            done = await http.post(f"{self.path}/request", content=ASK, headers=headers)
            assert done.status_code == 200, done.text
            where = f"{self.path}/requests/{done.json()['requestId']}"
            told = await http.get(where, headers=headers)
            assert told.status_code == 200, told.text
        return done.json()["requestId"], len(told.content)


def _http(server: Server) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server[1]}", timeout=60)


async def opened(server: Server, sats: int = 10_000) -> Opened:
    """Open a session and pay its deposit with the stub's wallet."""
    async with _http(server) as http:
        made = (await http.post("/api/sessions", json={"amount_sats": sats})).json()
        paid = await http.post(f"/api/dev/stub/pay/{made['invoice']['paymentHash']}")
        assert paid.status_code == 200, paid.text
        session_id = made["sessionId"]
        path = f"/api/sessions/{session_id}?claim={made['claim']}&wait=10"
        shown = (await http.get(path)).json()
        assert shown["state"] == "active", shown
    return Opened(server, session_id, shown["macaroon"])


_FILL = """
INSERT INTO session SELECT (jsonb_populate_record(s, jsonb_build_object(
       'id', md5('session' || n), 'nonce', md5('nonce' || n), 'credential_used_at', NULL,
       'claim_sha256', encode(sha256('filled'), 'hex')))).*
  FROM session s, generate_series(%(first)s::int, %(last)s::int) n WHERE s.id = %(like)s
"""
_RICH = """
INSERT INTO account (name, asset, kind, balance)
SELECT 'session:' || md5('session' || n), 'msat', 'liability', %(msat)s::bigint
  FROM generate_series(%(first)s::int, %(last)s::int) n
"""


def fill_sessions(database_url: str, like: Opened, first: int, last: int) -> None:
    """Fill in more sessions like this one, each rich."""
    values = {"first": first, "last": last, "like": like.session_id, "msat": RICH_MSAT}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_FILL.encode(), values)
        connection.execute(_RICH.encode(), values)


async def many(database_url: str, server: Server, count: int) -> list[Opened]:
    """Return so many sessions with their macaroons, as the server shows them to the first."""
    like = await opened(server)
    fill_sessions(database_url, like, 1, count)
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT id FROM session WHERE claim_sha256 = encode(sha256('filled'), 'hex') LIMIT %s",
            (count,),
        ).fetchall()
    at_once = asyncio.Semaphore(8)
    async with _http(server) as http:

        async def shown(session_id: str) -> Opened:
            async with at_once:
                told = (await http.get(f"/api/sessions/{session_id}?claim=filled")).json()
            return Opened(server, session_id, told["macaroon"])

        return list(await asyncio.gather(*(shown(session_id) for (session_id,) in found)))
