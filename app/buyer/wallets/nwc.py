"""A wallet over Nostr Wallet Connect (NIP-47), whichever way it encrypts (NIP-44, else NIP-04).

A request is an event to a relay, and its answer another one that may never come: what was sent and
not answered is Unknown. A request to pay expires before its caller would give it up as lost.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from app.buyer.wallets.wallet import proves
from app.plain_text import one_line
from payments.bolt11 import Invoice
from payments.rail import Absent, Outcome, Pending, Settled, Unavailable, Unknown, Unsent
from pricing.loopback import is_here
from pricing.money import Msat, sats_to_msat

INFO, REQUEST, RESPONSE = 13194, 23194, 23195  # kinds of events
ANSWER_S: Final = 30.0
CONNECT_S: Final = 10.0
LONGEST_MESSAGE: Final = 2**18
_HEX = re.compile("[0-9a-f]{64}")
# Said before anything is sent. PAYMENT_FAILED is not among them: a node that says so right after
# sending may be wrong.
_BEFORE_SENDING: Final = frozenset({
    "RATE_LIMITED", "NOT_IMPLEMENTED", "INSUFFICIENT_BALANCE", "QUOTA_EXCEEDED", "RESTRICTED",
    "UNAUTHORIZED", "UNSUPPORTED_ENCRYPTION",
})  # fmt: skip


class BadConnection(ValueError):
    """BUYER_NWC isn't a usable connection. The message quotes nothing of it."""


class _NoAnswer(Exception):
    """Nothing came back. `sent`: the wallet may have read the request all the same."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class _Said(Exception):
    """The wallet answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(one_line(f"the wallet says {code}: {message}", 300))
        self.code = code


class NwcWallet:
    """One connection to a wallet, as its `nostr+walletconnect://` address says."""

    name = "nwc"
    is_by_hand = False
    network: str | None = None

    def __init__(self, address: str, answer_s: float = ANSWER_S) -> None:
        try:
            import nostr_sdk
        except ImportError as missing:
            raise BadConnection(
                "paying by NWC needs the package nostr-sdk: pip install 'boltwork[nwc]'"
            ) from missing
        parts, wanted = urlsplit(address.strip()), {}
        if parts.scheme == "nostr+walletconnect":
            wanted = parse_qs(parts.query)
        self._relays = [relay for relay in wanted.get("relay", []) if _is_websocket(relay)]
        secret, self._wallet = (wanted.get("secret") or [""])[0], parts.netloc or parts.path
        if not (self._relays and _HEX.fullmatch(secret) and _HEX.fullmatch(self._wallet)):
            raise BadConnection(
                "BUYER_NWC must be nostr+walletconnect://WALLET?relay=wss://…&secret=…, as the"
                " wallet shows it"
            )
        self._nostr = nostr_sdk
        self._answer_s = answer_s
        self._keys = nostr_sdk.Keys.parse(secret)
        self._to = nostr_sdk.PublicKey.parse(self._wallet)
        self._with_nip44: bool | None = None  # None: the wallet was not asked yet

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        try:
            paid = await self._ask("pay_invoice", {"invoice": invoice.bolt11})
        except _Said as said:
            return Unsent(str(said)) if said.code in _BEFORE_SENDING else Unknown(str(said))
        except _NoAnswer as lost:
            return Unknown(str(lost)) if lost.sent else Unsent(str(lost))
        return _settled(invoice, paid) or Unknown("the wallet shows no preimage of the payment")

    async def look_up(self, invoice: Invoice) -> Outcome:
        """See Wallet. What the wallet calls failed may still be on its way: that is Unknown."""
        try:
            answer = await self._ask("lookup_invoice", {"payment_hash": invoice.payment_hash})
        except _Said as said:
            return Absent(str(said)) if said.code == "NOT_FOUND" else Unknown(str(said))
        except _NoAnswer as lost:
            return Unknown(str(lost))
        settled = _settled(invoice, answer)
        if settled is not None:
            return settled
        return (
            Pending() if answer.get("state") in ("pending", None) else Unknown("it may yet settle")
        )

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """See Wallet."""
        asked = {"amount": sats_to_msat(amount_sats), "description": memo, "expiry": 86_400}
        try:
            made = await self._ask("make_invoice", asked)
        except (_Said, _NoAnswer) as trouble:
            return Unavailable(str(trouble))
        invoice = made.get("invoice")
        return invoice if isinstance(invoice, str) else Unavailable("the wallet made no invoice")

    async def close(self) -> None:
        """See Wallet. Each request has a connection of its own."""

    # ------------------------------------------------------------------ within

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask once. Raises _Said for the wallet's error, _NoAnswer when none is understood."""
        sent = False
        try:
            async with asyncio.timeout(self._answer_s), self._relay() as relay:
                if self._with_nip44 is None:
                    self._with_nip44 = await self._wallet_takes_nip44(relay)
                event = self._request(method, params)
                wanted = {"kinds": [RESPONSE], "authors": [self._wallet], "#e": [event["id"]]}
                await _send(relay, "REQ", "answer", wanted)
                await _until(relay, "EOSE", "answer")  # an answer is not kept: be there first
                sent = True
                await _send(relay, "EVENT", event)
                async for said in _events(relay, "answer", event["id"]):
                    answer = self._read(said, method)
                    if answer is not None:
                        return answer
        except (OSError, WebSocketException, TimeoutError) as broken:
            reason = "the wallet did not answer" if sent else "the wallet's relay did not answer"
            raise _NoAnswer(f"{reason} ({type(broken).__name__})", sent=sent) from None
        except _Rejected as rejected:
            raise _NoAnswer(str(rejected), sent=False) from None
        raise _NoAnswer("the relay hung up", sent=sent)

    @contextlib.asynccontextmanager
    async def _relay(self) -> AsyncIterator[ClientConnection]:
        """Connect to the first relay that answers."""
        for number, url in enumerate(self._relays, start=1):
            try:
                relay = await connect(
                    url,
                    max_size=LONGEST_MESSAGE,
                    open_timeout=CONNECT_S,
                    proxy=None if is_here(url) else True,
                )
                break
            except (OSError, WebSocketException, TimeoutError):
                if number == len(self._relays):
                    raise
        try:
            yield relay
        finally:
            await relay.close()

    async def _wallet_takes_nip44(self, relay: ClientConnection) -> bool:
        await _send(relay, "REQ", "info", {"kinds": [INFO], "authors": [self._wallet], "limit": 1})
        takes = False
        async for message in _messages(relay):
            if message[:2] == ["EVENT", "info"]:
                event = self._genuine(message[2], INFO)
                tags = event.get("tags", []) if event else []
                takes = any(
                    tag[0] == "encryption" and "nip44_v2" in " ".join(tag[1:]).split()
                    for tag in tags
                )
            if message[:2] in (["EOSE", "info"], ["CLOSED", "info"]):
                break
        return takes

    def _request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        nostr, words = self._nostr, json.dumps({"method": method, "params": params})
        tags = [["p", self._wallet], ["expiration", str(int(time.time() + self._answer_s))]]
        if self._with_nip44:
            tags.append(["encryption", "nip44_v2"])
            closed = self._keys.nip44_encrypt(self._to, words)
        else:
            closed = self._keys.nip04_encrypt(self._to, words)
        builder = nostr.EventBuilder(nostr.Kind(REQUEST), closed)
        event = builder.tags([nostr.Tag.parse(tag) for tag in tags]).finalize(self._keys)
        made: dict[str, Any] = json.loads(event.as_json())
        return made

    def _genuine(self, event: Any, kind: int) -> dict[str, Any] | None:
        """Return an event that the wallet itself has signed; None for any other."""
        try:
            read = self._nostr.Event.from_json(json.dumps(event))
            ours = read.verify() and read.author().to_hex() == self._wallet
        except self._nostr.NostrSdkError:
            return None
        return event if ours and event.get("kind") == kind else None

    def _read(self, said: Any, method: str) -> dict[str, Any] | None:
        """Return what the wallet answered to this request; None for what is not its answer."""
        event = self._genuine(said, RESPONSE)
        if event is None:
            return None
        open_it = self._keys.nip44_decrypt if self._with_nip44 else self._keys.nip04_decrypt
        try:
            answer = json.loads(open_it(self._to, event["content"]))
        except (self._nostr.NostrSdkError, ValueError):
            return None
        if not isinstance(answer, dict) or answer.get("result_type") != method:
            return None
        error, result = answer.get("error"), answer.get("result")
        if isinstance(error, dict):
            raise _Said(str(error.get("code", "OTHER")), str(error.get("message", "")))
        return result if isinstance(result, dict) else None


class _Rejected(Exception):
    """The relay did not take the request, and so handed it to nobody."""


async def _send(relay: ClientConnection, *message: Any) -> None:
    await relay.send(json.dumps(message))


async def _messages(relay: ClientConnection) -> AsyncIterator[list[Any]]:
    """Yield what a relay says that has the form of a message."""
    async for raw in relay:
        with contextlib.suppress(ValueError):
            message = json.loads(raw)
            if isinstance(message, list) and len(message) >= 2:
                yield [*message, None]


async def _until(relay: ClientConnection, kind: str, name: str) -> None:
    async for message in _messages(relay):
        if message[:2] == [kind, name]:
            return
        if message[:2] == ["CLOSED", name]:
            raise _Rejected(one_line(f"the relay refuses: {message[2]}", 200))


async def _events(relay: ClientConnection, name: str, sent_id: str) -> AsyncIterator[Any]:
    """Yield events of a subscription. Raises _Rejected when what was sent was not taken."""
    async for message in _messages(relay):
        if message[:2] == ["EVENT", name]:
            yield message[2]
        if message[:3] == ["OK", sent_id, False]:
            raise _Rejected(one_line(f"the relay refuses: {message[3]}", 200))


def _settled(invoice: Invoice, answer: dict[str, Any]) -> Settled | None:
    """Return the payment that its preimage proves."""
    preimage, fee_msat = answer.get("preimage"), answer.get("fees_paid")
    if not isinstance(preimage, str) or not proves(preimage, invoice.payment_hash):
        return None
    fee_msat = fee_msat if type(fee_msat) is int and fee_msat >= 0 else 0
    return Settled(invoice.payment_hash, invoice.amount_msat or Msat(0), preimage, Msat(fee_msat))


def _is_websocket(url: str) -> bool:
    return url.startswith(("ws://", "wss://"))
