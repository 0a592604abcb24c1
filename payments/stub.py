"""The rail without a node: real signed BOLT11, true preimages, and faults on request.

Its store is a SQLite file of its own, as a node keeps its own: several processes may hold it, and
what was answered survives kill -9. Money in it is not real, and everything else about it is.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, get_args

from payments.bolt11 import LEAST_FEE_LIMIT_MSAT
from payments.faults import Call, Fault
from payments.rail import NO_FEE, Failed, Opened, Outcome, Pending, Settled, Unavailable, Unknown
from payments.stub_file import Scripted
from payments.stub_node import NETWORK, StubNode
from pricing.money import Msat, msat_to_sats

POLL_S: Final = 0.2  # how soon a payment made through another process is seen
MOST_MSAT: Final = 10**13  # 100 BTC; of 1,000 and more the bolt11 library writes too little

_OUTAGES = {"slow", "429", "5xx", "garbage", "cut"}
_MEANINGFUL: dict[str, set[str]] = {
    "create_invoice": _OUTAGES,
    "look_up_invoice": _OUTAGES | {"pending"},
    "pay": set(get_args(Fault)),
    "look_up_payment": _OUTAGES | {"pending", "failed"},
    "balance": _OUTAGES,
}

T = TypeVar("T")


class StubRail:
    """A Lightning node that is a file, with the buyer's wallet beside it.

    SQLite runs in a thread: each call takes well under a millisecond, but another process (even a
    stopped one) may hold the write lock, and the event loop must not wait for that.
    """

    name = "stub"
    identity = "stub"
    least_fee_limit_msat = LEAST_FEE_LIMIT_MSAT
    network = NETWORK

    def __init__(
        self,
        path: str | Path,
        clock: Callable[[], datetime],
        *,
        timeout_s: float = 10,
        routing_fee_msat: Msat = NO_FEE,
    ) -> None:
        self._node = StubNode(path, clock, routing_fee_msat, lock_timeout_s=timeout_s / 4)
        self._timeout_s = timeout_s
        self._listening: set[asyncio.Event] = set()
        self._closed = False

    # ------------------------------------------------------------------ the rail

    @property
    def wallet(self) -> str:
        """See Rail: it has but one."""
        return self.identity

    @property
    def push_is_up(self) -> bool:
        """Say whether somebody in this process listens to `pushes`."""
        return bool(self._listening)

    async def create_invoice(
        self, key: str, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened | Unavailable:
        """Make a signed invoice. The same key gives the same invoice, for ever."""
        if msat_to_sats(amount_msat) < 1:
            raise ValueError("an invoice asks for at least one sat")
        if amount_msat > MOST_MSAT:
            return Unavailable("no channel holds so much")
        return await self._call(
            "create_invoice",
            lambda _: self._node.make_invoice("ours", key, amount_msat, memo, expiry_s),
            lost=Unavailable,
        )

    async def look_up_invoice(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """Say whether an invoice of ours was paid. Open or expired it is Pending, never Failed."""

        def work(fault: Scripted) -> Outcome:
            return Pending() if fault.name == "pending" else self._node.invoice(payment_hash)

        return await self._call("look_up_invoice", work, lost=Unknown)

    async def pay(self, bolt11: str, fee_limit_msat: Msat, wallet: str | None = None) -> Outcome:
        """Pay an invoice that the store knows: once, however often it is asked."""

        def work(fault: Scripted) -> Outcome:
            return self._node.pay(bolt11, fee_limit_msat, fault)

        return await self._call("pay", work, lost=Unknown)

    async def look_up_payment(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """Say what became of a payment of ours."""
        if wallet not in (None, self.identity):
            return Unknown("another wallet was asked to pay it")

        def work(fault: Scripted) -> Outcome:
            if fault.name == "failed":
                return Failed("scripted failed: so the node says, right or wrong")
            return Pending() if fault.name == "pending" else self._node.payment(payment_hash)

        return await self._call("look_up_payment", work, lost=Unknown)

    async def balance_msat(self) -> Msat | Unknown:
        """Return what was received, minus what was paid and its fees, once that settled."""

        def work(_: Scripted) -> Msat | Unknown:
            return self._node.balance_msat()

        return await self._call("balance", work, lost=Unknown)

    async def pushes(self) -> AsyncIterator[Settled | None]:
        """Yield payments: at once from this process, within 0.2 s from another. Ends at close."""
        received = asyncio.Event()
        self._listening.add(received)
        try:
            seen = await asyncio.to_thread(self._node.last_receipt)
            yield None
            while not self._closed:
                received.clear()
                # One indexed read of nothing, five times a second, costs 0.4 % of a core.
                try:
                    receipts = await asyncio.to_thread(self._node.receipts_after, seen)
                except sqlite3.Error:
                    receipts = []  # closed, or for now unreadable: nothing is skipped
                for receipt in receipts:
                    seen, settled = receipt
                    yield settled
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await received.wait()
        finally:
            self._listening.discard(received)

    async def healthy(self) -> Unavailable | None:
        """Return None: a file that can be read is a node that answers."""
        try:
            await asyncio.to_thread(self._node.last_receipt)
        except sqlite3.Error as broken:
            return Unavailable(f"the stub's store: {broken}")
        return None

    async def close(self) -> None:
        """Close the file. What it holds stays."""
        self._closed = True
        self._wake()
        await asyncio.to_thread(self._node.close)

    # ------------------------------------------------------- the buyer, and the faults

    async def receive(
        self, payment_hash: str, *, amount_msat: Msat | None = None, late: bool = False
    ) -> Settled | Failed:
        """Play the buyer who pays this invoice of ours. A second time is a replay.

        More than it asks for is taken, less is not. An expired invoice is refused, as wallets do,
        unless `late` plays a payment that was on its way when the invoice expired.
        """
        outcome = await asyncio.to_thread(self._node.receive, payment_hash, amount_msat, late)
        self._wake()
        return outcome

    async def buyer_invoice(self, amount_msat: Msat, memo: str, expiry_s: int) -> Opened:
        """Play the buyer's wallet that makes an invoice, signed by another node than ours."""
        return await asyncio.to_thread(
            self._node.make_invoice, "buyer", None, amount_msat, memo, expiry_s
        )

    async def buyer_received_msat(self, payment_hash: str) -> Msat:
        """Return what the buyer's wallet got for this invoice of its own, without the fee."""
        outcome = await asyncio.to_thread(self._node.payment, payment_hash)
        return outcome.amount_msat if isinstance(outcome, Settled) else Msat(0)

    async def script_fault(
        self, call: Call, fault: Fault, times: int = 1, delay_s: float = 0
    ) -> None:
        """Let the next `times` calls of this kind go wrong, in every process with this store.

        - slow: the answer takes `delay_s`; past the adapter's time limit it is lost.
        - 429: refused before anything happened. 5xx: nothing happened, but that is not said.
        - garbage, cut: it happened, and the answer could not be read, or never came.
        - pending: the payment hangs until `clear_faults`. (A look-up: it says so.)
        - settle_later: paying is Unknown, then Pending, then Settled after `delay_s` of the clock.
        - failed: nothing is sent. (look_up_payment: it says so, right or wrong.)
        """
        if fault not in _MEANINGFUL[call] or times < 1 or delay_s < 0:
            raise ValueError(f"{call} cannot be {fault}, {times} times, for {delay_s} s")
        await asyncio.to_thread(self._node.script, call, fault, times, delay_s)

    async def clear_faults(self) -> None:
        """Script nothing more, and settle the payments that were left hanging."""
        await asyncio.to_thread(self._node.clear)

    # ------------------------------------------------------------------ within

    def _wake(self) -> None:
        for received in self._listening:
            received.set()

    async def _call(
        self,
        call: Call,
        work: Callable[[Scripted], T],
        *,
        lost: Callable[[str], T],
    ) -> T:
        try:
            fault = await asyncio.to_thread(self._node.next_fault, call)
            if fault.name == "5xx" or (fault.name == "429" and call != "pay"):
                return lost(f"scripted {fault.name}")
            if fault.name == "slow":
                await asyncio.sleep(min(fault.delay_s, self._timeout_s))
            answer = await asyncio.to_thread(work, fault)
        except sqlite3.Error as broken:
            return lost(f"the stub's store: {broken}")
        too_slow = fault.name == "slow" and fault.delay_s > self._timeout_s
        if too_slow or fault.name in {"garbage", "cut"}:
            return lost(f"scripted {fault.name}: the answer was lost")
        return answer
