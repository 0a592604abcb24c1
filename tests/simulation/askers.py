"""Those who ask for agent jobs, and pay for all of each at once, in USDC (x402)."""

from dataclasses import dataclass

from app.trade.asks import Ask
from app.trade.usdc_sales import Thing
from db import jobs
from payments.usdc.address import Address
from payments.usdc.payment import Payment
from pricing.money import usd_in_usdc
from tests.simulation.payers import GONE
from tests.simulation.process import Process
from tests.simulation.signers import Sale, Signer, Signers


@dataclass(eq=False)
class Asker(Signer):
    """One who wants one job done."""

    over = ("complete", "rejected", "failed", "expired")


class Askers(Signers):
    """All of them, and what they do next."""

    def arrive(self) -> Signer:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        asker = Asker(
            name=f"a{number}",
            key=f"a{number}" if dice.random() < 0.5 else None,
            gives_up=False,
            came_at=self._clock.true,
            refund_to=None,
            address=Address(f"0x8{number:039d}"),
        )
        self.active.append(asker)
        return asker

    async def sale(self, signer: Signer, process: Process) -> Sale | None:
        """See Signers: POST /api/ask, whose price goes with that of bitcoin, where a fee does."""
        house, asked = process.house, Ask(f"{signer.name} asks in USDC")
        firm = await house.till.in_both(asked.request)

        async def prepare(payment: Payment) -> Thing:
            return await house.asks.for_usdc(payment, asked, firm)

        return Sale(usd_in_usdc(firm.total_microusd), f"ask:{asked.request}", prepare)

    async def poll(self, signer: Signer, process: Process) -> None:
        """GET /api/jobs/{id}."""
        row = await jobs.view(process.house.db, signer.owner_id)
        signer.status = GONE if row is None else {"state": row.state, "refunds": []}

    async def cancel(self, signer: Signer, process: Process) -> None:
        """POST /api/jobs/{id}/cancel: what its order brings after that is owed back."""
        self._weather.counts["buyer: cancels"] += 1
        await process.house.orders.cancel(signer.owner_id)
