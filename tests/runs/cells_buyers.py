"""Buyers who come to the router of several cells, know none of them, and pay whichever has sold:
by a wallet, a session, an account, L402 and MCP.
"""

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2

from payments.bolt11 import decode
from tests.runs.cells_town import CellHouse
from tests.runs.hosts_buyers import ENDED, FINAL, SIDE, Buyers, Json
from tests.world.asking import OFFER
from tests.world.patience import patiently

DEPOSIT_SATS, MOST_SATS = 1_500, 1_000
_ADDRESS = re.compile("/api/(?:jobs|sessions)/([0-9a-f]{2})[0-9a-f]{30}")
_CELL: ContextVar[str] = ContextVar("the cell that a refund is taken from")
_MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


@dataclass
class Sides:
    """The rails of all cells, with the buyer's wallet on the other side of each."""

    cells: Mapping[str, CellHouse]

    async def pay(self, bolt11: str) -> str:
        """Pay an invoice, on the rail of the cell that has made it; return the preimage."""
        payment_hash = decode(bolt11).payment_hash
        async for _ in patiently("no cell that lives knows this invoice", pause_s=0.2):
            for cell in self.cells.values():
                if await self._knows(cell, payment_hash):
                    return await cell.side.pay(bolt11)
        raise AssertionError

    async def make_invoice(self, amount_sats: int, expiry_s: int) -> str:
        """Have the buyer's wallet make an invoice, for the cell of what is just being taken."""
        return await self.cells[_CELL.get()].side.make_invoice(amount_sats, expiry_s)

    @staticmethod
    async def _knows(cell: CellHouse, payment_hash: str) -> bool:
        try:
            return await cell.knows(payment_hash)
        except Exception:  # it was killed while it was asked
            return False


@dataclass
class Callers(Buyers):
    """All buyers, and at which addresses what they bought is found."""

    found: dict[str, str] = field(default_factory=dict)  # the cell of each address
    private: set[str] = field(default_factory=set)  # of those, what its holder alone is shown

    async def by_l402(self, key: str) -> None:
        """Ask once and be told the price; pay; ask again with the proof."""
        body = {"request": f"Say {key}."}
        offer = await self._post("/api/ask", body, key, 402)
        found = OFFER.search(", ".join(offer.headers.get_list("www-authenticate")))
        assert found is not None, offer.headers
        await self._pay(offer.json())
        preimage = self._preimages[offer.json()["paymentRequest"]]
        proof = {"Authorization": f"L402 {found[1]}:{preimage}"}
        answer = await self._post("/api/ask", body, key, 200, 202, **proof)
        path = f"/api/jobs/{answer.json()['jobId']}"
        job = await self._until(path, lambda job: job["state"] in FINAL)
        assert job["state"] == "complete", job
        await self._take(path)

    async def by_mcp(self, key: str) -> None:
        """Have a model buy by tools: the purchase, the payment, and looks at what becomes of it."""
        asked = {"request": f"Say {key}.", "purchaseKey": secrets.token_hex(16), "waitS": 0}
        told = await self._tool("buy_job", maxSats=MOST_SATS, **asked)
        await self._pay(told)
        path = f"/api/jobs/{told['id']}"
        async for look in patiently("it is never done", pause_s=0.2):
            look.saw = seen = await self._tool("get_job", id=told["id"], kind="job", waitS=5)
            if seen.get("done"):
                break
        assert seen["state"] == "complete", seen
        await self._take(path)

    async def by_account(self, key: str) -> None:
        """Sign in, which is the home cell's; pay in, buy of the balance, take out the rest."""
        who = {"username": f"buyer-{secrets.token_hex(6)}", "password": secrets.token_hex(8)}
        answer = await self._ask("POST", "/api/auth/login", json=who)
        assert answer.status_code in (200, 201), answer.text
        holder = {"Authorization": f"Bearer {answer.cookies['session']}"}
        digits = answer.cookies["session"][:2]
        self._http.cookies.clear()
        body = {"amountSats": DEPOSIT_SATS}
        asked = await self._post("/api/account/deposits", body, f"{key} in", 201, **holder)
        await self._pay(asked.json()["invoice"])
        await self._spends(key, holder, digits)

    async def by_key(self, key: str) -> None:
        """Have a payment open an account, in whichever cell; buy by its API key, and so on."""
        amount = {"amountSats": DEPOSIT_SATS}
        where = "/api/v1/wallets/connect"
        asked = (await self._post(f"{where}/initiate", amount, key, 200)).json()
        await self._pay({"paymentRequest": asked["depositToAddress"]})
        status = f"{where}/status/{asked['requestId']}"
        async for look in patiently("there is no key", pause_s=0.2):
            look.saw = told = (await self._ask("GET", status)).json()
            if told["status"] == "COMPLETED":
                break
        assert told["apiKey"][11:13] == asked["requestId"][:2], "the key says its cell"
        await self._spends(key, {"x-api-key": told["apiKey"]}, asked["requestId"][:2])

    async def _spends(self, key: str, holder: Mapping[str, str], digits: str) -> None:
        headers = dict(holder)
        async for look in patiently("what was paid in never comes", pause_s=0.2):
            look.saw = has = (await self._ask("GET", "/api/account", headers=headers)).json()
            if has["balanceSats"] == DEPOSIT_SATS:
                break
        image = {"prompt": f"a boat on a lake, {key}", "width": SIDE, "height": SIDE}
        body = {"defaults": {"model": "scene-1"}, "images": [image]}
        made = await self._post("/api/jobs", body, f"{key} images", 201, **headers)
        path = f"/api/jobs/{made.json()['jobId']}"
        said = await self._until(path, lambda said: said["job"]["status"] in ENDED, headers)
        assert said["job"]["status"] == "completed", said
        left = (await self._ask("GET", "/api/account", headers=headers)).json()["balanceSats"]
        rest = {"amountSats": left}
        await self._post("/api/account/withdrawals", rest, f"{key} out", 201, **headers)
        token = _CELL.set(digits)
        await super()._take("/api/account", headers)
        _CELL.reset(token)

    async def unnamed(self, key: str) -> None:
        """Buy an agent's work without a key: at any cell that lives."""
        made = await self._ask("POST", "/api/jobs", json={"request": f"Say {key}."})
        assert made.status_code == 201, made.text
        path = f"/api/jobs/{made.json()['jobId']}"
        await self._pay(made.json()["evalInvoice"])
        job = await self._until(path, lambda job: job["state"] in FINAL or "workInvoice" in job)
        await self._pay(job["workInvoice"])
        job = await self._until(path, lambda job: job["state"] in FINAL)
        assert job["state"] == "complete", job
        await self._take(path)

    async def _tool(self, name: str, **arguments: Any) -> Json:
        params = {"name": name, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await self._ask("POST", "/mcp", json=message, headers=_MCP)
        assert answer.status_code == 200, answer.text
        result = answer.json()["result"]
        assert not result.get("isError"), result
        told: Json = result["structuredContent"]
        return told

    async def _ask(
        self, method: str, path: str, *, is_held: bool = False, **options: Any
    ) -> httpx2.Response:
        answer = await super()._ask(method, path, is_held=is_held, **options)
        if (address := _ADDRESS.match(path)) and answer.status_code < 400:
            self.found[address[0]] = address[1]
            if "/jobs/" in path and options.get("headers", {}).keys() & {
                "Authorization",
                "x-api-key",
            }:
                self.private.add(address[0])
        return answer

    async def _take(self, path: str, headers: dict[str, str] | None = None) -> None:
        address = _ADDRESS.match(path)
        assert address is not None, path
        token = _CELL.set(address[1])
        await super()._take(path, headers)
        _CELL.reset(token)


KINDS = (
    ("wallet", Callers.text),
    ("session", Callers.session),
    ("L402", Callers.by_l402),
    ("MCP", Callers.by_mcp),
    ("account", Callers.by_account),
    ("API key", Callers.by_key),
    ("picture", Callers.picture),
)
