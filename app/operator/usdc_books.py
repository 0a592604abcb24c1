"""What the second rail's addresses hold on the chain, held against the books.

Anybody may send USDC to an address, so that more than the books say is nothing wrong. Less is.
"""

from dataclasses import dataclass
from datetime import timedelta

from app.operator.comparison import Comparison
from app.ports import Clock, UsdcRail
from db import baselines, usdc_standing
from db.audit import Finding
from db.baselines import FIRST_SEEN, Baseline
from db.chain_blocks import Watch
from db.engine import Database
from db.usdc_standing import UsdcSheet
from payments.usdc.outcome import Block, Received, Unknown
from pricing.money import usdc_text

TRIES = 5  # the books move while the chain is asked: how often it is asked again
# How long the chain may not show what a facilitator has said, at the depth at which it is read.
DEEP_AFTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the addresses held, and what the books said at that moment."""

    sheet: UsdcSheet
    held: int

    @property
    def beyond(self) -> int:
        """What is there beyond the books."""
        return self.held - self.sheet.held


@dataclass(frozen=True, slots=True)
class UsdcBooks:
    """Compares the second rail, where there is one."""

    db: Database
    usdc: UsdcRail | None
    clock: Clock

    @property
    def refunds_from(self) -> str | None:
        """Return the address that refunds come from; None: there is no key of one."""
        return self.usdc.refunds.address if self.usdc and self.usdc.refunds else None

    async def sheet(self) -> UsdcSheet:
        """Return what the books say."""
        usdc = self.usdc
        watch = Watch(usdc.network.caip2, usdc.pay_to) if usdc else Watch("", "")
        return await usdc_standing.usdc_sheet(self.db, self.clock() - DEEP_AFTER, watch)

    async def compare(self) -> Comparison | None:
        """Hold the chain against the books; None: there is no second rail.

        Writes a baseline for addresses that are new to us.
        """
        if self.usdc is None:
            return None
        identity = identity_of(self.usdc)
        baseline = await baselines.newest(self.db, identity)
        seen = await self._see(self.usdc)
        if isinstance(seen, Comparison):
            return seen
        if baseline is not None:
            return _judged(seen, baseline.beyond)
        moves = seen.sheet.moving or seen.sheet.arriving or seen.sheet.recent
        if moves or not await self._is_read(self.usdc, seen.sheet):
            said = "Payments in USDC are on their way. The chain is compared once they rest."
            return Comparison(said, False)
        new = Baseline(seen.beyond, FIRST_SEEN, self.clock())
        await self.db.run("usdc_baseline", lambda tx: baselines.first(tx, identity, new))
        said = f"The chain is seen for the first time, with {usdc_text(seen.beyond)} USDC beyond"
        return Comparison(f"{said} the books.", True, beyond=seen.beyond)

    async def accept(self, reason: str) -> None:
        """Compare with what is there now from now on, unless something is on its way."""
        if self.usdc is None:
            return
        identity, seen = identity_of(self.usdc), await self._see(self.usdc)
        if isinstance(seen, Comparison) or seen.sheet.moving or seen.sheet.arriving:
            return
        if not await self._is_read(self.usdc, seen.sheet):
            return
        new = Baseline(seen.beyond, reason, self.clock())
        await self.db.run("usdc_baseline", lambda tx: baselines.add(tx, identity, new))

    async def _see(self, usdc: UsdcRail) -> _Seen | Comparison:
        holders = {usdc.pay_to} | ({usdc.refunds.address} if usdc.refunds else set())
        for _ in range(TRIES):
            sheet, held = await self.sheet(), 0
            for holder in holders:
                balance = await usdc.ledger.balance_microusdc(holder)
                if isinstance(balance, Unknown):
                    said = f"The chain did not tell what is there: {balance.reason}"
                    return Comparison(said, False)
                held += balance
            if sheet == await self.sheet():
                return _Seen(sheet, held)
        return Comparison("The books in USDC did not stand still.", False)

    async def _is_read(self, usdc: UsdcRail, sheet: UsdcSheet) -> bool:
        """Say whether all that lies so deep that it was counted is in the books.

        What is not would be taken for what lay there before, and missed for ever once it is booked.
        Where nothing was read yet, reading begins after what was counted.
        """
        if sheet.read_number is None or sheet.read_hash is None or sheet.read_at is None:
            return True
        upto = Block(sheet.read_number, sheet.read_hash, int(sheet.read_at.timestamp()))
        read = await usdc.ledger.received(usdc.pay_to, upto)
        return isinstance(read, Received) and read.is_all and not read.transfers


def identity_of(usdc: UsdcRail) -> str:
    """Return the name under which these addresses are compared."""
    refunds = usdc.refunds.address if usdc.refunds else usdc.pay_to
    also = "" if refunds == usdc.pay_to else f"+{refunds}"
    return f"{usdc.network.caip2}:{usdc.pay_to}{also}"


def _judged(seen: _Seen, baseline: int) -> Comparison:
    sheet, difference = seen.sheet, seen.beyond - baseline
    apart = f"{usdc_text(abs(difference))} USDC"
    if difference == 0:
        said = f"The chain holds {usdc_text(seen.held)} USDC, as the books say, to the millionth."
        return Comparison(said, True, beyond=seen.beyond)
    if difference > 0:
        said = (
            f"The chain holds {apart} more than the books: {usdc_text(sheet.arriving)} may be"
            " payments not booked yet, and anybody can send some."
        )
        return Comparison(said, True, beyond=seen.beyond)
    moves = f"{usdc_text(sheet.moving)} may be refunds on their way, and {usdc_text(sheet.recent)}"
    said = f"it holds {apart} less than the books say; {moves} came in just now"
    if -difference <= sheet.moving + sheet.recent:
        return Comparison(f"The chain differs from the books: {said}.", True, beyond=seen.beyond)
    finding = Finding(3, said, "rail x402")
    return Comparison(f"The chain is wrong: {said}.", True, finding, seen.beyond)
