"""A Nostr relay and a wallet service (NIP-47) on 127.0.0.1, made with nostr-sdk, for the tests.

The service pays with whatever a test gives it, and misbehaves as a test says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nostr_sdk import (
    Client,
    ClientBuilder,
    ClientNotification,
    Event,
    EventBuilder,
    Filter,
    Keys,
    Kind,
    LocalRelay,
    LocalRelayBuilder,
    NostrSdkError,
    RelayUrl,
    ReqTarget,
    Tag,
)

from db.unused_port import unused_port
from payments.bolt11 import decode
from payments.rail import Failed, Settled
from payments.stub import StubRail
from tests.world.patience import PATIENCE_S

INFO, REQUEST, RESPONSE = 13194, 23194, 23195
Purse = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Declined(Exception):
    """The wallet's own error, with its code."""


@dataclass
class NwcService:
    """A wallet service. `purse(method, params)` answers, or raises Declined(code)."""

    relay_url: str
    purse: Purse
    encryption: str = "nip44_v2 nip04"  # as its info event says; empty: it says nothing
    is_mute: bool = False  # it does what is asked, and does not answer
    keys: Keys = field(default_factory=Keys.generate)
    buyer: Keys = field(default_factory=Keys.generate)
    asked: list[tuple[str, str]] = field(default_factory=list)  # method, how it was encrypted
    expirations: list[int] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The connection that is shown to a buyer."""
        wallet = self.keys.public_key().to_hex()
        secret = self.buyer.secret_key().to_hex()
        return f"nostr+walletconnect://{wallet}?relay={self.relay_url}&secret={secret}"

    async def serve(self, ready: asyncio.Event) -> None:
        """Answer requests until cancelled."""
        client: Client = ClientBuilder().build()
        await client.add_relay(RelayUrl.parse(self.relay_url))
        await client.connect()
        await client.send_event(self._info())
        stream = client.notifications()
        wanted = Filter().kinds([Kind(REQUEST)]).pubkey(self.keys.public_key())
        await client.subscribe(ReqTarget.auto([wanted]))
        ready.set()
        try:
            while (told := await stream.next()) is not None:
                if isinstance(told, ClientNotification.NEW_EVENT):
                    answer = await self._answer(told.event)
                    if answer is not None:
                        await client.send_event(answer)
        finally:
            await client.shutdown()

    def _info(self) -> Event:
        tags = [Tag.parse(["encryption", self.encryption])] if self.encryption else []
        builder = EventBuilder(Kind(INFO), "pay_invoice lookup_invoice make_invoice")
        return builder.tags(tags).finalize(self.keys)

    async def _answer(self, event: Event) -> Event | None:
        author = event.author()
        try:
            asked, how = json.loads(self.keys.nip44_decrypt(author, event.content())), "nip44"
        except NostrSdkError:
            asked, how = json.loads(self.keys.nip04_decrypt(author, event.content())), "nip04"
        method = asked["method"]
        self.asked.append((method, how))
        tags = [tag.to_vec() for tag in event.tags()]
        self.expirations += [int(tag[1]) for tag in tags if tag[0] == "expiration"]
        told: dict[str, Any] = {"result_type": method, "error": None, "result": None}
        try:
            told["result"] = await self.purse(method, asked["params"])
        except Declined as declined:
            told["error"] = {"code": str(declined), "message": "so it is"}
        if self.is_mute:
            return None
        seal = self.keys.nip44_encrypt if how == "nip44" else self.keys.nip04_encrypt
        builder = EventBuilder(Kind(RESPONSE), seal(author, json.dumps(told)))
        back = [Tag.parse(["p", author.to_hex()]), Tag.parse(["e", event.id().to_hex()])]
        return builder.tags(back).finalize(self.keys)


@asynccontextmanager
async def local_relay() -> AsyncIterator[str]:
    """Run a relay; give its address."""
    port = unused_port()
    relay: LocalRelay = LocalRelayBuilder().addr("127.0.0.1").port(port).build()
    await relay.run()
    try:
        yield f"ws://127.0.0.1:{port}"
    finally:
        relay.shutdown()


@asynccontextmanager
async def nwc_service(relay_url: str, purse: Purse, **more: Any) -> AsyncIterator[NwcService]:
    """Run a wallet service at a relay."""
    service, ready = NwcService(relay_url, purse, **more), asyncio.Event()
    serving = asyncio.create_task(service.serve(ready))
    await asyncio.wait_for(ready.wait(), PATIENCE_S)
    try:
        yield service
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def purse_of(rail: StubRail) -> Purse:
    """Return what a wallet service pays with: the buyer's side of the stub."""

    async def purse(method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "make_invoice":
            made = await rail.buyer_invoice(params["amount"], params["description"], 600)
            return {"type": "incoming", "invoice": made.bolt11, "amount": params["amount"]}
        if method == "pay_invoice":
            paid = await rail.receive(decode(params["invoice"]).payment_hash)
            if isinstance(paid, Failed):
                raise Declined("PAYMENT_FAILED")
            return {"preimage": paid.preimage, "fees_paid": 0}
        found = await rail.look_up_invoice(params["payment_hash"])
        if not isinstance(found, Settled):
            raise Declined("NOT_FOUND")
        return {"payment_hash": found.payment_hash, "preimage": found.preimage, "amount": 1}

    return purse
