"""Connecting a wallet: whoever pays what a request asks for has a new account, and its API key.

The request's own id is the secret: 122 bits, known to who asked. The key is made of it, so that
nothing of either is kept in clear; it is shown until it is first used, or for a quarter of an hour.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app import advance
from app.advance import Shell
from app.advance.connecting import Asked
from app.keys.api_keys import Prefix, key_of
from app.ports import Clock, UsdcRail
from app.refusal import Refusal, Why
from app.trade.invoicing import Invoicing
from app.trade.keys import kept
from db import connect_requests
from db.api_keys import NewKey
from db.connect_requests import ConnectRow
from db.engine import Database
from db.invoices import MadeInvoice
from payments.seal import Seal
from payments.usdc.address import Address
from pricing.money import MicroUsdc, Msat
from statemachine import account as law
from statemachine.connect import LEAST_MICROUSDC, MOST_MICROUSDC, ConnectState
from statemachine.owner import Purpose
from statemachine.public_id import public_id

SHOWN = timedelta(minutes=15)  # from the first time that a key is shown
USDC_OPEN = timedelta(minutes=30)
AMOUNTS_TRIED = 8  # each of which somebody may be asked for already
_NAME = "API key of a connected wallet"


class Standing(StrEnum):
    """How a request stands, as its asker is told."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class OverLightning:
    """A request that an invoice pays for."""

    request_id: str
    invoice: MadeInvoice


@dataclass(frozen=True, slots=True)
class InUsdc:
    """A request that a transfer of exactly this amount pays for."""

    request_id: str
    amount: MicroUsdc
    to: Address
    token: Address
    until: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """How a request stands; its key, where that may be shown."""

    standing: Standing
    until: datetime
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Connecting:
    """The desk where wallets are connected."""

    db: Database
    shell: Shell
    invoicing: Invoicing
    seal: Seal
    usdc: UsdcRail | None
    clock: Clock
    new_id: Callable[[], str]

    async def over_lightning(self, amount_msat: Msat) -> OverLightning:
        """Ask for a payment over Lightning. Raises Refusal (503) where no invoice can be made."""
        request_id, account_id = self.new_id(), self.new_id()
        number = self.shell.new_number()
        invoice_id = law.deposit_invoice_id(account_id, number)
        opened = await self.invoicing.new(invoice_id, Purpose.CREDIT, amount_msat)
        asked = Asked(_row_id(request_id), account_id, opened.expires_at)
        new = self._new_key(request_id)
        made = await self.shell.do(advance.keys.connect_lightning, asked, number, opened, new)
        return OverLightning(request_id, made)

    async def in_usdc(self) -> InUsdc:
        """Ask for an amount in USDC that nobody else is asked for. Raises Refusal where no chain is
        watched, or too many ask at once.
        """
        usdc = self.usdc
        if usdc is None:
            raise Refusal(Why.NOT_POSSIBLE_NOW, "This server takes no USDC: pay over Lightning.")
        request_id = self.new_id()
        asked = Asked(_row_id(request_id), self.new_id(), self.clock() + USDC_OPEN)
        new, network = self._new_key(request_id), usdc.network.caip2
        amount = await self.shell.do(advance.keys.connect_usdc, asked, network, _amounts(), new)
        if amount is None:
            raise Refusal(Why.BUSY, "Too many wallets are being connected just now.")
        return InUsdc(request_id, MicroUsdc(amount), usdc.pay_to, usdc.network.token, asked.until)

    async def found(self, request_id: str) -> ConnectRow | None:
        """Return a request by the secret that names it."""
        return await connect_requests.get(self.db, _row_id(request_id))

    async def status(self, row: ConnectRow, request_id: str) -> Status:
        """Return how a request stands. Of one that is paid the key is shown, until it was used, or
        a quarter of an hour has passed since it was first shown.
        """
        if row.state is not ConnectState.PAID:
            is_over = row.state is ConnectState.LAPSED or row.expires_at <= self.clock()
            return Status(Standing.EXPIRED if is_over else Standing.PENDING, row.expires_at)
        for key in self._keys(request_id):
            sha256 = kept("", key).sha256
            since = self.clock() - SHOWN
            if await self.shell.do(advance.keys.show, sha256, since):
                return Status(Standing.COMPLETED, row.expires_at, key)
        return Status(Standing.COMPLETED, row.expires_at)

    def _new_key(self, request_id: str) -> NewKey:
        return kept(self.new_id(), self._keys(request_id)[0])

    def _keys(self, request_id: str) -> list[str]:
        """Return the key of a request: as our secret makes it now, and as earlier ones did."""
        marks = self.seal.marks(_NAME, request_id)
        return [key_of(Prefix.SK, bytes.fromhex(mark), self.shell.cell) for mark in marks]


def _row_id(request_id: str) -> str:
    """Return how a request is kept: who reads the database can't ask for its key."""
    return public_id(request_id)


def _amounts() -> Sequence[int]:
    among = MOST_MICROUSDC - LEAST_MICROUSDC + 1
    return [LEAST_MICROUSDC + secrets.randbelow(among) for _ in range(AMOUNTS_TRIED)]
