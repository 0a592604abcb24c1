"""What an operator looks at and acts on: how business goes, what is owed, and what needs a person.

What it shows names jobs by their public ids: the others would open the buyer's page.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from app.agents.agent import Agent
from app.agents.chat import Chat
from app.operator.books import Books, Review
from app.operator.fleet import Fleet, Summary
from app.operator.switching import turn
from app.ports import Clock, Prices
from db import (
    deposits,
    overview,
    payouts,
    public_ids,
    routing,
    standing,
    switches,
    webhook_log,
)
from db.deposits import DepositRow
from db.engine import Database
from db.overview import Group, Sheet, Tally
from db.payouts import PayoutRow
from db.promises import Outbox
from db.replica import Replica
from db.routing import Payer
from db.standing import UnpaidPayout
from db.usdc_standing import UsdcSheet
from payments.rail import Rail
from pricing.money import BtcPrice, sats_to_msat
from pricing.oracle import OracleStatus, PriceUnavailable
from pricing.rates import ending
from statemachine.public_id import concealed

LISTED, WATCHED = 12, 50
LATE = timedelta(minutes=1)  # a notice whose receiver is served, and has many before it


@dataclass(frozen=True, slots=True)
class Glance:
    """How everything stands at one moment."""

    tallies: list[Tally]
    open_jobs: dict[str, int]
    sheet: Sheet
    usdc: UsdcSheet | None  # where anything was ever paid in it
    unclaimed: list[DepositRow]  # sent by nobody that we know, the newest
    gone: list[DepositRow]  # in the books, and on the chain no more
    refunds_from: str | None  # the address that refunds in USDC come from, where there is its key
    watched: list[UnpaidPayout]
    waiting: list[UnpaidPayout]
    promises: dict[str, int]
    notices: webhook_log.Standing
    price: BtcPrice | PriceUnavailable
    sources: OracleStatus
    ending: dict[str, date]  # models that end soon, or have ended and are asked all the same
    review: Review | None
    switches: dict[switches.Name, bool]
    routing_msat: int
    routing_most_msat: int
    routing_payers: list[Payer]
    rail: str
    push_is_up: bool
    fleet: Summary  # workers of the network


@dataclass(frozen=True, slots=True)
class Overseeing:
    """The desk of the operator's page."""

    db: Database
    replica: Replica
    outbox: Outbox
    books: Books
    rail: Rail
    agent: Agent
    chat: Chat
    oracle: Prices
    clock: Clock
    routing_free_sats_per_day: int
    fleet: Fleet

    async def glance(self, since: datetime) -> Glance:
        """Return how everything stands now; jobs are counted by the hour since then."""
        return await self.replica.ask(lambda db: self._glance(db, since))

    async def _glance(self, db: Database, since: datetime) -> Glance:
        now = self.clock()
        usdc = await self.books.usdc.sheet()
        payers = await routing.payers(db, now.date(), LISTED)
        return Glance(
            tallies=await overview.tallies(db, since),
            open_jobs=await overview.open_jobs(db),
            sheet=await overview.sheet(db),
            usdc=usdc if usdc.is_used else None,
            unclaimed=await deposits.unclaimed(db, LISTED),
            gone=await deposits.gone(db, LISTED),
            refunds_from=self.books.usdc.refunds_from,
            watched=_named(await standing.watched_payouts(db, now, WATCHED)),
            waiting=_named(await standing.waiting_payouts(db, now, LISTED)),
            promises=await self.outbox.waiting(),
            notices=await webhook_log.standing(db, now - LATE, now - timedelta(days=1)),
            price=await self.oracle.price(),
            sources=self.oracle.status(),
            ending=self._ending(now.date()),
            review=self.books.latest,
            switches=await switches.all_of(self.db),
            routing_msat=await routing.given_msat(db, now.date()),
            routing_most_msat=sats_to_msat(self.routing_free_sats_per_day),
            routing_payers=[row._replace(payer=concealed(row.payer)) for row in payers],
            rail=self.rail.name,
            push_is_up=self.rail.push_is_up,
            fleet=await self.fleet.summary(),
        )

    async def trial_balance(self) -> tuple[list[Group], Review | None]:
        """Return the trial balance, recomputed from every posting, and the last review."""
        return await self.replica.ask(overview.trial_groups), self.books.latest

    async def payout(self, name: str) -> PayoutRow | None:
        """Return the payout of this public name."""
        found = await public_ids.payout_id(self.db, name) if name.isprintable() else None
        return await payouts.get(self.db, found) if found else None

    async def turn(self, name: switches.Name, on: bool) -> None:
        """Switch selling, or paying out, on or off."""
        await turn(self.db, self.clock, name, on)

    def _ending(self, today: date) -> dict[str, date]:
        agent, chat = self.agent, self.chat
        asked = {agent.eval_model, agent.work_model, chat.chat_model, chat.image_model}
        return {name: day for name, day in ending(today).items() if name in asked or day >= today}


def _named(rows: list[UnpaidPayout]) -> list[UnpaidPayout]:
    """Return payouts under the names that may be shown."""
    return [row._replace(id=concealed(row.id)) for row in rows]
