"""Races for the balance of one session, between two server processes: each is one round.

Nothing is worked on while they race, so exactly what fits is set aside; then all of it is done,
and every sat is where the law says.
"""

import asyncio
from collections import Counter
from typing import Any

import httpx2

from payments.macaroon import narrow
from tests.runs.crash_buyer import Buyer
from tests.runs.race_pair import Pair, alternating, crowd

AT_ONCE = 200  # connections of one crowd: those that wait for a server to take them are no race
CHILDREN = 5
EACH = 3  # what fits into the budget of each child


async def stand(pair: Pair, *, worker: bool) -> None:
    """Start both servers again, with or without a worker in them."""
    for server in pair.servers:
        await server.kill()
        await server.start(worker=worker)


async def opened(buyer: Buyer, sats: int, refund_to: str) -> tuple[str, str]:
    """Open a session and pay for it; return its path and its macaroon."""
    asked = {"amount_sats": sats, "refundTo": refund_to}
    made = (await buyer.call("POST", "/api/sessions", json=asked)).json()
    await buyer.pay(made["invoice"])
    path = f"/api/sessions/{made['sessionId']}"
    shown = (await buyer.call("GET", f"{path}?claim={made['claim']}&wait=55")).json()
    assert shown["state"] == "active", shown
    return path, str(shown["macaroon"])


def child(macaroon: str, *caveats: str) -> str:
    """Return a macaroon that was narrowed."""
    smaller = narrow(macaroon, caveats)
    assert isinstance(smaller, str)
    return smaller


class Crowd:
    """Many who spend from one session at once, at both servers."""

    def __init__(self, http: httpx2.AsyncClient, pair: Pair, path: str) -> None:
        self._http, self._pair, self._path = http, pair, path
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.running: list[str] = []  # what was taken

    async def post(self, url: str, what: str, macaroon: str, body: Any = None) -> httpx2.Response:
        """POST to the session, again while a server has no connection to spare."""
        headers = {"Authorization": f"Bearer {macaroon}", "Prefer": "respond-async"}
        while True:
            async with self._gate:
                answer = await self._http.post(
                    f"{url}{self._path}/{what}", json=body, headers=headers
                )
            if answer.status_code != 503:
                return answer
            await asyncio.sleep(0.2)

    async def spend(self, url: str, macaroon: str) -> int:
        """Ask for something, and return how that was answered."""
        answer = await self.post(url, "request", macaroon, {"request": "hello"})
        if answer.status_code == 202:
            self.running.append(answer.json()["requestId"])
        return answer.status_code

    async def spends(self, macaroons: list[str]) -> Counter[tuple[str, int]]:
        """Have each of these ask once, all at once; return what each was told, and how often."""
        asked = list(zip(alternating(self._pair, len(macaroons)), macaroons, strict=True))
        told = await asyncio.gather(*(self.spend(*one) for one in asked))
        return Counter(zip(macaroons, told, strict=True))


async def debits(pair: Pair, count: int, covers: int) -> None:
    """`count` debits for a balance that covers so many: exactly what fits wins, then all of it
    ends; then as many again, against a top-up and a close.
    """
    async with pair.buyer() as buyer, crowd() as http:
        asked = await buyer.call("POST", "/api/estimate", json={"request": "hello"})
        ceiling = asked.json()["totalSats"]
        paid = covers * ceiling + ceiling - 1
        await stand(pair, worker=False)
        buyer.url = pair.servers[0].url
        path, whole = await opened(buyer, paid, pair.stranger.url)
        many = Crowd(http, pair, path)
        budget = EACH * ceiling + ceiling - 1
        helpers = [child(whole, f"child={n}", f"budget_sats={budget}") for n in range(CHILDREN)]
        by_helpers = count // 2 // CHILDREN * CHILDREN
        macaroons = helpers * (by_helpers // CHILDREN)
        macaroons += [child(h, f"budget_sats={9 * budget}") for h in helpers]  # in its parent's
        macaroons += [whole] * (count - len(macaroons))
        told = await many.spends([m for n in range(7) for m in macaroons[n::7]])
        assert {code for _, code in told} <= {202, 402}, told
        assert sum(n for (_, code), n in told.items() if code == 202) == covers
        assert len(many.running) == len(set(many.running)) == covers
        for n, helper in enumerate(helpers):
            own = told[helper, 202] + told[macaroons[by_helpers + n], 202]
            assert own <= EACH, "a child has spent more than its budget"
        paid += await _against_a_topup_and_a_close(pair, buyer, many, whole, covers * ceiling // 2)
        await stand(pair, worker=True)
        buyer.url = pair.servers[0].url
        await _all_ended(buyer, many, path, whole)
        await _conserved(pair, path, paid * 1000)
    await pair.calm()


async def _against_a_topup_and_a_close(
    pair: Pair, buyer: Buyer, many: Crowd, whole: str, sats: int
) -> int:
    """Race debits, a payment and, after some of them, a close; return what was paid in."""
    first, second = (server.url for server in pair.servers)
    asked = await many.post(first, "topup", whole, {"amount_sats": sats})
    assert asked.status_code == 200, asked.text
    before = len(many.running)

    async def close() -> httpx2.Response:
        while len(many.running) < before + 3:  # the top-up has come, and is being spent
            await asyncio.sleep(0.01)
        return await many.post(second, "close", whole)

    async def insist() -> set[int]:
        codes = set()
        while 410 not in codes:
            codes |= {code for _, code in await many.spends([whole] * 10)}
        return codes

    _, closed, *told = await asyncio.gather(
        buyer.pay(asked.json()["topup"]), close(), insist(), insist(), insist()
    )
    assert closed.status_code == 200, closed.text
    assert set().union(*told) <= {202, 402, 410}, told
    return sats


async def _all_ended(buyer: Buyer, many: Crowd, path: str, whole: str) -> None:
    headers = {"Authorization": f"Bearer {whole}"}
    for request_id in many.running:
        at = f"{path}/requests/{request_id}?wait=55"
        answer = await buyer.call("GET", at, headers=headers)
        assert answer.status_code == 200 and answer.json()["state"] == "complete", answer.text


async def _conserved(pair: Pair, path: str, paid_msat: int) -> None:
    """Hold what was paid in to what was earned, and what is owed back."""
    session_id = path.rpartition("/")[2]
    [row] = await pair.books.ask(
        "SELECT (SELECT sum(received_msat) FROM invoice WHERE session_id = s.id) AS paid,"
        " (SELECT sum(eval_msat + (charge->>'total_msat')::bigint) FROM job"
        "  WHERE session_id = s.id) AS earned,"
        " (SELECT sum(amount) FROM payout WHERE session_id = s.id) AS owed,"
        " s.state, s.reserved_msat AS reserved, (SELECT balance FROM account"
        "  WHERE name = 'session:' || s.id) AS balance"
        f" FROM session s WHERE id = '{session_id}'"
    )
    assert row["state"] == "expired" and row["reserved"] == row["balance"] == 0
    assert row["paid"] == paid_msat == row["earned"] + row["owed"], row
