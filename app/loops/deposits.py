"""Transfers to our address are read from the chain, a range of blocks at a time, once they lie so
deep that they stay.

Where the chain was reorganised deeper than that, it is read again from the last block that stayed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from app import advance
from app.advance import Shell
from app.ports import UsdcRail
from db import chain_blocks, connect_requests, deposits
from db.chain_blocks import BlockRow, Watch
from db.engine import Database
from payments.usdc.outcome import Block, Gone, Received, Unknown
from statemachine.connect import ConnectKind

log = structlog.get_logger("boltwork.deposits")

PAUSE_S = 5.0
MOST_RANGES = 50  # in one turn: the rest is for the next
MOST_LAPSED = 500
MOST_GONE = 20  # that are named at once


@dataclass(slots=True)
class Deposits:
    """Reads the chain of the second rail for our address there."""

    db: Database
    shell: Shell
    usdc: UsdcRail
    trouble: str | None = None  # what the last turn met, in words

    @property
    def watch(self) -> Watch:
        """What is read."""
        return Watch(self.usdc.network.caip2, self.usdc.pay_to)

    async def turn(self) -> None:
        """Take in what has become deep enough, and lapse requests that can't be paid any more."""
        for _ in range(MOST_RANGES):
            before = await self._cursor()
            read = await self.usdc.ledger.received(self.usdc.pay_to, before)
            if isinstance(read, Unknown):
                self.trouble = read.reason
                return
            if isinstance(read, Gone):
                self.trouble = await self._back(before)
                return
            await self._record(before, read)
            if read.is_all:
                break
        self.trouble = await self._missing()

    async def healthy(self) -> str | None:
        """Return what is wrong with reading the chain, in words; None: nothing."""
        return self.trouble

    async def _cursor(self) -> Block | None:
        rows = await chain_blocks.newest(self.db, self.watch)
        return _block(rows[0]) if rows else None

    async def _record(self, before: Block | None, read: Received) -> None:
        if before != read.upto or read.transfers:
            own = self.usdc.refunds.address if self.usdc.refunds else None
            own = None if own == self.usdc.pay_to else own
            await self.shell.do(advance.deposits.record, self.watch, own, before, read)
            if read.transfers:
                log.info("usdc_received", transfers=len(read.transfers), upto=read.upto.number)
        at, kind = datetime.fromtimestamp(read.upto.at_s, UTC), ConnectKind.USDC
        network = self.watch.network
        if await connect_requests.is_due(self.db, kind, network, at):
            await self.shell.do(advance.connecting.lapse, kind, network, at, MOST_LAPSED)

    async def _back(self, before: Block | None) -> str | None:
        """Go back to the newest block that is still there; return why that can't be done."""
        assert before is not None, "nothing was read, so nothing can be gone"
        for row in await chain_blocks.newest(self.db, self.watch, chain_blocks.KEPT):
            is_there = await self.usdc.ledger.is_there(_block(row))
            if isinstance(is_there, Unknown):
                return is_there.reason
            if is_there:
                log.error("chain_reorganised", block=before.number, back_to=row.number)
                await self.shell.do(advance.deposits.go_back, self.watch, before, row.number)
                return None
        return (
            f"No block up to {before.number} that was read is on the chain any more: the node is of"
            " another chain, or has lost its own"
        )

    async def _missing(self) -> str | None:
        """Say so where the chain has taken back what is in the books, and not taken it in again."""
        gone = await deposits.gone(self.db, MOST_GONE)
        if not gone:
            return None
        names = ", ".join(row.txid for row in gone)
        return f"The chain was reorganised, and these transactions are not on it any more: {names}"


def _block(row: BlockRow) -> Block:
    return Block(row.number, row.hash, int(row.at.timestamp()))
