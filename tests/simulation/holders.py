"""The holders of sessions: what each of them pays in, spends, hands on, tops up and closes.

They know what they were promised: one name is one request, and a child spends what it was given.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.refusal import Refusal, Why
from app.trade import batches
from app.trade import holds as holding
from app.trade import sessions as prepaid
from app.trade.once import Name
from db import casts, payouts, sessions
from db.engine import Duplicate
from payments.grant import Budget, Grant
from payments.session_macaroon import Verified
from pricing.money import Msat
from statemachine.notice import Topic
from tests.simulation import workbench
from tests.simulation.database import Gate
from tests.simulation.payers import GONE, KEY_LIFE, Crowd, Payer
from tests.simulation.process import HungUp, Process
from tests.simulation.shoppers import lines, prices
from tests.simulation.wishes import Order, Wish

DEPOSITS_SATS = (100, 1_000, 4_000, 10_000, 10_000, 10_000)
BUDGETS_SATS = (50, 1_500, 4_000, 9_000)
CEILINGS_SATS = (1, 7, 40, 150, 600)
FREE_SATS = (3, 20, 70)
SLEEPS_HOURS = (1, 5, 26, 30)


@dataclass(eq=False)
class Asked:
    """One request under a name: sent again, it is the same one."""

    text: str
    holder: Verified
    max_msat: Msat | None
    first_at: datetime
    job_id: str = ""
    prices_microusd: tuple[int, ...] = ()  # of the items of a batch; none: it is a request


@dataclass(eq=False)
class Holder(Payer):
    """One who holds a session, and may have handed parts of it on."""

    deposit_sats: int = 0
    children: list[Grant] = field(default_factory=list)
    named: dict[str, Asked] = field(default_factory=dict)
    topups: dict[str, tuple[int, datetime]] = field(default_factory=dict)  # name → sats, when
    batches: list[str] = field(default_factory=list)
    casts: dict[str, Verified] = field(default_factory=dict)  # and who has paid for them
    requests: int = 0
    is_short: bool = False


class Holders(Crowd[Holder]):
    """All holders, and what they do next."""

    gate: Gate

    def arrive(self) -> Holder:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        holder = Holder(
            name=f"h{number}",
            key=f"s{number}" if dice.random() < 0.6 else None,
            gives_up=dice.random() < 0.1,
            came_at=self._clock.true,
            refund_to=f"h{number}@wallet.example.org" if dice.random() < 0.35 else None,
            deposit_sats=dice.choice(DEPOSITS_SATS),
        )
        budgets: tuple[Budget, ...] = ()
        for generation in range(dice.choice((0, 0, 1, 2))):
            link = f"{holder.name}-{generation}"
            budget = Budget(link, Msat(dice.choice(BUDGETS_SATS) * 1_000))
            self.wishes.limits[link] = budget.limit_msat
            budgets = (*budgets, budget)
            most = Msat(2_000_000) if dice.random() < 0.2 else None
            holder.children.append(self._grant(holder, budgets, most))
        self.active.append(holder)
        return holder

    def _grant(self, holder: Holder, budgets: tuple[Budget, ...], most: Msat | None) -> Grant:
        links = (holder.name, *(budget.link for budget in budgets))
        return Grant(None, most, budgets, None, None, links)

    def wish(self, holder: Holder) -> str | None:
        """See Crowd."""
        dice = self._dice
        if not holder.owner_id:
            return "open" if self.comes_back(holder, 4 if holder.key else 0) else None
        if door := self.comes_for_money(holder):
            return door
        state = holder.status.get("state")
        repeats = holder.key and self._clock.true < holder.came_at + KEY_LIFE
        if repeats and dice.random() < 0.02:
            return "open"
        if state not in ("active", "paused"):
            return "close" if dice.random() < 0.02 else "poll"
        if dice.random() < 0.01:
            holder.rests_until = self._clock.true + timedelta(hours=dice.choice(SLEEPS_HOURS))
            self._weather.counts["buyer: leaves a session alone"] += 1
            return None
        topup = 30 if holder.is_short or state == "paused" else 3
        doors = [("ask", 40), ("stream", 25), ("draw", 15), ("demo", 4), ("poll", 12)]
        return self.pick([*doors, ("topup", topup), ("give_up", 2), ("close", 2)])

    def _credential(self, holder: Holder) -> Verified:
        grant = self._grant(holder, (), None)
        if holder.children and self._dice.random() < 0.6:
            grant = self._dice.choice(holder.children)
        return Verified(holder.owner_id, "", 1, grant)

    # ------------------------------------------------------- what goes through our doors

    async def open(self, holder: Holder, process: Process) -> None:
        """POST /api/sessions."""
        name = None if holder.key is None else _name("peer:simulation", holder.key, holder.name)
        deposit_msat = Msat(holder.deposit_sats * 1_000)
        house = process.house
        told = self.word(process, Topic.SESSION)
        opening = await house.sessions.open(deposit_msat, holder.refund_to, name, told)
        session_id, invoice = opening.session_id, opening.invoice
        assert holder.owner_id in ("", session_id), "one key gave two sessions"
        holder.owner_id = session_id
        self.show(holder, "deposit", invoice.bolt11)

    async def poll(self, holder: Holder, process: Process) -> None:
        """GET /api/sessions/{id}, which asks the rail while its channel is down."""
        house, session_id = process.house, holder.owner_id
        open_invoices = await sessions.open_invoices(house.db, session_id)
        for invoice in open_invoices:
            if invoice.to_pay is not None and not house.waiting.is_pushed:
                await house.booking.look_up(invoice.to_pay.payment_hash)
        row = await sessions.get(house.db, session_id)
        if row is None:  # purged: whether that was right the auditor says
            holder.status = GONE
            return
        owed = await payouts.of_owner(house.db, session_id)
        holder.status = {"state": row.state}
        holder.status["refunds"] = [process.house.shapes.refund(payout, None) for payout in owed]
        for invoice in open_invoices:
            if invoice.to_pay is not None:
                self.show(holder, invoice.id.partition(":")[2], invoice.to_pay.bolt11)

    async def ask(self, holder: Holder, process: Process) -> None:
        """POST /api/sessions/{id}/request, now and then a second time under the same name."""
        dice = self._dice
        known = [n for n, a in holder.named.items() if self._clock.true < a.first_at + KEY_LIFE]
        if known and dice.random() < 0.15:
            self._weather.counts["buyer: sends a request again"] += 1
            await self._submit(holder, process, dice.choice(known))
            return
        key = self._next(holder)
        limit = dice.choice((None, None, None, Msat(1_500_000)))
        asked = Asked(f"{key} asks", self._credential(holder), limit, self._clock.true)
        grant = asked.holder.grant
        limits = [most for most in (limit, grant.max_msat) if most is not None]
        links = tuple(budget.link for budget in grant.budgets)
        wish = Wish(holder.owner_id, min(limits, default=None), links)
        self.wishes.requests[asked.text] = wish
        if dice.random() < 0.6:
            holder.named[key] = asked
            await self._submit(holder, process, key)
        else:
            await self._spend(holder, process, asked, None)

    def _next(self, holder: Holder) -> str:
        holder.requests += 1
        return f"{holder.name}-r{holder.requests}"

    async def draw(self, holder: Holder, process: Process) -> None:
        """Have the balance pay for a batch; one with a name may be sent again by `ask`."""
        dice = self._dice
        if (slugs := self.slugs()) and dice.random() < 0.5:
            await self._cast(holder, process, slugs)
            return
        key = self._next(holder)
        credential, costs = self._credential(holder), prices(dice)
        asked = Asked(key, credential, None, self._clock.true, prices_microusd=costs)
        grant = credential.grant
        links = tuple(budget.link for budget in grant.budgets)
        self.wishes.orders[key] = Order(holder.owner_id, grant.max_msat, links, costs)
        if dice.random() < 0.6:
            holder.named[key] = asked
            await self._submit(holder, process, key)
        else:
            await self._spend(holder, process, asked, None)

    async def _cast(self, holder: Holder, process: Process, slugs: list[str]) -> None:
        """POST /api/v1/spells/cast, or …/casts/{id}/resume: without a name each is another one."""
        dice, house, turn = self._dice, process.house, f"session:{holder.owner_id}"
        if holder.casts and dice.random() < 0.3:
            cast_id = dice.choice(sorted(holder.casts))
            credential, row = holder.casts[cast_id], await casts.get(house.db, cast_id)
            assert row is not None, "a cast that was paid for is gone"
            order = await house.spells.resumption(row, turn, None)
        else:
            key, credential, cast_id = self._next(holder), self._credential(holder), ""
            spell = await house.spells.show(dice.choice(slugs))
            costs = workbench.costs(spell.document, spell.author_id is not None)
            grant = credential.grant
            links, most = tuple(budget.link for budget in grant.budgets), grant.max_msat
            wished = Order(holder.owner_id, most, links, costs, spell=spell.slug)
            self.wishes.orders[key] = wished
            order = house.spells.order(spell, {"tag": key}, turn, None)
        if order is None:
            return
        with self._short(holder), suppress(Duplicate):  # at this moment, by another call of his
            batch_id = await house.batches.place_on(credential, order, None)
            holder.batches.append(batch_id)
            holder.casts.setdefault(cast_id or batch_id, credential)

    async def give_up(self, holder: Holder, process: Process) -> None:
        """Cancel a batch that the balance pays for."""
        if holder.batches:
            self._weather.counts["buyer: gives a batch up"] += 1
            await process.house.batches.cancel(self._dice.choice(holder.batches))

    async def _submit(self, holder: Holder, process: Process, key: str) -> None:
        asked = holder.named[key]
        name = _name(f"session:{holder.owner_id}", key, asked.text)
        job_id = await self._spend(holder, process, asked, name)
        assert asked.job_id in ("", job_id), "one key gave two requests"
        asked.job_id = job_id

    async def _spend(
        self, holder: Holder, process: Process, asked: Asked, name: Name | None
    ) -> str:
        request = prepaid.Request(asked.text, asked.max_msat)
        with self._short(holder):
            if asked.prices_microusd:
                wanted = lines(asked.text, asked.prices_microusd)
                order = batches.Order(wanted, f"session:{holder.owner_id}")
                batch_id = await process.house.batches.place_on(asked.holder, order, name)
                holder.batches.append(batch_id)
                return batch_id
            return await process.house.sessions.submit(asked.holder, request, name)

    @contextmanager
    def _short(self, holder: Holder) -> Iterator[None]:
        """Note that a session had too little, and let the refusal go on."""
        try:
            yield
        except Refusal as refusal:
            holder.is_short |= refusal.why in (Why.BALANCE_TOO_LOW, Why.BUDGET_TOO_LOW)
            self._weather.counts[f"buyer: a request is refused: {refusal.why.name}"] += 1
            raise

    async def stream(self, holder: Holder, process: Process) -> None:
        """POST /api/gemini/…: an answer that comes piece by piece, and costs more with each."""
        ceiling = Msat(self._dice.choice(CEILINGS_SATS) * 1_000)
        grant = self._credential(holder).grant
        with self._short(holder):
            setting_aside = process.house.holds.from_session(
                holder.owner_id, grant, "gemini", ceiling
            )
            async with setting_aside as held:
                await self._answered(held)

    async def demo(self, holder: Holder, process: Process) -> None:
        """GET /api/demo: on the house."""
        ceiling = Msat(self._dice.choice(FREE_SATS) * 1_000)
        with self._short(holder):
            async with process.house.holds.free("demo", ceiling) as held:
                await self._answered(held)

    async def _answered(self, held: holding.Held) -> None:
        await self.gate("chat answer: before")
        cost_msat = 0
        for _ in range(self._dice.randrange(4)):
            cost_msat += self._dice.randrange(held.ceiling_msat // 1_000 + 1) * 1_000
            self.wishes.costs[held.id].add(min(cost_msat, held.ceiling_msat))
            held.charge(cost_msat)
            await self.gate("chat piece: before")
            if self._dice.random() < 0.1:
                self._weather.counts["buyer: leaves in the middle of an answer"] += 1
                raise HungUp
        if self._weather.strikes("agent: broke for good"):
            held.lose(min(cost_msat, held.ceiling_msat))
            raise Refusal(Why.NO_AGENT, "The model broke.")

    async def topup(self, holder: Holder, process: Process) -> None:
        """POST /api/sessions/{id}/topup, now and then a second time under the same name."""
        dice, now = self._dice, self._clock.true
        names = [n for n, (_, at) in holder.topups.items() if now < at + KEY_LIFE]
        key: str | None = f"{holder.name}-t{len(holder.topups) + 1}"
        sats = dice.choice(DEPOSITS_SATS)
        if names and dice.random() < 0.3:
            key = dice.choice(names)
            sats = holder.topups[key][0]
        elif dice.random() < 0.6:
            holder.topups[key or ""] = sats, now
        else:
            key = None
        name = _name(f"session:{holder.owner_id}", key, f"topup {sats}") if key else None
        self._weather.counts["buyer: asks for a top-up"] += 1
        invoice = await process.house.sessions.top_up(holder.owner_id, Msat(sats * 1_000), name)
        assert invoice.amount_msat == sats * 1_000, "it is another's top-up"
        holder.is_short = False
        self.show(holder, invoice.id.partition(":")[2], invoice.bolt11)

    async def close(self, holder: Holder, process: Process) -> None:
        """POST /api/sessions/{id}/close, with or without a destination for the rest."""
        session_id = holder.owner_id
        self._weather.counts["buyer: closes a session"] += 1
        self.wishes.closed.add(session_id)
        await process.house.sessions.close(session_id)
        if self._dice.random() < 0.3:
            await process.house.refunds.direct(session_id, f"{holder.name}@wallet.example.org")


def _name(caller: str, key: str, body: str) -> Name:
    return Name(caller, key, hashlib.sha256(body.encode()).hexdigest())
