"""One question to LNbits, and its answer read strictly.

The answer is bounded in size and time, and it is whole JSON or nothing; a payment told in it has
the right types and is about the hash that was asked for. The key appears in no reason and no log.
"""

import asyncio
import hashlib
import re
from typing import Any, Final, NamedTuple

import httpx2
import orjson

from payments.kept_alive import IDLE_S, limits
from payments.rail import Settled, Unavailable
from pricing.authorities import authorities
from pricing.money import Msat

LARGEST_ANSWER_BYTES: Final = 65_536
_PREIMAGE = re.compile(r"[0-9a-f]{64}")


class Answer(NamedTuple):
    """What came back: any status, any JSON."""

    status: int
    body: Any  # parsed JSON; None when it was none
    retry_after_s: int

    def text(self, field: str) -> str:
        """Return a field of the body if it is text, else nothing."""
        value = self.body.get(field) if isinstance(self.body, dict) else None
        return value if isinstance(value, str) else ""


class NoAnswer(Exception):
    """There is no whole answer. `sent` is False only when the request cannot have arrived."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Told(NamedTuple):
    """One payment as LNbits tells it, its types checked."""

    payment_hash: str
    amount_msat: int  # negative when it is ours to pay
    fee_msat: int
    status: str
    preimage: str
    key: str  # ours, that the invoice was asked for with

    def settled(self) -> Settled | None:
        """Return the proven payment: said to be final, with the preimage of its hash."""
        if self.status != "success" or not _proves(self.preimage, self.payment_hash):
            return None
        amount_msat, fee_msat = Msat(abs(self.amount_msat)), Msat(abs(self.fee_msat))
        return Settled(self.payment_hash, amount_msat, self.preimage, fee_msat)


class LnbitsClient:
    """The connections to one LNbits, whatever the wallet."""

    def __init__(self, url: str, timeout_s: float, idle_s: float = IDLE_S) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("LNBITS_URL must start with http:// or https://")
        self.url, self.timeout_s = url, timeout_s
        self.http = httpx2.AsyncClient(
            base_url=url,
            headers={"Accept-Encoding": "identity"},
            # Half for connecting, so that "it was never sent" can be told from "no answer".
            timeout=httpx2.Timeout(timeout_s, connect=timeout_s / 2, pool=timeout_s / 2),
            limits=limits(idle_s),
            follow_redirects=False,
            verify=authorities(trust_env=False),
            trust_env=False,  # the key goes to the address the operator set, and nowhere else
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self.http.aclose()


class LnbitsHttp:
    """Questions under one key. Nothing is asked twice by itself."""

    def __init__(self, client: LnbitsClient, header: str, secret: str) -> None:
        self._client = client
        self._headers = {header: secret}
        self._secret = secret

    async def ask(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None
    ) -> Answer:
        """Ask once. NoAnswer when there is none, or not a whole one."""
        asking = self._client.http.stream(
            method, path, json=body, params=params, headers=self._headers
        )
        try:
            async with asyncio.timeout(self._client.timeout_s), asking as response:
                raw = bytearray()
                async for piece in response.aiter_raw():
                    raw += piece
                    if len(raw) > LARGEST_ANSWER_BYTES:
                        raise NoAnswer("LNbits' answer is too long", sent=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as away:
            raise NoAnswer(f"LNbits is away ({type(away).__name__})", sent=False) from None
        except (httpx2.HTTPError, TimeoutError) as broken:
            raise NoAnswer(
                f"LNbits' answer was lost ({type(broken).__name__})", sent=True
            ) from None
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError:
            parsed = None
        retry_after = response.headers.get("Retry-After", "")
        wait_s = int(retry_after) if re.fullmatch(r"[0-9]{1,4}", retry_after) else 0
        return Answer(response.status_code, parsed, wait_s)

    def unavailable(self, answer: Answer) -> Unavailable:
        """Return what an answer that is no success means, and what the operator can mend."""
        # "Not Found" is said of an address that isn't there; LNbits names the wallet or the key.
        if answer.status in {401, 403, 404} and answer.text("detail") in {"", "Not Found"}:
            return not_lnbits(f"HTTP {answer.status}, in other words than its own")
        if 300 <= answer.status < 400:
            return not_lnbits(f"HTTP {answer.status}, which leads elsewhere")
        if answer.status in {401, 403, 404}:
            return Unavailable(
                f"LNbits does not accept the key (HTTP {answer.status}): set LNBITS_API_KEY to the"
                " admin key of a wallet that exists",
                60,
            )
        if answer.status == 429:
            return Unavailable(
                "LNbits limits how often it may be asked: raise LNBITS_RATE_LIMIT_NO there",
                answer.retry_after_s or 30,
            )
        detail = answer.text("detail").replace(self._secret, "…")[:200]
        reason = f"LNbits answered HTTP {answer.status}" + (f": {detail}" if detail else "")
        return Unavailable(reason, answer.retry_after_s or 5)


def not_lnbits(answered: str) -> Unavailable:
    """Return that an address is not that of an LNbits, whatever the key."""
    return Unavailable(
        f"what answers at LNBITS_URL is no LNbits ({answered}): set it to the address of yours,"
        " without a path",
        60,
    )


def _proves(preimage: str, payment_hash: str) -> bool:
    return (
        _PREIMAGE.fullmatch(preimage) is not None
        and hashlib.sha256(bytes.fromhex(preimage)).hexdigest() == payment_hash
    )


def read_payment(said: object, payment_hash: str) -> Told | None:
    """Return the payment if that is one, about this hash, and of the right types."""
    if not isinstance(said, dict) or said.get("payment_hash") != payment_hash:
        return None
    amount_msat, fee_msat = said.get("amount"), said.get("fee")
    status, preimage = said.get("status"), said.get("preimage")
    if type(amount_msat) is not int or type(fee_msat) is not int or amount_msat == 0:
        return None
    if status not in ("pending", "success", "failed"):
        return None
    proof = preimage if isinstance(preimage, str) else ""
    extra = said.get("extra")
    key = str(extra.get("key", "")) if isinstance(extra, dict) else ""
    return Told(payment_hash, amount_msat, fee_msat, status, proof, key)


def read_push(message: str | bytes) -> Settled | None:
    """Return the incoming, final, proven payment that a message on the push channel tells of."""
    try:
        payment = orjson.loads(message)["payment"]
        told = read_payment(payment, payment["payment_hash"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return told.settled() if told is not None and told.amount_msat > 0 else None
