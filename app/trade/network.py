"""What is shown to whoever thinks of lending a machine: who is there, what waits, what it pays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from app.ports import Clock
from app.trade.catalogue import Catalogue, Kind, Listed, Surface
from app.trade.tiers import TIERED, Tier, lane_of
from db import network, workers
from db.engine import Database
from db.network import Waiting
from db.workers import MOST_RATED, Available, Rate
from pricing.money import MicroUsd, worker_share

HOLDS_S: Final = 2.0  # what was counted is good for so long
RATES_OF: Final = timedelta(days=1)
KINDS: Final = (Kind.IMAGE, Kind.VIDEO)


@dataclass(frozen=True, slots=True)
class Lane:
    """One model, or one tier of one, as it stands in the network."""

    model: str
    tier: str  # "": it is not sold by the tier
    workers: int
    waiting: int
    since: datetime | None  # the item whose turn it is has been ordered
    median_wait_ms: int | None  # of the last day
    rates: tuple[Rate, ...]  # of the last day, one for each asset

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to say of it."""
        return bool(self.workers or self.waiting or self.rates)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker can make here, and what it is paid for one."""

    model: str
    name: str
    is_film: bool
    by_second: bool
    pay_microusd: MicroUsd  # for one, or for each second of one
    pay_pct: int
    is_plain: bool  # it is sold without a tier, too
    tiers: tuple[Tier, ...]

    def tier_pay_msat(self, tier: Tier, credit_sats: int) -> int:
        """Return what a picture of a tier pays."""
        return worker_share(tier.price_msat(credit_sats), self.pay_pct)


@dataclass(frozen=True, slots=True)
class Glance:
    """The network at one moment."""

    workers: int
    made: int  # in the last day
    lanes: tuple[Lane, ...]

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(each.waiting for each in self.lanes)

    @property
    def has_more(self) -> bool:
        """Whether more was made than is counted."""
        return self.made >= MOST_RATED

    @property
    def busy(self) -> list[Lane]:
        """The lanes of which there is anything to say."""
        return [each for each in self.lanes if each.is_busy]


@dataclass(slots=True)
class Network:
    """The desk of whoever looks at the network. What it counts, it counts once in a while."""

    db: Database
    clock: Clock
    catalogue: Catalogue
    _seen: tuple[float, Glance] | None = None

    async def glance(self) -> Glance:
        """Return the network as it was a moment ago."""
        now = monotonic()
        if self._seen is None or self._seen[0] <= now - HOLDS_S:
            self._seen = now, await self._look()
        return self._seen[1]

    async def _look(self) -> Glance:
        now, named = self.clock(), dict(self._lanes())
        rates = await workers.rates(self.db, now - RATES_OF)
        there = {row.lane: row for row in await workers.available(self.db, now)}
        waits = await network.waiting(self.db, list(named))
        waited = await network.waited(self.db, now - RATES_OF)
        return Glance(
            await network.here(self.db, now),
            sum(rate.items for rate in rates),
            tuple(
                _lane(lane, *of, rates, there, waits.get(lane), waited.get(lane))
                for lane, of in named.items()
            ),
        )

    @property
    def lanes(self) -> list[str]:
        """Every lane in which something that is sold here can wait for a worker."""
        return [lane for lane, _ in self._lanes()]

    def offers(self) -> list[Offer]:
        """Return what a worker can make of what is sold here, in the catalogue's order."""
        return [_offer(each) for each in self._sold()]

    def _sold(self) -> Iterator[Listed]:
        names = set[str]()
        for kind in KINDS:
            for surface in Surface:
                for listed in self.catalogue.listed(surface, kind):
                    if listed.offering.id not in names:
                        names.add(listed.offering.id)
                        yield listed

    def _lanes(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield each lane of what is sold, with its model and its tier."""
        for listed in self._sold():
            model = listed.offering.id
            if _is_plain(listed):
                yield model, (model, "")
            for tier in _tiers_of(listed):
                yield lane_of(model, tier.name), (model, tier.name)


def _lane(
    lane: str,
    model: str,
    tier: str,
    rates: Sequence[Rate],
    there: Mapping[str, Available],
    waits: Waiting | None,
    waited_ms: int | None,
) -> Lane:
    return Lane(
        model,
        tier,
        there[lane].workers if lane in there else 0,
        waits.items if waits is not None else 0,
        waits.since if waits is not None else None,
        waited_ms,
        tuple(rate for rate in rates if rate.lane == lane),
    )


def _offer(listed: Listed) -> Offer:
    offering = listed.offering
    is_film, pct = offering.kind is Kind.VIDEO, offering.worker_share_pct
    by_second = bool(offering.second_microusd)
    pay = MicroUsd(worker_share(offering.second_microusd or offering.item_microusd, pct))
    is_plain = _is_plain(listed)
    named = offering.id, offering.name
    return Offer(*named, is_film, by_second, pay, pct, is_plain, _tiers_of(listed))


def _is_plain(listed: Listed) -> bool:
    """Say whether a model is sold without a tier."""
    return bool(set(listed.offering.inputs) - {Surface.STUDIO})


def _tiers_of(listed: Listed) -> tuple[Tier, ...]:
    """Return the tiers that a model is sold by."""
    if Surface.STUDIO not in listed.offering.inputs:
        return ()
    return tuple(TIERED[listed.offering.id].tiers.values())
