"""Canaries are ordered: items that a worker can't tell from any other, and whose answer is known.

They are asked for in words that somebody asked with of late, with a seed of their own, at the price
of now; they come when the dice say so, after an item that was delivered, and to a worker that waits
at some moment of its wait. Only what the house itself makes always in the same way can be one.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app import advance
from app.advance import Shell
from app.ports import Clock, Wanted
from app.promises.leases import asked_of
from app.refusal import Refusal
from app.till import Till
from app.trade.catalogue import Catalogue, Kind
from app.trade.model_inputs import MOST_SEED
from db import canaries, lanes
from db.canaries import NewCanary, Wish
from db.claims import Claim, Hired
from db.engine import Database
from db.workers import WorkerRow
from pricing.money import MicroUsd, worker_share
from statemachine.entries import Asset

PARTS: Final = 1_000  # of a wait
SELDOM: Final = 4  # who asks often and does not wait is answered at one of so many times
SIZES: Final = (512, 768, 1_024)
# What is asked for where nobody else has asked for anything yet.
THINGS: Final = (
    "a red boat", "an old lighthouse", "two horses", "a small dog", "a white cat", "a steam train",
    "a castle", "a hot air balloon", "a bicycle", "a windmill", "three birds", "a wooden house",
    "a bridge", "a fox", "a sailing ship", "a tractor",
)  # fmt: skip
PLACES: Final = (
    "on a calm lake", "by the sea", "in the mountains", "in a snowy forest", "on a meadow",
    "in the desert", "in a city", "on a hill", "in a field of flowers", "on an island",
)  # fmt: skip
TIMES: Final = ("at sunset", "at night", "in the rain", "in the morning", "in autumn", "in fog")

Claims = Callable[[int, float], Awaitable[list[Claim]]]  # at most so many, waiting so long
IsGone = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Canaries:
    """The desk of what the house orders of workers."""

    db: Database
    shell: Shell
    till: Till
    catalogue: Catalogue
    clock: Clock
    new_id: Callable[[], str]
    dice: Callable[[int], int]  # a number below this one

    async def among(
        self,
        worker: WorkerRow,
        hired: Hired,
        most: int,
        wait_s: float,
        claim: Claims,
        is_gone: IsGone,
    ) -> list[Claim]:
        """Return what a worker holds from now on, with a canary among it where one is due.

        `hired`: its part of what an item costs in each lane, and what that must come to. `claim`
        has it claim what others have ordered.
        """
        of_lanes = hired.pay_pct
        known = [lane for lane in of_lanes if self.is_known(lane)] if worker.canary_due else []
        if not known:
            return await claim(most, wait_s)
        waited_s = 0.0
        if not await lanes.waiting(self.db, list(of_lanes), 1):
            if wait_s <= 0 and self.dice(SELDOM):
                return await claim(most, 0)
            waited_s = wait_s * self.dice(PARTS) / PARTS
            claims = await claim(most, waited_s)
            if claims or await is_gone():
                return claims
        lane = known[self.dice(len(known))]
        given = await self._give(worker, lane, hired)
        if given is None:
            return await claim(most, wait_s - waited_s)
        claims = await claim(most - 1, 0) if most > 1 else []
        claims.insert(self.dice(len(claims) + 1), given)
        return claims

    def is_known(self, lane: str) -> bool:
        """Say whether what waits in a lane is made here, always in the same way."""
        return lane in self.catalogue.known

    async def _give(self, worker: WorkerRow, lane: str, hired: Hired) -> Claim | None:
        drawn = self.dice(canaries.NEWEST)
        wish = await canaries.wish_of_late(self.db, lane, worker.id, drawn, self.clock())
        wish = wish or self._composed(lane)
        if wish is None:
            return None
        try:
            quote = await self.till.batch([MicroUsd(wish.weight)])
        except Refusal:  # nothing can be priced just now
            return None
        pay_pct, least = hired.pay_pct[lane], hired.least or {}
        if worker_share(quote.total_msat, pay_pct) < least.get(Asset.MSAT, 0):
            return None
        new = NewCanary(
            self.new_id(),
            self.new_id(),
            self.new_id(),
            lane,
            {**wish.asked, "seed": self.dice(MOST_SEED + 1)},
            wish.weight,
            quote.total_msat,
            pay_pct,
            quote.to_json(),
        )
        return await self.shell.do(advance.canaries.give, worker.id, new)

    def _composed(self, lane: str) -> Wish | None:
        """Return a picture that somebody might ask for."""
        listed = self.catalogue.get(lane)
        if listed is None or listed.offering.kind is not Kind.IMAGE:
            return None
        words = " ".join(self._one_of(choices) for choices in (THINGS, PLACES, TIMES))
        side = SIZES[self.dice(len(SIZES))]
        asked = asked_of(Wanted(listed.offering.id, words, side, side))
        return Wish(asked, listed.offering.price_microusd({}))

    def _one_of(self, choices: Sequence[str]) -> str:
        return choices[self.dice(len(choices))]
