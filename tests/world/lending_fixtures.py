"""Somebody who lends a machine to a server that sells pictures, and makes none itself."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.world.batch_doors import batch, bought, sold_by
from tests.world.contract import refused as refused_by_contract
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S
from tests.world.scripted_maker import ScriptedMaker

AT = "/api/v1/workers"
SIDE, SMALL = 512, {"width": 512, "height": 512}
ASKS = {"models": ["scene-1"], "maxPixels": 2048 * 2048}


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    """Hold a refusal to its status and its code."""
    refused_by_contract(answer, status)
    assert answer.json()["code"] == code


def painted(colour: str = "red", side: int = SIDE) -> bytes:
    """Return a picture of one colour."""
    kept = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(kept, "PNG")
    return kept.getvalue()


@dataclass
class Lender:
    """Somebody who lends a machine."""

    at: Instance
    token: str

    async def asks(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Ask with the worker's token."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return await self.at.http.request(method, path, headers=headers, **more)

    async def claim(self, **more: Any) -> dict[str, Any]:
        """Claim what waits."""
        answer = await self.asks("POST", f"{AT}/claims", json=ASKS | more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def one(self, **more: Any) -> dict[str, Any]:
        """Claim one item."""
        [lease] = (await self.claim(wait=20, **more))["leases"]
        return dict(lease)

    async def brings(
        self, lease: dict[str, Any], data: bytes, media_type: str = "image/png", **more: str
    ) -> httpx2.Response:
        """Bring a file."""
        path, headers = f"/api/v1/leases/{lease['leaseId']}/result", {"Content-Type": media_type}
        return await self.asks("PUT", path, content=data, headers=headers | more)

    async def says(self, lease: dict[str, Any], what: str, **body: Any) -> httpx2.Response:
        """Say something of a lease."""
        path = f"/api/v1/leases/{lease['leaseId']}/{what}"
        return await self.asks("POST", path, **({"json": body} if what != "release" else {}))

    async def me(self) -> dict[str, Any]:
        """Return where the worker stands; what it has earned adds up."""
        answer = await self.asks("GET", f"{AT}/me")
        assert answer.status_code == 200, answer.text
        me: dict[str, Any] = answer.json()
        for each in me["earnings"].values():
            rest = (each[name] for name in ("held", "free", "sending", "paid", "forfeited"))
            assert each["earned"] == sum(rest)
        return me


async def page_of(lender: Lender) -> str:
    """Return a worker's own page, as it is opened with its token."""
    async with httpx2.AsyncClient(
        base_url=lender.at.url, timeout=PATIENCE_S, follow_redirects=True
    ) as http:
        answer = await http.post("/workers/me/unlock", data={"token": lender.token})
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.fixture
async def open_house(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """A server that sells pictures, and makes none itself: workers of the network do."""
    nobody = ScriptedMaker(at_once=0)
    async with sold_by(database_url, tmp_path, nobody, WORKERS="true") as running:
        yield running


async def lends(at: Instance, name: str = "my laptop") -> Lender:
    """Lend a machine."""
    made = await at.post(AT, {"name": name, "payTo": "you@example.org"})
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["state"], told["trusted"], told["delivered"]) == ("online", False, 0)
    return Lender(at, told["token"])


async def buys(at: Instance, *prompts: str) -> str:
    """Buy small pictures; return their batch."""
    body = batch(*prompts)
    body["defaults"] |= SMALL
    return await bought(at, body)
