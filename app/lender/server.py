"""The server as a worker sees it: what it is asked, and that it may not answer."""

import asyncio
import contextlib
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from app.buyer.event_reader import Overlong
from app.buyer.exchange import LONGEST_PAUSE_S, Answer, Exchange, Lost
from app.lender.answers import (
    Claimed,
    Lease,
    Standing,
    claimed_of,
    leases_of,
    pay_of,
    standing_of,
)
from app.plain_text import one_line
from app.strict_json import BadInput, dumped, parse_object

TIMEOUT_S = 60.0
CLAIM_WAIT_S = 25
MOST_PAUSE_S = 30.0
PATIENCE_S = 600.0  # for which a result is brought again to a server that does not answer
MOST_PREVIEW_BYTES: Final = 512 * 1024  # a larger one is not kept there
TOKEN: Final = re.compile(r"wk_[A-Za-z0-9_-]{8,200}")
LOST: Final = ("lease_lost", "lease_unknown", "job_over", "already_submitted")


class Refused(Exception):
    """The server does not do it. `code` is its word for that."""

    def __init__(self, status: int, code: str, sentence: str, state: str = "") -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence, self.worker_state = status, code, sentence, state

    @property
    def is_lost(self) -> bool:
        """Whether a lease has ended, and what is made under it is nobody's any more."""
        return self.code in LOST

    @property
    def is_paused(self) -> bool:
        """Whether the worker is given nothing for a while, and is still one."""
        return self.code == "worker_paused" and self.worker_state != "banned"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine makes, and how much it can: pixels of a picture, and gigabytes of VRAM. For
    less than so many sats it makes nothing."""

    models: list[str]
    most_pixels: int
    vram_gb: int = 0
    min_sats: int = 0


class Server:
    """One server, as the worker with this token."""

    def __init__(self, exchange: Exchange, token: str = "") -> None:
        self._exchange, self.token = exchange, token

    async def register(
        self, name: str, pay_to: str, key: str = "", **guards: str
    ) -> tuple[str, str]:
        """Lend a machine; return the worker's id and its token. The same `key` again is the same
        worker; `guards` are its `payoutKey`, and the `secret` that has its token told again.

        Raises Lost, Refused."""
        headers = {"Idempotency-Key": key} if key else {}
        body = {"name": name, "payTo": pay_to, **guards}
        made = await self._asked("POST", "/api/v1/workers", body, headers)
        worker_id, self.token = str(made.get("workerId", "")), str(made.get("token", ""))
        if not worker_id.isalnum() or TOKEN.fullmatch(self.token) is None:
            raise Refused(200, "", "It answers something else than a worker.")
        return worker_id, self.token

    async def me(self) -> Standing:
        """Return where the worker stands. Raises Lost, Refused."""
        return standing_of(await self._asked("GET", "/api/v1/workers/me"))

    async def change(self, **fields: str) -> Standing:
        """Change the worker. Raises Lost, Refused."""
        return standing_of(await self._asked("PATCH", "/api/v1/workers/me", fields))

    async def withdraw(self, sats: int | None, name: str) -> Standing:
        """Have so much of its pay sent, or all that is free (None); return where it stands then.

        The same `name` again is the same payout. Raises Lost, Refused."""
        asks: dict[str, Any] = {} if sats is None else {"amountSats": sats}
        headers = {"Idempotency-Key": name}
        return standing_of(await self._asked("POST", "/api/v1/workers/me/payouts", asks, headers))

    async def held(self) -> list[Lease]:
        """Return what the worker holds since before. Raises Lost, Refused."""
        return leases_of((await self._asked("GET", "/api/v1/workers/me")).get("leases"))

    async def claim(self, machine: Machine, most: int = 1) -> Claimed:
        """Take what waits, or wait for it. Raises Lost, Refused."""
        size = {"maxPixels": machine.most_pixels, "vramGb": machine.vram_gb}
        asks = {"models": machine.models, **size, "most": most, "wait": CLAIM_WAIT_S}
        if machine.min_sats:
            asks["minSats"] = machine.min_sats
        return claimed_of(await self._asked("POST", "/api/v1/workers/claims", asks))

    async def beat(self, lease: Lease, percent: int, preview: bytes) -> str:
        """Say that it is made; return the server's command. Raises Lost, Refused."""
        body: dict[str, Any] = {"progress": percent}
        if 0 < len(preview) <= MOST_PREVIEW_BYTES:
            body["preview"] = b64encode(preview).decode()
        told = await self._asked("POST", f"/api/v1/leases/{lease.id}/heartbeat", body)
        return str(told.get("command", "continue"))

    async def bring(self, lease: Lease, data: bytes, media_type: str) -> str:
        """Bring what was made, for as long as it takes; return what is earned.

        Raises Lost where there was no answer for a long time, and Refused.
        """
        digest = b64encode(sha256(data).digest()).decode()
        headers = {"Content-Type": media_type, "Content-Digest": f"sha-256=:{digest}:"}
        path = f"/api/v1/leases/{lease.id}/result"
        told = await self._patiently(lambda: self._call("PUT", path, content=data, headers=headers))
        return pay_of(told.get("earned"))

    async def fail(self, lease: Lease, reason: str, *, retryable: bool) -> None:
        """Say that it can't be made. Raises Lost, Refused."""
        body = {"reason": one_line(reason, 200), "retryable": retryable}
        path = f"/api/v1/leases/{lease.id}/fail"
        await self._patiently(lambda: self._asked("POST", path, body))

    async def release(self, lease: Lease) -> None:
        """Give it back. Raises Lost, Refused."""
        await self._call("POST", f"/api/v1/leases/{lease.id}/release")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._exchange.close()

    async def _patiently(self, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Call until there is an answer: each call is a replay where it was heard before."""
        pause_s = 0.5
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        return await call()
                    except Lost as lost:
                        if not lost.may_pass:
                            raise
                    await asyncio.sleep(pause_s)
                    pause_s = min(MOST_PAUSE_S, 2 * pause_s)
        raise Lost(f"it did not answer for {PATIENCE_S // 60:.0f} minutes")

    async def _asked(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        if body is None:
            return await self._call(method, path, headers=dict(headers or {}))
        typed = {"Content-Type": "application/json", **(headers or {})}
        return await self._call(method, path, content=dumped(body), headers=typed)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the JSON of an answer. Lost: the same call may get one later."""
        headers = options.pop("headers", {})
        if self.token:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        try:
            answer = await self._exchange.ask(method, path, headers=headers, **options)
        except Overlong as long:
            raise Refused(0, "", f"Its answer can't be used: {long}.") from long
        said = _object(answer)
        if answer.status < 300:
            return said
        if answer.status == 429 or answer.status >= 500:
            await asyncio.sleep(_pause_s(answer))
            busy = answer.status == 429
            raise Lost("it asks to be asked less often" if busy else "it can't answer just now")
        sentence = one_line(str(said.get("error", "It does not say why.")))
        code, state = str(said.get("code", "")), str(said.get("state", ""))
        raise Refused(answer.status, code, sentence, state)


def _pause_s(answer: Answer) -> float:
    """Return for how long the server asks not to be asked."""
    said = answer.headers.get("retry-after", "")
    known = said.isascii() and said.isdecimal() and len(said) < 6
    return min(float(said), LONGEST_PAUSE_S) if known else 1.0


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return parse_object(answer.body)
    except BadInput:
        if answer.status < 500:
            raise Refused(answer.status, "", "Its answer isn't one of Boltwork's.") from None
        return {}
