"""The buyers: what each of them asks, pays, polls, cancels and claims, and what they truly paid."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from app.api.jobs import status_of
from app.errors import Refusal
from app.orders import Name, Order, place
from app.refunds import claim_refund, name_destination, start_refund
from app.wire import BadInput
from db import jobs, payouts
from pricing.money import Msat
from statemachine import job as law
from tests.simulation.clock import DAWN, Clock
from tests.simulation.node import Node, Ours
from tests.simulation.process import Process
from tests.simulation.wallet import Theirs, Wallets
from tests.simulation.weather import Weather

FINAL = ("complete", "rejected", "failed")
LATEST_S = 6 * 3600  # how long after its expiry a payment may still arrive
LIMITS_MSAT = (None, None, None, None, None, 20_000, 500_000, 5_000_000)
KEY_LIFE = timedelta(hours=18)  # an Idempotency-Key lives for 24, by a clock that may jump
REST = timedelta(minutes=20)
PREFIX = "lnbcrt-"


@dataclass(eq=False)
class Buyer:
    """One buyer with one job in mind."""

    name: str
    request: str
    max_msat: int | None
    key: str | None  # the Idempotency-Key, if the buyer knows of such things
    gives_up: bool  # leaves what is owed back unclaimed
    came_at: datetime
    refund_to: str | None  # a Lightning address, where the buyer has one
    job_id: str = ""
    tries: int = 0
    busy: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)  # purpose → payment_hash
    habits: dict[str, str] = field(default_factory=dict)  # purpose → on time, late, never
    claims: list[Theirs] = field(default_factory=list)
    gone: bool = False
    rests_until: datetime = DAWN  # after a refusal there is nothing to do but wait

    @property
    def owed(self) -> list[int]:
        """What the status says is still owed back, in sats."""
        refunds = self.status.get("refunds", ())
        return [r["amountSats"] for r in refunds if r["refundState"] != "paid"]

    @property
    def finished(self) -> bool:
        """Say whether nothing more is to be had or done."""
        return self.status.get("state") in FINAL and (not self.owed or self.gives_up)


class Crowd:
    """All buyers, and what they do next."""

    def __init__(
        self, dice: Random, weather: Weather, clock: Clock, node: Node, wallets: Wallets
    ) -> None:
        self._dice, self._weather, self._clock = dice, weather, clock
        self._node, self._wallets = node, wallets
        self.active: list[Buyer] = []
        self.past: list[Buyer] = []
        self.on_paid: Callable[[Ours], None] = lambda invoice: None

    def arrive(self) -> Buyer:
        """Let another buyer come."""
        dice, number = self._dice, len(self.active) + len(self.past)
        buyer = Buyer(
            name=f"b{number}",
            request=f"request {number}",
            max_msat=dice.choice(LIMITS_MSAT),
            key=f"k{number}" if dice.random() < 0.6 else None,
            gives_up=dice.random() < 0.1,
            came_at=self._clock.true,
            refund_to=f"b{number}@wallet.example.org" if dice.random() < 0.35 else None,
        )
        for purpose in ("eval", "work"):
            buyer.habits[purpose] = dice.choices(("on time", "late", "never"), (90, 5, 5))[0]
        self.active.append(buyer)
        return buyer

    def at_large(self) -> list[Buyer]:
        """Return those who may do something now."""
        now = self._clock.true
        return [buyer for buyer in self.active if buyer.rests_until <= now]

    def leave(self) -> None:
        """Let those go who have nothing more to do here."""
        for buyer in [b for b in self.active if (b.finished or b.gone) and not b.busy]:
            self.active.remove(buyer)
            self.past.append(buyer)

    def wish(self, buyer: Buyer) -> str | None:
        """Return which of our doors a buyer wants to go through next."""
        dice = self._dice
        if not buyer.job_id:
            return "create" if self._tries_to_create(buyer) else None
        if buyer.owed and not buyer.gives_up and dice.random() < 0.6:
            return dice.choices(("claim", "withdraw", "redirect"), (6, 2, 1))[0]
        if dice.random() < 0.03:
            return "cancel"
        repeats = buyer.key and self._clock.true < buyer.came_at + KEY_LIFE
        return "create" if repeats and dice.random() < 0.02 else "poll"

    def _tries_to_create(self, buyer: Buyer) -> bool:
        if buyer.gone:
            return False
        if buyer.tries > (4 if buyer.key else 0) or self._clock.true > buyer.came_at + KEY_LIFE:
            buyer.gone = not buyer.busy
            return False
        buyer.tries += 1
        return True

    def pay(self, buyer: Buyer) -> str | None:
        """Let a buyer pay what he was shown, in his way; return what he did."""
        for purpose in ("eval", "work"):
            payment_hash = buyer.shown.get(purpose)
            if payment_hash is None:
                continue
            invoice = self._node.invoices[payment_hash]
            late_s = (self._clock.true - invoice.expires_at).total_seconds()
            if invoice.received_msat is not None:
                if self._dice.random() < 0.02:
                    assert not self._node.receive(payment_hash, invoice.amount_msat)
                    self._weather.counts["buyer: pays twice"] += 1
                    return f"pays {purpose} twice"
                continue
            if buyer.habits[purpose] != ("late" if late_s > 0 else "on time") or late_s > LATEST_S:
                continue
            if late_s > 0:
                self._weather.counts["buyer: pays late"] += 1
            amount_msat = invoice.amount_msat
            if self._dice.random() < 0.2:
                self._weather.counts["buyer: pays over"] += 1
                amount_msat += self._dice.choice((1_000, amount_msat))
            assert self._node.receive(payment_hash, amount_msat)
            self.on_paid(invoice)
            return f"pays {purpose}"
        return None

    # ------------------------------------------------------- what goes through our doors

    async def create(self, buyer: Buyer, process: Process) -> None:
        """POST /api/jobs."""
        max_msat = None if buyer.max_msat is None else Msat(buyer.max_msat)
        name = None
        if buyer.key is not None:
            sha = hashlib.sha256(buyer.request.encode()).hexdigest()
            name = Name("peer:simulation", buyer.key, sha)
        row = await place(process.house, Order(buyer.request, max_msat, buyer.refund_to), name)
        assert buyer.job_id in ("", row["job_id"]), "one key gave two jobs"
        buyer.job_id = row["job_id"]
        self._show(buyer, "eval", row["bolt11"])

    async def poll(self, buyer: Buyer, process: Process) -> None:
        """GET /api/jobs/{id}, which asks the rail while its channel is down."""
        house = process.house
        row = await jobs.view(house.parts.db, buyer.job_id)
        assert row is not None, f"job {buyer.job_id} is gone"
        for purpose in ("eval", "work"):
            if row[f"{purpose}_state"] == "open" and not house.parts.rail.push_is_up:
                await house.loops.look_up(row[f"{purpose}_hash"])
                row = await jobs.view(house.parts.db, buyer.job_id)
                assert row is not None
        buyer.status = status_of(house, row)
        for purpose in ("eval", "work"):
            invoice = buyer.status.get(f"{purpose}Invoice")
            if invoice:
                self._show(buyer, purpose, invoice["paymentRequest"])

    def _show(self, buyer: Buyer, purpose: str, bolt11: str) -> None:
        payment_hash = bolt11.removeprefix(PREFIX)
        if buyer.shown.get(purpose) != payment_hash:
            assert purpose not in buyer.shown, "an invoice became another one"
            buyer.shown[purpose] = payment_hash
            self._node.shown.append(payment_hash)

    async def cancel(self, buyer: Buyer, process: Process) -> None:
        """POST /api/jobs/{id}/cancel."""
        parts = process.parts
        self._weather.counts["buyer: cancels"] += 1
        await parts.db.run(
            "cancel_job",
            lambda tx: parts.shell.advance(tx, buyer.job_id, law.Cancelled(), parts.clock()),
        )

    async def redirect(self, buyer: Buyer, process: Process) -> None:
        """POST /api/jobs/{id}/refund, with a destination in place of an invoice."""
        self._weather.counts["buyer: names another destination"] += 1
        to = f"{buyer.name}.{self._dice.randrange(9)}@wallet.example.org"
        try:
            await name_destination(process.house, buyer.job_id, to)
        except Refusal:
            self._refused(buyer)

    async def withdraw(self, buyer: Buyer, process: Process) -> None:
        """GET /api/lnurl/withdraw/…/callback: a wallet takes one payout with an invoice."""
        rows = await payouts.of_owner(process.parts.db, buyer.job_id)
        owed = [row for row in rows if row["state"] == "owed"]
        if not owed:
            return
        row = self._dice.choice(owed)
        self._weather.counts["buyer: withdraws by LNURL"] += 1
        theirs = self._wallets.make(row["amount_msat"], 600, self._clock.true)
        try:
            await start_refund(process.house, buyer.job_id, theirs.bolt11, row["id"])
        except (BadInput, Refusal):
            self._refused(buyer)

    async def claim(self, buyer: Buyer, process: Process) -> None:
        """POST /api/jobs/{id}/refund, with an invoice that may be anything."""
        if not buyer.owed:
            return
        text = self._invoice_for(buyer)
        try:
            await claim_refund(process.house, buyer.job_id, text)
        except (BadInput, Refusal):
            self._refused(buyer)
        await self.poll(buyer, process)

    def _refused(self, buyer: Buyer) -> None:
        self._weather.counts["buyer: claim refused"] += 1
        buyer.rests_until = self._clock.true + REST

    def _invoice_for(self, buyer: Buyer) -> str:
        dice, now = self._dice, self._clock.true
        amount_msat = dice.choice(buyer.owed) * 1_000
        expiry_s = dice.choice((45, 600, 3_600, 3_600, 86_400))
        kinds = ("right", "amount", "expired", "ours", "garbage", "again")
        kind = dice.choices(kinds, (82, 4, 3, 3, 2, 6))[0]
        if self._weather.calm:
            kind, expiry_s = "right", 86_400
        if kind != "right":
            self._weather.counts[f"buyer: claims with a wrong invoice ({kind})"] += 1
        if kind == "amount":
            return self._wallets.make(amount_msat + 1_000, expiry_s, now).bolt11
        if kind == "expired":
            return self._wallets.make(amount_msat, 0, now).bolt11
        if kind == "ours":
            stolen = dice.choice(self._node.shown)
            return self._wallets.make(amount_msat, expiry_s, now, stolen).bolt11
        if kind == "garbage":
            return self._wallets.make(amount_msat, expiry_s, now).bolt11[:-1] + "q"
        if kind == "again" and buyer.claims:
            return dice.choice(buyer.claims).bolt11
        theirs = self._wallets.make(amount_msat, expiry_s, now)
        buyer.claims.append(theirs)
        return theirs.bolt11
