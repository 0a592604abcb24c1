"""Workers that ask at the same moment: what they want of the database is one statement for all.

Each waits for the statement before his own, and for no longer than a moment; who is alone waits for
nobody. A worker is served as he would be by himself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import advance
from app.advance import Shell
from db.claims import Hired
from db.engine import DatabaseAway, Unwritten
from db.lookups import Together
from db.seen import Seen
from db.shared_claims import MOST, Claimer, Dealt

Told = Dealt | DatabaseAway
PayPct = tuple[tuple[str, int], ...]  # by lane


@dataclass(frozen=True, slots=True)
class _Asked:
    """One who wants an item; two of the same worker are two."""

    claimer: Claimer
    pay_pct: PayPct


class Crowd:
    """The claims of one item each, and what is noted of who asks."""

    def __init__(self, shell: Shell, slow_s: float) -> None:
        self._shell = shell
        self._claims = Together[_Asked, Told](self._claim, slow_s)
        self._seen = Together[Seen, Any](self._see, slow_s)

    async def claim(self, worker_id: str, lease_id: str, hired: Hired) -> Dealt:
        """Claim an item for a worker that takes whatever it pays."""
        assert hired.at_once is not None and hired.least is None, "it claims by itself"
        claimer = Claimer(worker_id, lease_id, hired.at_once)
        given = await self._claims.find(_Asked(claimer, tuple(sorted(hired.pay_pct.items()))))
        if isinstance(given, DatabaseAway):
            raise given
        if given is not None:
            return given
        by_itself = Hired(hired.pay_pct, [lease_id], hired.at_once)
        lanes = list(hired.pay_pct)
        return Dealt(await self._shell.do(advance.leases.claim, worker_id, lanes, 1, by_itself))

    async def see(self, seen: Seen) -> None:
        """Note that a worker is there, and what it makes."""
        await self._seen.find(seen)

    async def _see(self, all_seen: Sequence[Seen]) -> list[None]:
        of_each = {seen.worker_id: seen for seen in all_seen}  # what it has said last
        await self._shell.do(advance.workers.see, *of_each.values())
        return [None] * len(all_seen)

    async def _claim(self, asked: Sequence[_Asked]) -> list[Told | None]:
        """Return what each is told; None: he is to claim by himself, as who asks twice is."""
        by_lanes: dict[PayPct, dict[str, Claimer]] = {}
        for each in asked:
            by_lanes.setdefault(each.pay_pct, {}).setdefault(each.claimer.worker, each.claimer)
        parts = [
            self._of_part(part, dict(pay_pct))
            for pay_pct, claimers in by_lanes.items()
            for part in _parts(list(claimers.values()))
        ]
        told: dict[str, Told] = {}
        for given in [await parts[0]] if len(parts) == 1 else await asyncio.gather(*parts):
            told |= given
        return [told.get(each.claimer.lease_id) for each in asked]

    async def _of_part(
        self, claimers: Sequence[Claimer], pay_pct: Mapping[str, int]
    ) -> dict[str, Told]:
        """Return what some are told, by the names of their leases."""
        try:
            return {**await self._shell.do(advance.leases.claim_each, claimers, pay_pct)}
        except Unwritten:
            return {}  # each finds out by himself what is wrong
        except DatabaseAway as away:  # it may have been written: nobody asks again for them
            return {each.lease_id: away for each in claimers}


def _parts(claimers: Sequence[Claimer]) -> list[Sequence[Claimer]]:
    return [claimers[at : at + MOST] for at in range(0, len(claimers), MOST)]
