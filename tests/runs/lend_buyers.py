"""Buyers who have accounts, buy credits over Lightning, and spend them on pictures."""

import io
from dataclasses import dataclass, field
from typing import Any

import httpx2
from PIL import Image

from tests.runs.crash_world import Side
from tests.world.patience import patiently

CREDIT_MSAT = 25_000  # CREDIT_SATS
SIDE = 256
ENDED = ("completed", "failed")
PLACES = ("a calm lake", "a snowy mountain", "the sea at night", "a city street", "a meadow")
THINGS = (
    "a red boat",
    "an old tree",
    "a grey cat",
    "a small house",
    "a white horse",
    "a tall ship",
)


@dataclass
class Account:
    """One buyer: the key of an account, and the jobs that were bought with it."""

    http: httpx2.AsyncClient
    name: str
    holder: dict[str, str] = field(default_factory=dict)
    key: dict[str, str] = field(default_factory=dict)
    paid_msat: int = 0
    jobs: list[str] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)

    async def open(self, side: Side, credits: int) -> None:
        """Open the account, and pay for so many credits."""
        login = {"username": self.name, "password": "a password of the run"}
        answer = await self.http.post("/api/auth/login", json=login)
        self.http.cookies.clear()
        self.holder = {"Authorization": f"Bearer {answer.cookies['session']}"}
        amount = {"amountSats": credits * CREDIT_MSAT // 1_000}
        asked = await self._post("/api/account/deposits", amount, self.holder)
        await side.pay(asked["invoice"]["paymentRequest"])
        self.paid_msat = credits * CREDIT_MSAT
        async for look in patiently("the deposit never comes"):
            look.saw = sats = await self.balance_sats()
            if sats * 1_000 == self.paid_msat:
                break
        made = await self._post("/api/v1/user/apikeys", {}, self.holder)
        self.key = {"Authorization": f"Bearer {made['apiKey']}"}

    async def balance_sats(self) -> int:
        """Return the whole sats that the account holds."""
        answer = await self.http.get("/api/account", headers=self.holder)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["balanceSats"])

    async def account_id(self) -> str:
        """Return the account."""
        answer = await self.http.get("/api/v1/users/me", headers=self.key)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"]).replace("-", "")

    async def buy(self, number: int) -> None:
        """Buy a picture, as soon as few enough of its jobs are under way."""
        thing, place = THINGS[number % len(THINGS)], PLACES[number // 6 % len(PLACES)]
        body = {"prompt": f"{thing} by {place}, number {number}", "width": SIDE, "height": SIDE}
        async for look in patiently("nothing more can be bought", pause_s=0.5):
            answer = await self.http.post("/api/v1/jobs", json=body, headers=self.key)
            look.saw = answer.text
            if answer.status_code not in (429, 503):
                break
        assert answer.status_code == 201, answer.text
        self.jobs.append(str(answer.json()["id"]))

    async def see(self) -> None:
        """Wait until each job has ended that was not seen yet: with a picture of its size, or
        without."""
        for job_id in self.jobs[len(self.ended) :]:
            async for look in patiently("a job does not end"):
                answer = await self.http.get(f"/api/v1/jobs/{job_id}", params={"wait": "20"})
                assert answer.status_code == 200, answer.text
                look.saw = job = dict(answer.json())
                if job["status"] in ENDED:
                    break
            if job["status"] == "completed":
                picture = await self.http.get(job["result_url"])
                assert picture.status_code == 200, picture.text
                job["file"] = picture.content
                assert Image.open(io.BytesIO(picture.content)).size == (SIDE, SIDE)
            self.ended.append(job)

    @property
    def delivered(self) -> int:
        """How many pictures it has."""
        return sum("file" in job for job in self.ended)

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any]:
        answer = await self.http.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())
