"""The chain as it truly is, and a facilitator before it that is away, silent, wrong or a liar.

It is not part of our process: it survives every crash, and its clock is the true one. Of a payer a
nonce is used once, whatever is handed over; and now and then the chain takes a transfer back.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from app.ports import UsdcRail
from payments.rail import Unavailable
from payments.usdc.address import Address
from payments.usdc.authorization import Authorization
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.outcome import (
    Block,
    Declined,
    Gone,
    Moved,
    Received,
    Settled,
    Unknown,
    Unused,
    Use,
    Used,
    Valid,
)
from payments.usdc.outcome import Transfer as Moving
from payments.usdc.payment import Payment
from payments.usdc.refund import RefundKey
from pricing.money import MicroUsdc
from tests.simulation.clock import DAWN, Clock
from tests.simulation.weather import Weather

T = TypeVar("T")
Nonce = tuple[str, str]  # of a payer

OWN_MICROUSDC = 10**9  # what every address has that was never seen: the operator's too
DEPTH = timedelta(seconds=24)  # below which the chain is read
BLOCKS = 7_000  # that are read at once
KEY = bytes(range(32))  # of the house
SPENT = "invalid_exact_evm_insufficient_balance"


@dataclass(eq=False)
class Transfer:
    """Money that was moved by an order; it may be taken back while it is not deep."""

    order: Authorization
    txid: str
    at: datetime
    gone_at: datetime | None = None


@dataclass(eq=False)
class Sent:
    """USDC that somebody sent to an address without an order."""

    payer: str
    payee: str
    amount_microusdc: int
    txid: str
    at: datetime
    gone_at: datetime | None = None
    is_gone: bool = False


class SimulatedChain:
    """Balances, the nonces that were used, and what was sent without one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.held: dict[str, int] = defaultdict(lambda: OWN_MICROUSDC)
        self.used: dict[Nonce, Transfer] = {}
        self.taken_back: list[Transfer] = []
        self._young: list[Transfer] = []
        self.sent: dict[str, Sent] = {}
        self._forks: list[int] = []  # blocks after which it was another chain from then on
        self.forked_at: datetime | None = None  # for the last time

    @property
    def now_s(self) -> int:
        """The time of the newest block."""
        return int(self._clock.true.timestamp())

    def settle(self, order: Authorization) -> Transfer | str:
        """Move the money; or say why that can't be."""
        if order.valid_before_s <= self.now_s:
            return "invalid_exact_evm_payload_authorization_valid_before"
        if (order.payer, order.nonce) in self.used:
            return "invalid_exact_evm_nonce_already_used"
        if self.held[order.payer] < order.amount_microusdc:
            return SPENT
        number = len(self.used) + len(self.taken_back)
        transfer = Transfer(order, f"0x{number:064x}", self._clock.true)
        self.used[order.payer, order.nonce] = transfer
        self._young.append(transfer)
        self._move(order.payer, order.payee, order.amount_microusdc)
        return transfer

    def send(self, payer: str, payee: str, microusdc: int, gone_at: datetime | None) -> None:
        """Move money without an order; it may be taken back while it is not deep."""
        txid = f"0xf{len(self.sent):063x}"
        self.sent[txid] = Sent(payer, payee, microusdc, txid, self._clock.true, gone_at)
        self._move(payer, payee, microusdc)

    def tick(self) -> None:
        """Take back what is taken back by now."""
        for sent in self.sent.values():
            if sent.gone_at is not None and not sent.is_gone and sent.gone_at <= self._clock.true:
                sent.is_gone = True
                self._move(sent.payee, sent.payer, sent.amount_microusdc)
        for transfer in list(self._young):
            order = transfer.order
            if transfer.gone_at is not None and transfer.gone_at <= self._clock.true:
                self._young.remove(transfer)
                self.taken_back.append(transfer)
                del self.used[order.payer, order.nonce]
                self._move(order.payee, order.payer, order.amount_microusdc)
            elif transfer.gone_at is None and self.is_deep(transfer):
                self._young.remove(transfer)

    def fork(self, depth_s: int) -> None:
        """Have another chain after a block: what was sent without an order is in a new one."""
        last = self.now_s - depth_s
        self._forks.append(last)
        self.forked_at = self._clock.true
        for sent in self.sent.values():
            if sent.gone_at is None and int(sent.at.timestamp()) > last:
                sent.at = self._clock.true

    def block(self, number: int) -> Block:
        """Return the block of a second, as it is on the chain of now."""
        chain = sum(last < number for last in self._forks)
        return Block(number, f"0x{chain:08x}{number:056x}", number)

    def came_to(self, payee: Address) -> list[Moving]:
        """Return what has come to an address and stays, with orders and without."""
        with_orders = [
            self._moving(one, one.order.payer, one.order.amount_microusdc, one.order.nonce)
            for one in self.used.values()
            if one.order.payee == payee and one.gone_at is None
        ]
        without = [
            self._moving(one, one.payer, one.amount_microusdc, None)
            for one in self.sent.values()
            if one.payee == payee and one.gone_at is None
        ]
        return sorted(with_orders + without, key=lambda one: (one.block.number, one.txid))

    def _moving(
        self, one: Transfer | Sent, payer: str, amount_microusdc: int, nonce: str | None
    ) -> Moving:
        block = self.block(int(one.at.timestamp()))
        return Moving(one.txid, 1, block, Address(payer), MicroUsdc(amount_microusdc), nonce)

    def is_deep(self, transfer: Transfer) -> bool:
        """Say whether a transfer stays."""
        return transfer.gone_at is None and transfer.at + DEPTH <= self._clock.true

    def ever_moved(self, payer: str, nonce: str) -> Transfer | None:
        """Return what a nonce was used for, even if that was taken back."""
        gone = [
            one for one in self.taken_back if (one.order.payer, one.order.nonce) == (payer, nonce)
        ]
        return self.used.get((payer, nonce)) or next(iter(gone), None)

    def deep_balance(self, holder: str) -> int:
        """Return what an address holds, without all that is not deep."""
        young: list[Authorization | Sent] = [one.order for one in self._young]
        young += [
            one
            for one in self.sent.values()
            if not one.is_gone and one.at + DEPTH > self._clock.true
        ]
        came = sum(one.amount_microusdc for one in young if one.payee == holder)
        went = sum(one.amount_microusdc for one in young if one.payer == holder)
        return self.held[holder] - came + went

    def _move(self, payer: str, payee: str, microusdc: int) -> None:
        self.held[payer] -= microusdc
        self.held[payee] += microusdc


class SimulatedFacilitator:
    """Implements Facilitator."""

    identity = "simulated"

    def __init__(
        self,
        chain: SimulatedChain,
        weather: Weather,
        dice: Random,
        clock: Clock,
        gate: Callable[[str], Awaitable[None]],
    ) -> None:
        self._chain, self._weather, self._dice, self._clock = chain, weather, dice, clock
        self._gate = gate

    async def verify(self, payment: Payment) -> Valid | Unknown:
        """See Facilitator; nobody asks where there is a chain to ask."""
        raise NotImplementedError

    async def settle(self, payment: Payment) -> Settled | Unknown:
        """See Facilitator."""
        await self._gate("facilitator settle: before")
        while self._weather.strikes("facilitator: slow"):
            await self._gate("facilitator settle: slow")
        told = self._settled(payment)
        await self._gate("facilitator settle: after")
        return told

    def _settled(self, payment: Payment) -> Settled | Unknown:
        strikes = self._weather.strikes
        if strikes("facilitator: away"):
            return Unknown("HTTP 503")
        if strikes("facilitator: declines what it would have settled"):
            return Declined(SPENT, SPENT, is_early=True)
        moved = self._chain.settle(payment.authorization)
        if isinstance(moved, str):
            kind = Used if "nonce" in moved else Declined
            return kind(moved, moved, is_early=True)
        if strikes("chain: reorganised"):
            moved.gone_at = self._clock.true + self._dice.random() * DEPTH
        fault = self._weather.pick(
            "facilitator: settles, and no answer",
            "facilitator: says failed, and it settled",
            "facilitator: declines, and it settled",
            "facilitator: names another amount",
        )
        if fault is None:
            return Settled(moved.txid, payment.authorization.amount_microusdc)
        if fault.startswith("facilitator: says failed"):
            return Declined("the transaction failed", "transaction_failed")
        if fault.startswith("facilitator: declines"):
            return Declined(SPENT, SPENT, is_early=True)
        return Unknown(fault)

    async def healthy(self) -> Unavailable | None:
        """See Facilitator."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""


class SimulatedLedger:
    """Implements the Ledger of a chain: what is not deep is not seen."""

    def __init__(
        self,
        chain: SimulatedChain,
        weather: Weather,
        dice: Random,
        gate: Callable[[str], Awaitable[None]],
    ) -> None:
        self._chain, self._weather, self._dice, self._gate = chain, weather, dice, gate

    async def use_of(self, authorization: Authorization) -> Use | Unknown:
        """See Ledger."""
        await self._gate("chain use_of: before")
        told: Use | Unknown
        transfer = self._chain.used.get((authorization.payer, authorization.nonce))
        if self._weather.strikes("chain: no answer"):
            told = Unknown("no answer")
        elif transfer is not None and self._chain.is_deep(transfer):
            order = transfer.order
            told = Moved(transfer.txid, order.payee, order.amount_microusdc)
        else:
            told = Unused(self._chain.now_s - int(DEPTH.total_seconds()))
        await self._gate("chain use_of: after")
        return told

    async def balance_microusdc(self, holder: Address) -> MicroUsdc | Unknown:
        """See Ledger."""
        if self._weather.strikes("chain: no answer"):
            return Unknown("no answer")
        return MicroUsdc(self._chain.deep_balance(holder))

    async def received(self, payee: Address, after: Block | None) -> Received | Gone | Unknown:
        """See Ledger. There is a block a second, and so many of them are read at once."""
        await self._gate("chain received: before")
        if self._weather.strikes("chain: no answer"):
            return Unknown("no answer")
        if self._weather.strikes("chain: reorganised deeper than it is read"):
            self._chain.fork(self._dice.randrange(30, 1_000))
        if after is not None and self._chain.block(after.number) != after:
            return Gone()
        deep_s = self._chain.now_s - int(DEPTH.total_seconds()) - 1
        # It was looked at before anybody sent anything: what was sent before that is never read.
        dawn_s = int(DAWN.timestamp()) - BLOCKS
        first_s = dawn_s if after is None else after.number
        upto_s = dawn_s if after is None else min(deep_s, first_s + BLOCKS)
        found = [
            each for each in self._chain.came_to(payee) if first_s < each.block.number <= upto_s
        ]
        await self._gate("chain received: after")
        return Received(self._chain.block(upto_s), tuple(found), upto_s == deep_s)

    async def is_there(self, block: Block) -> bool:
        """See Ledger."""
        return self._chain.block(block.number) == block

    async def is_signed_by_contract(self, signer: Address, digest: bytes, signature: bytes) -> bool:
        """See Ledger: here every payer is a person."""
        return False

    async def close(self) -> None:
        """Nothing to let go of."""


def rail_on(
    chain: SimulatedChain,
    weather: Weather,
    dice: Random,
    clock: Clock,
    gate: Callable[[str], Awaitable[None]],
) -> UsdcRail:
    """Return the second rail of a world: refunds come from where payments go."""
    key = RefundKey(KEY, BASE_SEPOLIA)
    facilitator = SimulatedFacilitator(chain, weather, dice, clock, gate)
    ledger = SimulatedLedger(chain, weather, dice, gate)
    return UsdcRail(BASE_SEPOLIA, key.address, facilitator, ledger, key)
