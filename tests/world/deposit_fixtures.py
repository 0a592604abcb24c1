"""USDC that is sent to us without a signed order: how the tests send it, read it, and look."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app import advance
from app.advance.connecting import Asked
from app.loops.deposits import Deposits
from app.plant import Built
from db import deposits
from db.deposits import DepositRow
from payments.usdc.address import Address
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from pricing.money import MicroUsdc
from statemachine.connect import LEAST_MICROUSDC, MOST_MICROUSDC
from tests.world.house_fixtures import Instance

KEPT = timedelta(hours=1)


@dataclass
class Sent:
    """An instance with the stub rail, and the file that is its chain."""

    at: Instance
    stub: StubFacilitator

    @property
    def pay_to(self) -> Address:
        """Where USDC is sent to."""
        assert self.at.built.usdc is not None
        return self.at.built.usdc.pay_to

    async def send(self, payer: Address, amount_microusdc: int) -> str:
        """Send USDC, and have it read."""
        usdc = self.at.built.usdc
        assert usdc is not None
        amount = MicroUsdc(amount_microusdc)
        txid = await self.stub.send(usdc.network, payer, self.pay_to, amount)
        await read(self.at.built)
        return txid


def stub_of(at: Instance) -> StubFacilitator:
    """Return the chain of an instance with the stub rail."""
    return StubFacilitator(at.built.settings.data / FILE, at.built.clock)


async def read(built: Built) -> None:
    """Read what has come in."""
    assert built.usdc is not None
    loop = Deposits(built.db, built.shell, built.usdc)
    await loop.turn()
    assert loop.trouble is None, loop.trouble


async def asked(
    built: Built, amounts: Sequence[int] = (), kept: timedelta = KEPT
) -> tuple[Asked, int | None]:
    """Ask for one of these amounts, or for any; return the request, and which it is."""
    usdc = built.usdc
    assert usdc is not None
    new = Asked(secrets.token_hex(16), secrets.token_hex(16), built.clock() + kept)
    span = MOST_MICROUSDC - LEAST_MICROUSDC + 1
    picks = amounts or [LEAST_MICROUSDC + secrets.randbelow(span) for _ in range(8)]

    async def ask(act: advance.Act) -> int | None:
        return await advance.connecting.ask_usdc(act, new, usdc.network.caip2, picks)

    return new, await built.shell.do(ask)


async def unclaimed(built: Built) -> list[DepositRow]:
    """Return what nobody has, the oldest first."""
    return (await deposits.unclaimed(built.db, 10_000))[::-1]
