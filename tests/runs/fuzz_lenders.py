"""What a fuzzer meets of those who lend machines: workers, leases in each state, a job for a stock
worker.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.world.lending_fixtures import painted
from tests.world.patience import patiently

WORKERS, LEASES, STOCK = "/api/v1/workers", "/api/v1/leases", "/api/v2"
POP, SUBMIT = f"{STOCK}/generate/pop", f"{STOCK}/generate/submit"
CLAIMS = f"{WORKERS}/claims"
SIDE, MANY = 256, 3
ASKS = {"models": ["scene-1"], "maxPixels": 2048 * 2048, "wait": 1}
POPS = {"models": ["scene-1"], "max_pixels": 2048 * 2048}
# The house makes the first of them, and not at once: so one is left for a worker.
PICTURES = {
    "defaults": {"model": "scene-1", "width": SIDE, "height": SIDE},
    "images": [{"prompt": f"a boat, painted SLOWLY, {number}"} for number in range(MANY)],
}
STOCK_NAME = "a stock worker"


@dataclass
class Lenders:
    """Tokens of workers, the leases of the first, and a stock worker with what it has popped."""

    tokens: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    key: str = ""
    worker: str = ""  # that has the key
    job: str = ""
    upload: tuple[str, str] = ("", "")  # the lease and the secret in the address of its file

    def shown_for(self, path: str, turn: int) -> dict[str, str]:
        """Return the header with one of the tokens, or with the key."""
        if path.startswith(STOCK):
            return {"apikey": self.key}
        return {"Authorization": f"Bearer {self.tokens[turn % len(self.tokens)]}"}

    def parameters(self) -> dict[str, dict[str, list[Any]]]:
        """Return the values that parameters take, by the addresses that they are in."""
        lease, mark = self.upload
        return {
            f"^{LEASES}/": {"path.id": self.leases},
            f"^{STOCK}/uploads/": {"path.id": [lease], "path.mark": [mark]},
            f"^{STOCK}/workers/[^/]*$": {"path.id": [self.worker]},
            f"^{STOCK}/workers/name/": {"path.name": [STOCK_NAME]},
        }


async def furnish(http: httpx2.AsyncClient, holder: dict[str, str], pay_to: str) -> Lenders:
    """Lend machines: one has brought an item, has given one back and has failed one; it holds one.
    A stock worker has popped one.

    The house makes what waits too, so there is enough for each.
    """
    lenders = Lenders()
    for name in ("a laptop", "another"):
        lenders.tokens.append(await _token(http, name, pay_to))
    worker = lenders.shown_for(WORKERS, 0)
    for end in (_brings, _releases, _fails, None):
        [lease] = (await _given(http, holder, worker, CLAIMS, ASKS))["leases"]
        lenders.leases.append(lease["leaseId"])
        if end is not None:
            await end(http, f"{LEASES}/{lease['leaseId']}", worker)
    await _pops(http, lenders, holder, await _token(http, STOCK_NAME, pay_to))
    return lenders


async def _token(http: httpx2.AsyncClient, name: str, pay_to: str) -> str:
    made = await http.post(WORKERS, json={"name": name, "payTo": pay_to})
    return str(made.raise_for_status().json()["token"])


async def _pops(
    http: httpx2.AsyncClient, lenders: Lenders, holder: dict[str, str], token: str
) -> None:
    asked = {"Authorization": f"Bearer {token}"}
    made = await http.post(f"{WORKERS}/me/horde-key", headers=asked)
    lenders.key = made.raise_for_status().json()["apiKey"]
    shown = {"apikey": lenders.key}
    job = await _given(http, holder, shown, POP, POPS)
    lenders.job = job["id"]
    _, lease, mark = urlsplit(job["r2_upload"]).path.rsplit("/", 2)
    lenders.upload = lease, mark
    [me] = (await http.get(f"{STOCK}/workers", headers=shown)).raise_for_status().json()
    lenders.worker = me["id"]


async def _given(
    http: httpx2.AsyncClient,
    holder: dict[str, str],
    shown: dict[str, str],
    path: str,
    asks: dict[str, Any],
) -> dict[str, Any]:
    """Order pictures until a worker is given one; return what it is told."""
    async for look in patiently("the house is faster than the worker"):
        (await http.post("/api/jobs", json=PICTURES, headers=holder)).raise_for_status()
        answer = await http.post(path, json=asks, headers=shown)
        look.saw = said = answer.raise_for_status().json()
        if said.get("leases") or said.get("ids"):
            return dict(said)
    raise AssertionError("unreachable")


async def _brings(http: httpx2.AsyncClient, lease: str, worker: dict[str, str]) -> None:
    headers = worker | {"Content-Type": "image/png"}
    answer = await http.put(f"{lease}/result", content=painted(side=SIDE), headers=headers)
    assert answer.status_code == 200, answer.text


async def _releases(http: httpx2.AsyncClient, lease: str, worker: dict[str, str]) -> None:
    (await http.post(f"{lease}/release", headers=worker)).raise_for_status()


async def _fails(http: httpx2.AsyncClient, lease: str, worker: dict[str, str]) -> None:
    said = {"reason": "no memory"}
    (await http.post(f"{lease}/fail", json=said, headers=worker)).raise_for_status()
