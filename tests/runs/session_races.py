"""Races on one session between two server processes: each function is one round.

Whoever wins, what was paid is spent or owed back, and no balance and no budget is overdrawn.
"""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx2

from tests.runs import crash_holder as holder
from tests.runs.crash_buyer import Buyer
from tests.runs.race_pair import IDLE_S, Pair, alternating, crowd

ASYNC = {"Prefer": "respond-async"}
TAKEN = (200, 202)


async def topup_against_close(pair: Pair) -> str:
    """A top-up that is paid while its session is closed is on the balance, or owed back."""
    async with pair.buyer() as one, pair.buyer(1) as other:
        await holder.opened(one, 300)
        other.headers, other.path = one.headers, one.path
        asked = await one.send(f"{one.path}/topup", {"amount_sats": 200}, f"{one.key} topup")
        invoice = asked.json()["topup"]

        async def close() -> None:
            await asyncio.sleep(random.uniform(0, 0.25))  # a payment is seen after about so long
            assert (await other.post("close")).status_code == 200

        await asyncio.gather(one.pay(invoice), close())
        await holder.booked(one, invoice)
        await holder.closed(one)
        owed = sorted(refund["amountSats"] for refund in (await one.show())["refunds"])
        assert sum(owed) == 500, owed
    return "on the balance" if owed == [500] else "owed back"


async def topup_seen_twice(pair: Pair, count: int = 60) -> None:
    """A top-up is seen by two pushes, two sweeps and many polls, and is on the balance once."""
    async with pair.buyer() as one, crowd() as http:
        await holder.opened(one, 300)
        asked = await one.send(f"{one.path}/topup", {"amount_sats": 200}, f"{one.key} topup")
        await one.pay(asked.json()["topup"])
        answers = await asyncio.gather(
            *(http.get(url + one.path, headers=one.headers) for url in alternating(pair, count))
        )
        assert {answer.status_code for answer in answers} == {200}
        await holder.booked(one, asked.json()["topup"])
        assert (await one.show())["balanceSats"] == 500
        await holder.closed(one)


async def request_against_close(pair: Pair, count: int = 8) -> str:
    """A request is done and paid for, or refused because its session is over."""
    async with pair.buyer() as one, pair.buyer(1) as other, crowd() as http:
        await holder.opened(one)
        other.headers, other.path = one.headers, one.path

        async def close() -> None:
            await asyncio.sleep(random.uniform(0, 0.1))
            assert (await other.post("close")).status_code == 200

        asking = (_ask(http, url, one, n) for n, url in enumerate(alternating(pair, count)))
        answers, _ = await asyncio.gather(asyncio.gather(*asking), close())
        told = Counter(answer.status_code for answer in answers)
        assert set(told) <= {*TAKEN, 410}, told
        await holder.closed(one)
    return f"{count - told[410]} of {count}"


async def request_against_expiry(pair: Pair) -> str:
    """A session that was left alone is over, or used at the last moment and goes on."""
    async with pair.buyer() as one, crowd() as http:
        await holder.opened(one)
        pair.clock.forward(IDLE_S)
        await asyncio.sleep(random.uniform(0, 1.2))  # it is let expire within a second
        answer = await _ask(http, one.url, one, 0)
        assert answer.status_code in (*TAKEN, 410), answer.text
        state = (await one.show())["state"]
        assert state == ("active" if answer.status_code in TAKEN else "expired")
        await holder.closed(one)
    return str(state)


async def debits(pair: Pair, count: int = 40) -> str:
    """Many requests at once on a balance for a few: it is spent, and never overdrawn."""
    async with pair.buyer() as one, crowd() as http:
        await holder.opened(one, 100)
        asking = (_ask(http, url, one, n) for n, url in enumerate(alternating(pair, count)))
        answers = await asyncio.gather(*asking)
        told = Counter(answer.status_code for answer in answers)
        taken = sum(told[code] for code in TAKEN)
        assert set(told) <= {*TAKEN, 402, 409} and 0 < taken < count, told
        await holder.closed(one)
    return f"{taken} of {count}"


async def demos(pair: Pair, count: int = 40) -> None:
    """Many demos at once, at the cost of the house: each is counted, none waits for another."""
    async with crowd() as http:
        asked = {"request": "hello"}
        answers = await asyncio.gather(
            *(http.get(f"{url}/api/demo", params=asked) for url in alternating(pair, count))
        )
        assert {answer.status_code for answer in answers} == {200}, answers


async def retries(pair: Pair, count: int = 50) -> None:
    """Many retries under one name: one request, one charge, and equal answers."""
    async with pair.buyer() as one, crowd() as http:
        await holder.opened(one)
        answers = await asyncio.gather(
            *(_ask(http, url, one, 0) for url in alternating(pair, count))
        )
        odd = [answer.text for answer in answers if answer.status_code not in TAKEN]
        assert not odd, odd
        assert len({answer.json()["requestId"] for answer in answers}) == 1
        await holder.requested(one, "hello", "request 0")
        answers = await asyncio.gather(
            *(_ask(http, url, one, 0, {}) for url in alternating(pair, count))
        )
        told = Counter(answer.text for answer in answers)
        assert len(told) == 1, told
        await holder.closed(one)


async def proofs(pair: Pair, count: int = 30) -> None:
    """Many proofs of one purchase at once, of both kinds: one job, and equal answers."""
    async with pair.buyer() as one, crowd() as http:
        await holder.offered(one)
        shown = [{"Authorization": one.preimages[name]} for name in holder.PROOFS]
        asked = {"request": "hello"}
        answers = await asyncio.gather(
            *(
                http.post(f"{url}/api/ask?wait=55", json=asked, headers=shown[n // 2 % 2])
                for n, url in enumerate(alternating(pair, count))
            )
        )
        assert {answer.status_code for answer in answers} == {200}, answers
        said = [answer.json() for answer in answers]
        for each in said:  # but for where its refund is fetched, each server names itself
            each.pop("refunds", None)
        assert all(each == said[0] for each in said), said
        await holder.asked(one)


async def _ask(
    http: httpx2.AsyncClient, url: str, one: Buyer, n: int, prefer: dict[str, str] | None = None
) -> httpx2.Response:
    headers = {**one.headers, **(ASYNC if prefer is None else prefer)}
    headers["Idempotency-Key"] = f"{one.key} request {n}"
    body = {"request": "hello"}
    return await http.post(f"{url}{one.path}/request", json=body, headers=headers)


RACES: dict[str, Any] = {
    "top-up against close": topup_against_close,
    "top-up seen twice": topup_seen_twice,
    "request against close": request_against_close,
    "request against expiry": request_against_expiry,
    "debits": debits,
    "demos": demos,
    "retries of one request": retries,
    "proofs of one purchase": proofs,
}
