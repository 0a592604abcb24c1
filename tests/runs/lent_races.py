"""Races between two server processes for what workers of the network make: each function is one
round. Here nobody else makes anything.

Whoever wins, an item is paid for once, to who brought what was taken; nobody holds more than he
may; and what was not made is owed back.
"""

import asyncio
import io
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx2
from PIL import Image

from tests.runs import crash_batches as batches
from tests.runs.crash_buyer import Buyer, Json
from tests.runs.crash_server import MAKES_NOTHING
from tests.runs.race_pair import Pair, crowd
from tests.world.patience import patiently

# Without canaries half of a new worker's pay is free at once: there is something to ask for.
ENVIRONMENT = {"WORKERS": "true", "WORKER_CANARY_EVERY": "0", MAKES_NOTHING: "1"}
AT, SIDE = "/api/v1/workers", 256
ASKS: Json = {"models": ["scene-1"], "maxPixels": 2_048**2}
MOST_NEW = 2  # that a worker may hold which is new
GONE = (409, 410)  # it is another's by now, or it has ended
REFUSED = (403, *GONE)


def wanted(count: int) -> Json:
    """Return an order of so many pictures."""
    said = [{"prompt": f"a cat, {number}"} for number in range(count)]
    return {"defaults": {"model": "scene-1", "width": SIDE, "height": SIDE}, "images": said}


def painted(colour: int = 0) -> bytes:
    """Return a picture of the size that all of them are wanted in."""
    kept = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (colour % 256, 90, 9)).save(kept, "PNG")
    return kept.getvalue()


@dataclass
class Hand:
    """A worker, which may speak to either server."""

    pair: Pair
    http: httpx2.AsyncClient
    token: str
    id: str

    @classmethod
    async def hired(cls, pair: Pair, http: httpx2.AsyncClient) -> "Hand":
        """Register a worker."""
        body = {"name": "lent", "payTo": pair.stranger.url}
        answer = await http.post(pair.servers[0].url + AT, json=body)
        assert answer.status_code == 201, answer.text
        return cls(pair, http, answer.json()["token"], answer.json()["workerId"])

    async def ask(self, method: str, path: str, at: int = 0, **more: Any) -> httpx2.Response:
        """Ask one of the two servers."""
        more["headers"] = {"Authorization": f"Bearer {self.token}"} | more.get("headers", {})
        return await self.http.request(method, self.pair.servers[at].url + path, **more)

    async def claim(self, at: int = 0, most: int = 8, wait_s: int = 0) -> list[Json]:
        """Claim what waits."""
        answer = await self.ask(
            "POST", f"{AT}/claims", at, json=ASKS | {"most": most, "wait": wait_s}
        )
        if answer.status_code == 403:
            return []
        assert answer.status_code == 200, answer.text
        return list(answer.json()["leases"])

    async def given(self, count: int = 1) -> list[Json]:
        """Claim until so many are held."""
        held: list[Json] = []
        async for look in patiently("there is nothing to make", pause_s=0.05):
            held += await self.claim(most=count - len(held), wait_s=1)
            look.saw = held
            if len(held) == count:
                break
        return held

    async def bring(self, lease: Json, at: int = 0, data: bytes = b"") -> httpx2.Response:
        """Bring a result, again while it can't be looked at just now."""
        path, headers = f"/api/v1/leases/{lease['leaseId']}/result", {"Content-Type": "image/png"}
        async for look in patiently("it is never looked at", pause_s=0.05):
            answer = await self.ask("PUT", path, at, content=data or painted(), headers=headers)
            look.saw = answer.text
            if answer.status_code != 503:
                break
        return answer

    async def paid(self) -> list[Json]:
        """Return what it was paid for."""
        query = f"SELECT item_id, amount, held_amount FROM earning WHERE worker_id = '{self.id}'"
        return await self.pair.books.ask(query)


async def _bought(buyer: Buyer, count: int = 1) -> None:
    await batches.ordered(buyer, wanted(count))
    await buyer.pay(buyer.made["batch"])
    await buyer.until(lambda said: said["job"]["status"] != "awaiting_payment")


async def two_bring_one_lease(pair: Pair) -> str:
    """One lease, brought many times at once, and with other bytes: it is paid for once, and the
    same bytes are the same answer."""
    async with pair.buyer() as buyer, crowd() as http:
        hand = await Hand.hired(pair, http)
        await _bought(buyer)
        [lease] = await hand.given()
        same, other = painted(1), painted(200)
        brings = [(n % 2, other if n % 3 == 2 else same) for n in range(6)]
        random.shuffle(brings)
        answers = await asyncio.gather(*(hand.bring(lease, *each) for each in brings))
        by_data: dict[bytes, set[int]] = {same: set(), other: set()}
        for (_, data), answer in zip(brings, answers, strict=True):
            by_data[data].add(answer.status_code)
        assert sorted(map(sorted, by_data.values())) == [[200], [409]], by_data
        [paid] = await hand.paid()
        told = [answer.json()["earned"] for answer in answers if answer.status_code == 200]
        assert told == [{"msat": paid["amount"]}] * len(told)
        assert (await batches.ended(buyer))["job"]["succeeded_images"] == 1
    return "the same" if by_data[same] == {200} else "the other"


async def late_against_the_new_holder(pair: Pair) -> str:
    """Who was silent brings it after all, at the moment when the next one does: the first of them
    is paid, and the other is told that it is over."""
    async with pair.buyer() as buyer, crowd() as http:
        late, now = await Hand.hired(pair, http), await Hand.hired(pair, http)
        await _bought(buyer)
        [before] = await late.given()
        pair.clock.forward(batches.SILENT_S)
        [after] = await now.given()
        hands = [(late, before), (now, after)]
        if random.random() < 0.5:
            hands.reverse()
        brings = (hand.bring(lease, at) for at, (hand, lease) in enumerate(hands))
        answers = await asyncio.gather(*brings)
        told = {
            hand.id: answer.status_code for (hand, _), answer in zip(hands, answers, strict=True)
        }
        assert sorted(told.values()) in ([200, code] for code in GONE), told
        for hand, _ in hands:
            assert len(await hand.paid()) == (told[hand.id] == 200), told
        assert (await batches.ended(buyer))["job"]["succeeded_images"] == 1
    return "the late one" if told[late.id] == 200 else "the new one"


async def claim_against_cancel(pair: Pair, count: int = 12) -> str:
    """A batch is given up while workers claim from it for the first time: what nobody holds is not
    made and owed back, and what they hold is charged and paid for."""
    async with pair.buyer() as buyer, pair.buyer(1) as other, crowd() as http:
        hands = [await Hand.hired(pair, http) for _ in range(4)]
        await batches.ordered(buyer, wanted(count))
        other.path = buyer.path
        over = asyncio.Event()
        claims = [asyncio.create_task(_first(hand, n % 2, over)) for n, hand in enumerate(hands)]
        await buyer.pay(buyer.made["batch"])
        await buyer.until(lambda said: said["job"]["status"] != "awaiting_payment")
        answer = await other.post("cancel")
        assert answer.status_code == 200, answer.text
        over.set()
        leases = await asyncio.gather(*claims)
        held = [(hand, lease) for hand, each in zip(hands, leases, strict=True) for lease in each]
        for hand, lease in held:
            assert (await hand.bring(lease)).status_code == 200
        said = (await batches.ended(buyer))["job"]
        assert said["succeeded_images"] == len(held), said
        assert sum([len(await hand.paid()) for hand in hands]) == len(held)
        await buyer.take_refunds()
    return f"{len(held)} of {count}"


async def _first(hand: Hand, at: int, over: asyncio.Event) -> list[Json]:
    """Claim until something is given, or nothing will be any more."""
    held: list[Json] = []
    while not held and not over.is_set():
        held = await hand.claim(at, most=MOST_NEW)
    return held


async def payout_against_ban(pair: Pair) -> str:
    """A worker asks for its pay while it is banned, and brings what it holds: what is free is its
    own, and sent once; what it brings is taken and paid for, or neither."""
    async with pair.buyer() as buyer, crowd() as http:
        hand = await Hand.hired(pair, http)
        await _bought(buyer, 2)
        first, second = await hand.given(2)
        assert (await hand.bring(first)).status_code == 200
        asks = (hand.ask("POST", f"{AT}/me/payouts", at, json={}) for at in (0, 1, 0))
        (code, printed), brought, asked = await asyncio.gather(
            pair.servers[1].command("workers", "ban", hand.id),
            hand.bring(second, 1),
            asyncio.gather(*asks),
        )
        assert code == 0, printed
        assert brought.status_code in (200, *REFUSED), brought.text
        told = Counter(answer.status_code for answer in asked)
        assert set(told) <= {201, 402, *REFUSED}, [answer.text for answer in asked]
        paid = await hand.paid()
        assert len(paid) == (2 if brought.status_code == 200 else 1)
        free = sum(each["amount"] - each["held_amount"] for each in paid)
        sent = await pair.books.ask(
            "SELECT p.amount FROM payout p JOIN worker w ON w.account_id = p.account_id"
            f" WHERE w.id = '{hand.id}' AND w.state = 'banned'"
        )
        amounts = [row["amount"] for row in sent]
        assert len(amounts) == told[201] and sum(amounts) <= free, (amounts, free)
        assert not await hand.claim()
        if brought.status_code != 200:
            await _made_by_another(pair, http)
        await batches.ended(buyer)
        await buyer.take_refunds()
    return f"{brought.status_code}, {told[201]} payouts"


async def _made_by_another(pair: Pair, http: httpx2.AsyncClient) -> None:
    """Have another worker make what a banned one holds, once that is silent for too long."""
    another = await Hand.hired(pair, http)
    pair.clock.forward(batches.SILENT_S)
    [lease] = await another.given()
    assert (await another.bring(lease)).status_code == 200


async def claims_of_one_token(pair: Pair, count: int = 10) -> None:
    """One worker claims at both at once, as often and as much as it can: it holds no more than a
    new one may."""
    async with pair.buyer() as buyer, crowd() as http:
        hand = await Hand.hired(pair, http)
        await _bought(buyer, 8)
        given = await asyncio.gather(*(hand.claim(n % 2) for n in range(count)))
        leases = [lease for each in given for lease in each]
        assert len(leases) == MOST_NEW, [len(each) for each in given]
        for lease in leases:
            assert (await hand.bring(lease)).status_code == 200
        assert (await buyer.post("cancel")).status_code == 200
        await batches.ended(buyer)
        await buyer.take_refunds()


async def pay_asked_for_at_once(pair: Pair, count: int = 8) -> None:
    """One worker asks both for all of its pay, and again under one name: it is sent once."""
    async with pair.buyer() as buyer, crowd() as http:
        hand = await Hand.hired(pair, http)
        await _bought(buyer)
        [lease] = await hand.given()
        assert (await hand.bring(lease)).status_code == 200
        named = {"Idempotency-Key": buyer.key}
        path = f"{AT}/me/payouts"
        answers = await asyncio.gather(
            *(hand.ask("POST", path, n % 2, json={}, headers=named) for n in range(count)),
            *(hand.ask("POST", path, n % 2, json={}) for n in range(count)),
        )
        assert {answer.status_code for answer in answers} <= {201, 402, 409}, [
            answer.text for answer in answers
        ]
        sent = await pair.books.ask(
            "SELECT p.amount FROM payout p JOIN worker w ON w.account_id = p.account_id"
            f" WHERE w.id = '{hand.id}'"
        )
        [paid] = await hand.paid()
        free = paid["amount"] - paid["held_amount"]
        assert [row["amount"] for row in sent] == [free // 1_000 * 1_000], (sent, free)
        await batches.ended(buyer)


RACES: dict[str, Any] = {
    "two bring one lease": two_bring_one_lease,
    "late result against the new holder's": late_against_the_new_holder,
    "first claims against cancel": claim_against_cancel,
    "payout against ban": payout_against_ban,
    "claims of one token": claims_of_one_token,
    "pay asked for at once": pay_asked_for_at_once,
}
