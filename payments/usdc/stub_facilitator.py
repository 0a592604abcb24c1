"""The facilitator without a chain: real signatures, true nonces and balances, faults on request.

It speaks x402's HTTP, and stands where the network would: behind the client that asks a real one,
so that all of that client is at work. Money in it is not real, and everything else about it is.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
import orjson

from payments.stub_file import Scripted
from payments.usdc.address import Address, read_address
from payments.usdc.authorization import Authorization
from payments.usdc.network import NETWORKS, Network
from payments.usdc.outcome import Block, Gone, Received, Unknown, Use
from payments.usdc.payment import SCHEME, VERSION
from payments.usdc.stub_chain import StubChain
from payments.usdc.x402 import Refused, read_order
from pricing.money import MicroUsdc

UsdcCall = Literal["verify", "settle"]
UsdcFault = Literal[
    "5xx", "slow", "cut", "garbage", "declined", "failed", "settled_failed", "pending",
    "pending500", "wrong_amount", "wrong_payer", "wrong_network", "no_transaction", "reorganised",
]  # fmt: skip
URL: Final = "http://facilitator.stub"
FILE: Final = "usdc.sqlite3"  # in the data folder
OTHERS_TRANSACTION: Final = "0x" + "ab" * 32

_OUTAGES: Final = {"5xx", "slow", "cut", "garbage", "declined"}
_MEANINGFUL: Final[dict[str, set[str]]] = {
    "verify": _OUTAGES,
    "settle": _OUTAGES
    | {
        "failed", "settled_failed", "pending", "pending500", "wrong_amount", "wrong_payer",
        "wrong_network", "no_transaction", "reorganised",
    },
}  # fmt: skip

Said = tuple[int, dict[str, Any] | bytes]  # a status, and a body


class Cut(Exception):
    """The connection breaks off before an answer."""


class StubFacilitator:
    """A facilitator that is a file, and the chain behind it."""

    def __init__(self, path: str | Path, clock: Callable[[], datetime]) -> None:
        self._chain = StubChain(path, clock)

    async def answer(self, method: str, path: str, body: bytes) -> Said:
        """Answer one request. Cut, where a fault breaks the connection off."""
        if (method, path) == ("GET", "/supported"):
            kinds = [{"x402Version": VERSION, "scheme": SCHEME, "network": n} for n in NETWORKS]
            return 200, {"kinds": kinds, "extensions": [], "signers": {"eip155:*": []}}
        if method != "POST" or path not in ("/verify", "/settle"):
            return 404, {"error": "There is /verify, /settle and /supported."}
        asked = _read(body)
        if isinstance(asked, str):
            return 400, {"error": asked}
        call = path[1:]
        fault = await asyncio.to_thread(self._chain.next_fault, call)
        if fault.name == "5xx":
            return 503, {"error": "scripted 5xx"}
        work = self._verify if call == "verify" else self._settle
        said = await asyncio.to_thread(work, *asked, fault)
        if fault.name == "slow":
            await asyncio.sleep(fault.delay_s)  # whoever hangs up meanwhile changes nothing
        if fault.name == "cut":
            raise Cut
        return (200, b"<html>") if fault.name == "garbage" else said

    async def script_fault(
        self, call: UsdcCall, fault: UsdcFault, times: int = 1, delay_s: float = 0
    ) -> None:
        """Let the next `times` calls of this kind go wrong, in every process with this file.

        - 5xx: nothing happened. declined, failed: nothing happened, and that is said; `failed`
          names a transaction that was reverted.
        - slow, cut, garbage: it happened; the answer takes `delay_s`, or can't be read.
        - settled_failed: it happened, and the answer is that of `failed`.
        - pending, pending500: it happened, and is said to be under way (with HTTP 500).
        - wrong_amount, wrong_payer, wrong_network, no_transaction: it happened, and the answer
          names something else.
        - reorganised: it happened, was said to have, and the chain took it back.
        """
        if fault not in _MEANINGFUL[call] or times < 1 or delay_s < 0:
            raise ValueError(f"{call} cannot be {fault}, {times} times, for {delay_s} s")
        await asyncio.to_thread(self._chain.script, call, fault, times, delay_s)

    async def clear_faults(self) -> None:
        """Script nothing more."""
        await asyncio.to_thread(self._chain.clear_faults)

    async def send(
        self, network: Network, payer: Address, payee: Address, amount: MicroUsdc
    ) -> str:
        """Move money as a wallet does that signs no order; return the transaction.

        ValueError where the payer has not so much.
        """
        return await asyncio.to_thread(self._chain.send, network, payer, payee, amount)

    def ledger(self, network: Network) -> "StubLedger":
        """Return who reads the chain behind it."""
        return StubLedger(self._chain, network)

    async def close(self) -> None:
        """Close the file. What it holds stays."""
        await asyncio.to_thread(self._chain.close)

    def _verify(
        self, network: Network, order: Authorization, signature: str, fault: Scripted
    ) -> Said:
        flaw = self._chain.flaw(network, order, signature)
        if fault.name == "declined":
            flaw = "invalid_exact_evm_insufficient_balance"
        if flaw is not None:
            return 200, {"isValid": False, "invalidReason": flaw, "payer": order.payer}
        return 200, {"isValid": True, "payer": order.payer}

    def _settle(
        self, network: Network, order: Authorization, signature: str, fault: Scripted
    ) -> Said:
        named = {"network": network.caip2, "payer": order.payer}
        no = {"success": False, "transaction": "", **named}
        if fault.name == "declined":
            return 200, {**no, "errorReason": "invalid_exact_evm_insufficient_balance"}
        reverted = {
            **no, "errorReason": "transaction_failed", "transaction": OTHERS_TRANSACTION
        }  # fmt: skip
        if fault.name == "failed":
            return 200, reverted
        transaction, flaw = self._chain.settle(network, order, signature)
        if flaw:
            return 200, {**no, "errorReason": flaw}
        yes = {
            "success": True, "transaction": transaction, "amount": str(order.amount_microusdc),
            **named,
        }  # fmt: skip
        pending = {**no, "errorReason": "settlement_pending", "transaction": transaction}
        if fault.name == "reorganised":
            self._chain.take_back(network, order)
        return {
            "settled_failed": (200, reverted),
            "pending": (200, pending),
            "pending500": (500, pending),
            "wrong_amount": (200, {**yes, "amount": str(order.amount_microusdc + 1)}),
            "wrong_payer": (200, {**yes, "payer": order.payee}),
            "wrong_network": (200, {**yes, "network": "eip155:1"}),
            "no_transaction": (200, {**yes, "transaction": ""}),
        }.get(fault.name, (200, yes))


class StubLedger:
    """The chain behind a stub, as a node of it would tell it."""

    def __init__(self, chain: StubChain, network: Network) -> None:
        self._chain, self._network = chain, network

    async def use_of(self, authorization: Authorization) -> Use | Unknown:
        """See Ledger."""
        try:
            return await asyncio.to_thread(self._chain.use_of, self._network, authorization)
        except sqlite3.Error as broken:
            return Unknown(f"the stub's chain: {broken}")

    async def balance_microusdc(self, holder: Address) -> MicroUsdc | Unknown:
        """See Ledger."""
        try:
            return await asyncio.to_thread(self._chain.balance, self._network, holder)
        except sqlite3.Error as broken:
            return Unknown(f"the stub's chain: {broken}")

    async def received(self, payee: Address, after: Block | None) -> Received | Gone | Unknown:
        """See Ledger."""
        try:
            return await asyncio.to_thread(self._chain.received, self._network, payee, after)
        except sqlite3.Error as broken:
            return Unknown(f"the stub's chain: {broken}")

    async def is_there(self, block: Block) -> bool | Unknown:
        """See Ledger."""
        try:
            return await asyncio.to_thread(self._chain.is_there, block)
        except sqlite3.Error as broken:
            return Unknown(f"the stub's chain: {broken}")

    async def is_signed_by_contract(
        self, signer: Address, digest: bytes, signature: bytes
    ) -> bool | Unknown:
        """See Ledger: there are no contracts here."""
        return False

    async def close(self) -> None:
        """See Ledger: the file is closed by the facilitator."""


class StubTransport(httpx2.AsyncBaseTransport):
    """Carries requests to a stub in this process, where another one carries them to a server."""

    def __init__(self, stub: StubFacilitator, *, owned: bool = False) -> None:
        self._stub, self._owned = stub, owned

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Let the stub answer."""
        try:
            status, body = await self._stub.answer(
                request.method, request.url.path, await request.aread()
            )
        except Cut:
            raise httpx2.ReadError("the connection was cut", request=request) from None
        except sqlite3.Error as broken:
            raise httpx2.ReadError(f"the stub's file: {broken}", request=request) from None
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return httpx2.Response(status, stream=httpx2.ByteStream(raw))

    async def aclose(self) -> None:
        """Close the stub too, where nobody else holds it."""
        if self._owned:
            await self._stub.close()


def _read(body: bytes) -> tuple[Network, Authorization, str] | str:
    """Return what is asked for; or why that is not a payment for what is required."""
    try:
        asked = orjson.loads(body)
        payload, wanted = asked["paymentPayload"], asked["paymentRequirements"]
        accepted = payload["accepted"]
        order = read_order(payload["payload"])
        if isinstance(order, Refused):
            return order.sentence
        authorization, signature = order
        network = NETWORKS[wanted["network"]]
        matches = (
            asked["x402Version"] == VERSION
            and (wanted["scheme"], accepted["scheme"]) == (SCHEME, SCHEME)
            and accepted["network"] == network.caip2
            and read_address(wanted["asset"]) == network.token
            and read_address(wanted["payTo"]) == authorization.payee
            and wanted["amount"] == str(authorization.amount_microusdc)
            and wanted["extra"]["name"] == network.token_name
            and wanted["extra"]["version"] == network.token_version
        )
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "It takes a payment and what was required, as x402 v2 writes them."
    return (network, authorization, signature) if matches else "It pays for something else."
