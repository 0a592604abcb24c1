"""The server as a worker sees it. What it answers is read as a stranger's: by its shape, or not."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from app.buyer.exchange import Answer, Exchange, Lost, pause_s_before_next
from app.ports import Wanted
from app.strict_json import BadInput, dumped, parse_object

TIMEOUT_S = 60.0
CLAIM_WAIT_S = 25
MOST_PAUSE_S = 30.0
MOST_SIDE, MOST_PROMPT = 8_192, 20_000
PATIENCE_S = 600.0  # for which a result is brought again to a server that does not answer


class Refused(Exception):
    """The server does not do it. `code` is its word for that."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence

    @property
    def is_lost(self) -> bool:
        """Whether a lease has ended, and what is made under it is nobody's any more."""
        return self.code in ("lease_lost", "lease_unknown", "job_over", "already_submitted")


@dataclass(frozen=True, slots=True)
class Lease:
    """An item to make, and what is paid for it."""

    id: str
    wanted: Wanted
    pay: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine makes, and how much it can: pixels of a picture, and gigabytes of VRAM."""

    models: list[str]
    most_pixels: int
    vram_gb: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was given; where that is nothing, the sentences that say why."""

    leases: list[Lease]
    why_nothing: list[str]


class Server:
    """One server, as the worker with this token."""

    def __init__(self, exchange: Exchange, token: str = "") -> None:
        self._exchange, self._token = exchange, token

    async def register(self, name: str, pay_to: str) -> tuple[str, str]:
        """Lend a machine; return the worker's id and its token. Raises Lost, Refused."""
        made = await self._asked("POST", "/api/v1/workers", {"name": name, "payTo": pay_to})
        worker_id, self._token = str(made.get("workerId", "")), str(made.get("token", ""))
        if not worker_id or not self._token.startswith("wk_"):
            raise Refused(200, "", "It answers something else than a worker.")
        return worker_id, self._token

    async def me(self) -> dict[str, Any]:
        """Return where the worker stands. Raises Lost, Refused."""
        return await self._asked("GET", "/api/v1/workers/me")

    async def change(self, **fields: str) -> None:
        """Change the worker. Raises Lost, Refused."""
        await self._asked("PATCH", "/api/v1/workers/me", fields)

    async def held(self) -> list[Lease]:
        """Return what the worker holds since before. Raises Lost, Refused."""
        return _leases((await self.me()).get("leases"))

    async def claim(self, machine: Machine) -> Claimed:
        """Take an item that waits, or wait for one. Raises Lost, Refused."""
        size = {"maxPixels": machine.most_pixels, "vramGb": machine.vram_gb}
        asks = {"models": machine.models, **size, "most": 1, "wait": CLAIM_WAIT_S}
        told = await self._asked("POST", "/api/v1/workers/claims", asks)
        why = [str(each.get("message", "")) for each in told.get("noMatch", []) if each]
        return Claimed(_leases(told.get("leases")), why)

    async def beat(self, lease: Lease, percent: int, preview: bytes) -> bool:
        """Say that it is made; return whether no more is to be claimed. Raises Lost, Refused."""
        body: dict[str, Any] = {"progress": percent}
        if preview:
            body["preview"] = b64encode(preview).decode()
        told = await self._asked("POST", f"/api/v1/leases/{lease.id}/heartbeat", body)
        return told.get("command") == "drain"

    async def bring(self, lease: Lease, data: bytes, media_type: str) -> str:
        """Bring what was made, for as long as it takes; return what is earned. Raises Refused."""
        digest = b64encode(sha256(data).digest()).decode()
        headers = {"Content-Type": media_type, "Content-Digest": f"sha-256=:{digest}:"}
        path = f"/api/v1/leases/{lease.id}/result"
        told = await self._patiently(lambda: self._call("PUT", path, content=data, headers=headers))
        return _pay(told.get("earned"))

    async def fail(self, lease: Lease, reason: str, *, retryable: bool) -> None:
        """Say that it can't be made. Raises Refused."""
        body = {"reason": reason, "retryable": retryable}
        path = f"/api/v1/leases/{lease.id}/fail"
        await self._patiently(lambda: self._asked("POST", path, body))

    async def release(self, lease: Lease) -> None:
        """Give it back. Raises Lost, Refused."""
        await self._call("POST", f"/api/v1/leases/{lease.id}/release")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._exchange.close()

    async def _patiently(self, call: Callable[[], Any]) -> dict[str, Any]:
        """Call until there is an answer: each call is a replay where it was heard before."""
        pause_s = 0.5
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(Lost):
                    answered: dict[str, Any] = await call()
                    return answered
                await asyncio.sleep(pause_s)
                pause_s = min(MOST_PAUSE_S, 2 * pause_s)

    async def _asked(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if body is None:
            return await self._call(method, path)
        headers = {"Content-Type": "application/json"}
        return await self._call(method, path, content=dumped(body), headers=headers)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the JSON of an answer. Lost: the same call may get one later."""
        headers = options.pop("headers", {})
        if self._token:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        answer = await self._exchange.ask(method, path, headers=headers, **options)
        said = _object(answer)
        if answer.status < 300:
            return said
        pause_s = pause_s_before_next(answer, 0, repeatable=True)
        if answer.status >= 500:
            await asyncio.sleep(min(pause_s or 1.0, MOST_PAUSE_S))
            raise Lost("it can't answer just now")
        sentence = str(said.get("error", "It does not say why."))
        raise Refused(answer.status, str(said.get("code", "")), sentence)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return parse_object(answer.body)
    except BadInput:
        if answer.status < 500:
            raise Refused(answer.status, "", "Its answer isn't one of Boltwork's.") from None
        return {}


def _leases(said: Any) -> list[Lease]:
    """Return leases as they are told; what can't be read as one is left to lapse."""
    leases = []
    for each in said if isinstance(said, list) else ():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            leases.append(Lease(_id(each["leaseId"]), _wanted(each["input"]), _pay(each["pay"])))
    return leases


def _id(said: Any) -> str:
    if not isinstance(said, str) or not said.isalnum():
        raise ValueError("that is no id")
    return said


def _wanted(asked: dict[str, Any]) -> Wanted:
    return Wanted(
        str(asked["model"])[:MOST_PROMPT],
        str(asked["prompt"])[:MOST_PROMPT],
        _whole(asked["width"], MOST_SIDE),
        _whole(asked["height"], MOST_SIDE),
        str(asked.get("negativePrompt", ""))[:MOST_PROMPT],
        _whole(asked.get("steps", 0), 1_000),
        _whole(asked.get("seed", 0), 2**53),
        _whole(asked.get("durationMs", 0), 600_000),
    )


def _whole(said: Any, most: int) -> int:
    if not isinstance(said, int) or not 0 <= said <= most:
        raise ValueError("that is no size")
    return said


def shifted(amount: int, places: int) -> str:
    """Return an amount of a small unit in one that is ten to so many as large. Exact."""
    return f"{Decimal(amount).scaleb(-places):f}"


def _pay(said: Any) -> str:
    """Return a pay as a person reads it."""
    match said:
        case {"msat": int(msat)}:
            return f"{shifted(msat, 3)} sats"
        case {"microUsdc": int(micro)}:
            return f"{shifted(micro, 6)} USDC"
        case _:
            return "nothing"
