"""What handlers do together: price an evaluation, wait for a change, bring a job forward."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from app.errors import unavailable
from app.loops import Loops
from app.parts import Parts
from app.promises import Keeper
from app.remembered import Remembered
from db import jobs
from db.engine import Row
from pricing.money import BtcPrice, Msat, sats_to_msat
from pricing.oracle import PriceUnavailable
from pricing.quote import Quote, make_quote, token_ceiling
from statemachine.invoice import InvoiceState

LOOK_UP_PATIENCE_S = 1.0  # how long a poll waits for the rail, before it answers what is known


@dataclass(frozen=True, slots=True)
class House:
    """The parts, with what keeps their promises: what a handler is given."""

    parts: Parts
    keeper: Keeper
    loops: Loops
    remembered: Remembered = field(default_factory=Remembered)

    async def price(self) -> BtcPrice:
        """Return the bitcoin price, or refuse with 503: there is no guess."""
        price = await self.parts.oracle.price()
        if isinstance(price, PriceUnavailable):
            raise unavailable(
                "No bitcoin price can be had just now, so nothing can be priced.",
                price.retry_after_s,
            )
        return price

    async def eval_quote(self, request: str) -> Quote:
        """Return the cost ceiling of judging a request."""
        parts = self.parts
        return make_quote(
            parts.card,
            parts.agent.eval_model,
            token_ceiling(request),
            parts.agent.max_eval_output_tokens,
            await self.price(),
            parts.clock(),
            parts.settings.invoice_expiry_s,
        )

    async def eval_fee_msat(self, request: str) -> Msat:
        """Return the fee of an evaluation: its cost ceiling, or the operator's least fee."""
        least = sats_to_msat(self.parts.settings.eval_fee_min_sats)
        return max(least, (await self.eval_quote(request)).total_msat)

    async def nudged(self, row: Row) -> Row:
        """Return the job's view after asking the rail, where the rail can't tell by itself."""
        for purpose in ("eval", "work"):
            if row[f"{purpose}_state"] == InvoiceState.OPEN and not self.parts.rail.push_is_up:
                asking = asyncio.ensure_future(self.loops.nudge(row[f"{purpose}_hash"]))
                await asyncio.wait({asking}, timeout=LOOK_UP_PATIENCE_S)
                return await jobs.view(self.parts.db, row["id"]) or row
        return row

    async def wait_for_change(self, job_id: str, version: int, wait_s: float) -> Row | None:
        """Return the job's view as soon as it is another than `version`, or when time is over."""
        db, signals = self.parts.db, self.parts.signals
        until = monotonic() + wait_s
        changed, stop = signals.watch(job_id)
        try:
            while True:
                changed.clear()
                row = await jobs.view(db, job_id)
                if row is None or row["version"] != version:
                    return row
                row = await self.nudged(row)
                left_s = until - monotonic()
                if left_s <= 0 or row["version"] != version or signals.released:
                    return row
                # Woken by the change; now and then by the clock, if the rail must be asked.
                pause_s = left_s if self.parts.rail.push_is_up else min(left_s, 2.0)
                await signals.wait(changed, pause_s)
        finally:
            stop()
