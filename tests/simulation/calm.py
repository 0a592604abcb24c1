"""The calm after the faults: time passes, and everything that was begun must come to an end."""

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.payers import Payer
from tests.simulation.process import Process
from tests.simulation.rows import BATCH_FINAL, FINAL

if TYPE_CHECKING:
    from tests.simulation.world import World

# Loops, by their names.
TURNS: tuple[str, ...] = (
    "expiry", "sweep", "payouts", "recovery", "unpaid", "lanes", "artifacts", "authorizations",
)  # fmt: skip
OF_PEOPLE: tuple[str, ...] = (*TURNS, "deposits", "canaries")
REVIEW = "review"
LAST_REVIEW = "the last review"
LAST_LATE = 20  # in this pause the last one pays for what was purged
# A payout in flight may need a day and more. Each pause costs as much as many steps of a life.
PAUSES_MINUTES = (1, 1, 5, 20, 60, 60, 60, 60) + 17 * (240,)


class Calm:
    """No more faults, no more buyers: the processes work on, and each buyer comes for his money."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def come(self) -> None:
        """Let time pass until nothing is left to do, and have everybody look once more."""
        world = self._world
        world.weather.calm, world.clock.skew = True, timedelta(0)
        world.rail.push_is_up = True
        for process in world.processes:
            process.life.frozen = False
        world.note("calm")
        await self._finish()
        world.pushes.append((0, None))
        for number, pause in enumerate(PAUSES_MINUTES):
            world.clock.forward(minutes=pause)
            world.node.tick()
            world.chain.tick()
            if number < LAST_LATE:
                world.pay_long_after()
            for process in world.processes:
                await self._serve(process)
            await self._come_for_money(world.active())
            if self._is_over():
                await self._come_for_money(world.past())  # who left before it was noticed
                if self._is_over():
                    break
        for buyer in world.active() + world.past():
            await self._look_at(buyer)
        one = world.processes[0]
        world.start(one, LAST_REVIEW, partial(world.turn, one, LAST_REVIEW))
        await self._finish()

    async def _serve(self, process: Process) -> None:
        """Let a process do all it has to do now."""
        world = self._world
        for _, push in world.pushes:
            world.start(process, "push", partial(process.loops.hearing.heard, push))
        world.pushes.clear()
        for turn in world.turns:
            world.start(process, turn, partial(world.turn, process, turn))
        await self._finish()
        await self._make(process)
        process.idle = False
        while not process.idle:
            if not process.begun:  # new, or forgotten by the others while it was stopped
                world.start(process, "begin", process.begin)
                await self._finish()
            world.start(process, "work", process.work)
            await self._finish()

    async def _make(self, process: Process) -> None:
        """Let makers bring what they have, and others claim what waits and bring it."""
        makers = self._world.makers
        self._world.start(process, "claim", makers.last_claim(process))
        await self._finish()
        while pieces := makers.hand_over():
            for piece in pieces:
                self._world.start(process, "bring", partial(makers.go_on, process, piece))
            await self._finish()

    async def _come_for_money(self, buyers: list[Payer]) -> None:
        for buyer in buyers:
            await self._look_at(buyer)
            if buyer.owed and not buyer.gives_up:
                self._world.visit(self._world.processes[0], buyer, "claim")
        await self._finish()

    async def _look_at(self, buyer: Payer) -> None:
        if buyer.owner_id:
            self._world.visit(self._world.processes[0], buyer, "poll")
            await self._finish()

    async def _finish(self) -> None:
        """Let all that is under way come to its end."""
        world = self._world
        while ready := world.schedule.ready():
            world.steps += 1
            await world.go_on(ready[0])
            await world.auditor.look()

    def _is_over(self) -> bool:
        model = self._world.auditor.model
        unbooked = any(
            invoice.received_msat and not model.ledger.credited[invoice.payment_hash]
            for invoice in self._world.node.invoices.values()
        )
        in_flight = any(
            payout["state"] == "in_flight"
            for owner in model.owners()
            for payout in owner.payouts.values()
        )
        going_on = (
            any(deal.row["state"] not in FINAL for deal in model.deals.values())
            or any(purse.row["state"] != "expired" for purse in model.prepaid.purses.values())
            or any(lot.row["state"] not in BATCH_FINAL for lot in model.market.lots.values())
            or any(row["state"] == "held" for row in model.prepaid.free_holds.values())
            or any(row["state"] == "claimed" for row in model.usdc.rows.values())
            or model.canaries.is_under_way()
            or model.network.is_due()
        )
        return not (unbooked or in_flight or going_on or +model.staged or model.is_unpaid())
