"""The second door of those who lend machines: another network's dialect, as its programs speak it.

What is taken, brought and paid is the desk of workers'. So the laws of leases, of holdback and of
pay are not told again here.
"""

import asyncio
import io
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from PIL import Image

from app.plant import lending_of
from app.refusal import Refusal
from app.trade.stock_workers import HOLDS_S, StockWorkers, sayable
from db.audit import audit
from tests.world.batch_doors import batch, bought, ended
from tests.world.contract import CONTRACT
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import SIDE, Lender, buys, lends, open_house, painted

__all__ = ["open_house"]

AT = "/api/v2"
CODES = CONTRACT.document["components"]["schemas"]["HordeCode"]["enum"]
# What their programs send with every request: most of it means nothing here.
POPS: dict[str, Any] = {
    "name": "my laptop",
    "models": ["Deliberate", "Scene-1"],
    "max_pixels": 2_048 * 2_048,
    "bridge_agent": "AI Horde Worker reGen:17:https://example.org",
    "nsfw": False,
    "blacklist": [],
    "amount": 1,
    "threads": 1,
    "allow_img2img": True,
    "a field of a later version": {"of": ["theirs"]},
}


@dataclass
class Stock:
    """A worker that runs one of those programs."""

    lender: Lender
    key: str

    @classmethod
    async def of(cls, lender: Lender) -> "Stock":
        """Get a key for a worker."""
        made = await lender.asks("POST", "/api/v1/workers/me/horde-key")
        assert made.status_code == 201, made.text
        told = made.json()
        assert len(told["apiKey"]) == 22 and told["url"] == f"{lender.at.url}/api/"
        return cls(lender, told["apiKey"])

    async def asks(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Ask with the worker's key."""
        headers = {"apikey": self.key}
        return await self.lender.at.http.request(method, f"{AT}{path}", headers=headers, **more)

    async def pops(self, **more: Any) -> dict[str, Any]:
        """Pop a job."""
        answer = await self.asks("POST", "/generate/pop", json=POPS | more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def brings(self, job: dict[str, Any], data: bytes) -> httpx2.Response:
        """Bring a job's file, as they do: with no key, and no media type."""
        [address] = job["r2_uploads"]
        return await self.lender.at.http.put(address, content=data)

    async def submits(self, job: dict[str, Any], **more: Any) -> httpx2.Response:
        """Say that a job is done."""
        body = {"id": job["id"], "generation": "R2", "state": "ok", "seed": 7} | more
        return await self.asks("POST", "/generate/submit", json=body)


async def never() -> bytes:
    """Stand for a body that nobody reads."""
    raise AssertionError("it was read")


def refused(answer: httpx2.Response, status: int, rc: str, says: str = "") -> None:
    """Hold a refusal to its shape: a sentence, and a word that their programs know."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert {"message", "rc", "requestId"} <= set(told) <= {"message", "rc", "requestId", "next"}
    assert told["rc"] == rc and rc in CODES
    assert told["message"][0].isupper() and told["message"].endswith(".")
    assert says in told["message"], told


async def test_a_job_is_popped_made_and_paid_for(open_house: Instance) -> None:
    """As a worker of ours is, once: half is held back, and kudos are the sats of it. The buyer sees
    that somebody makes it, though no heartbeat comes.
    """
    lender = await lends(open_house)
    stock = await Stock.of(lender)
    assert await stock.pops() == {
        **{"id": None, "ids": [], "payload": {}, "skipped": {}},
        "noMatch": [
            {"reason": "nothing_waits", "message": "Nothing waits for one of these models."}
        ],
    }
    bought_id = await buys(open_house, "a red boat ### and a tree")
    job = await stock.pops()
    assert job["ids"] == [job["id"]] and job["model"] == "Scene-1"
    asked = job["payload"]
    assert (asked["prompt"], asked["width"]) == ("a red boat # # # and a tree", SIDE)
    [lease] = (await lender.me())["leases"]
    assert asked["seed"] == str(lease["input"]["seed"]) and job["pay"] == lease["pay"]
    assert HOLDS_S - 30 < job["ttl"] <= HOLDS_S
    item = (await open_house.http.get(f"/api/jobs/{bought_id}")).json()["images"][0]
    assert item["status"] == "processing"

    early = await stock.submits(job)
    refused(early, 400, "BadRequest", "No file of this job has arrived.")
    for colour in ("blue", "red"):  # the last one counts
        assert (await stock.brings(job, painted(colour))).json() == {"ok": True}
    pay = job["pay"]["msat"]
    for _ in range(2):
        taken = await stock.submits(job)
        assert taken.json() == {"reward": pay // 1_000, "earned": {"msat": pay}}, taken.text
    assert (await stock.brings(job, painted("green"))).json() == {"ok": True}  # and is not kept

    made = await ended(open_house, bought_id)
    assert made["job"]["status"] == "completed"
    assert made["images"][0]["madeBy"] == "network"
    user = (await stock.asks("GET", "/find_user")).json()
    held, free = pay // 2, pay - pay // 2
    assert user["earnings"]["msat"] == {"earned": pay, "held": held, "free": free}
    assert (user["kudos"], user["evaluating_kudos"]) == (free // 1_000, held // 1_000)
    assert (user["kudos_details"], user["trusted"]) == ({"accumulated": pay // 1_000}, False)
    assert "example.org" not in str(user)  # a key does not tell where pay goes
    assert [finding.line for finding in await audit(open_house.built.db)] == []


async def test_a_size_that_is_none_of_theirs_is_made_larger_and_cut(open_house: Instance) -> None:
    """Their programs make sides that are multiples of 64. The buyer has what was asked for."""
    stock = await Stock.of(await lends(open_house))
    body = batch("a boat")
    body["defaults"] |= {"width": 500, "height": 512}
    bought_id = await bought(open_house, body)
    job = await stock.pops()
    assert (job["payload"]["width"], job["payload"]["height"]) == (512, 512)
    await stock.brings(job, painted())
    assert (await stock.submits(job)).status_code == 200
    [item] = (await ended(open_house, bought_id))["images"]
    file = await open_house.http.get(item["url"])
    assert Image.open(io.BytesIO(file.content)).size == (500, 512)


def test_what_the_dialect_has_no_words_for_is_not_said() -> None:
    """A film, a side that is too long, and what is made from a file."""
    plain = {"prompt": "a boat", "width": 500, "height": 64}
    assert sayable({"model": "scene-1", **plain}) is not None
    assert sayable({"model": "scene-1", "inputs": plain}) is not None
    assert sayable({"model": "scene-1", **plain, "width": 3_073}) is None
    assert sayable({"model": "scene-1", **plain, "duration_ms": 5_000}) is None
    assert sayable({"model": "edit", "inputs": plain | {"input_image": "artifact:1"}}) is None


async def test_what_is_not_made_is_anothers_turn(open_house: Instance) -> None:
    """What a worker can't make, what it holds back, and what is not what was asked for: it is paid
    nothing, and the lease is over.
    """
    stock, other = await Stock.of(await lends(open_house)), await lends(open_house, "another")
    for state in ("faulted", "censored"):
        await buys(open_house, "a boat")
        job = await stock.pops()
        assert (await stock.submits(job, state=state)).json() == {"reward": 0}
        refused(await stock.submits(job), 404, "InvalidJobID", "does not exist")
        await other.brings(await other.one(), painted())

    await buys(open_house, "a boat")
    job = await stock.pops()
    await stock.brings(job, painted(side=256))
    refused(await stock.submits(job), 400, "ImageValidationFailed", "256 × 256")
    refused(await stock.submits(job), 404, "InvalidJobID", "Processing Job with ID ")
    assert (await other.brings(await other.one(), painted())).status_code == 200
    told = (await stock.asks("GET", "/find_user")).json()
    assert told["earnings"]["msat"]["earned"] == 0


async def test_what_a_stranger_knows_brings_and_takes_nothing(open_house: Instance) -> None:
    """A file is brought by its secret address alone; a job is its worker's; a key opens that
    dialect alone, and a token does not; and a new key takes the place of the one before.
    """
    stock, thief = [await Stock.of(await lends(open_house, name)) for name in ("my laptop", "x")]
    await buys(open_house, "a boat")
    job = await stock.pops()
    where, _, mark = job["r2_upload"].rpartition("/")
    built = open_house.built
    door = StockWorkers(lending_of(built), built.artifacts.store, built.credentials.seal)
    for other in ("0" * 32, mark[:8], "x"):
        wrong = await open_house.http.put(f"{where}/{other}", content=painted())
        refused(wrong, 404, "InvalidJobID")
        with pytest.raises(Refusal):  # before a byte of it is read
            await door.upload(job["id"].replace("-", ""), other, never)
    assert (await stock.brings(job, painted())).status_code == 200
    refused(await thief.submits(job), 404, "InvalidJobID")
    refused(await stock.submits({"id": "x"}), 404, "InvalidJobID")
    before, stock = stock, await Stock.of(stock.lender)
    refused(await before.submits(job), 401, "InvalidAPIKey")
    for key in ("0000000000", stock.lender.token, "0" * 22, ""):
        refused(await Stock(stock.lender, key).asks("GET", "/find_user"), 401, "InvalidAPIKey")
    as_token = await Lender(open_house, stock.key).asks("GET", "/api/v1/workers/me")
    assert as_token.status_code == 401
    assert (await stock.submits(job)).json()["reward"] > 0

    [me] = (await stock.asks("GET", "/workers?name=MY%20laptop")).json()
    for path in (f"/workers/{me['id']}", "/workers/name/my laptop"):
        assert (await stock.asks("GET", path)).json() == me
        refused(await thief.asks("GET", path), 404, "WorkerNotFound")
        refused(await open_house.http.get(f"{AT}{path}"), 404, "WorkerNotFound")
    assert (await open_house.http.get(f"{AT}/workers")).json() == []
    user = (await stock.asks("GET", "/find_user")).json()
    assert (user["worker_ids"], user["username"]) == ([me["id"]], me["owner"])


async def test_a_worker_in_maintenance_is_given_nothing(open_house: Instance) -> None:
    """It says so itself, as their programs do; a job that several pop at once is one worker's."""
    stock, other = [await Stock.of(await lends(open_house, name)) for name in ("mine", "another")]
    [me] = (await stock.asks("GET", "/workers")).json()
    at = f"/workers/{me['id']}"
    paused = await stock.asks("PUT", at, json={"maintenance": True, "name": "is ignored"})
    assert paused.json() == {"maintenance": True, "name": "mine"}
    refused(await stock.asks("POST", "/generate/pop", json=POPS), 403, "WorkerMaintenance",
            "maintenance mode")  # fmt: skip
    refused(await stock.asks("PUT", at, json={}), 400, "BadRequest", "'maintenance' is missing")
    assert (await stock.asks("PUT", at, json={"maintenance": False})).status_code == 200
    await buys(open_house, "a boat")
    jobs = await asyncio.gather(stock.pops(), other.pops())
    assert sorted(len(job["ids"]) for job in jobs) == [0, 1]
    assert (await open_house.http.get(f"{AT}/status/heartbeat")).json()["message"] == "OK"
    refused(await stock.asks("POST", "/generate/pop", json={"models": []}), 400, "BadRequest")


async def test_where_no_workers_are_taken_there_is_no_second_door(instance: Instance) -> None:
    """Who has no worker has no key, and nobody has a worker."""
    refused(await instance.http.get(f"{AT}/find_user"), 401, "InvalidAPIKey")
    made = await instance.http.post("/api/v1/workers/me/horde-key")
    assert made.status_code == 401
