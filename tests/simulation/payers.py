"""Whoever pays us: what each of them was shown, pays in their own way, and is owed back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Generic, TypeVar

from app.refusal import Refusal
from app.strict_json import BadInput
from db import payouts
from db.webhooks import NewWebhook
from statemachine.notice import Topic
from tests.simulation import receivers
from tests.simulation.clock import DAWN, Clock
from tests.simulation.node import Node, Ours
from tests.simulation.process import Process
from tests.simulation.wallet import Theirs, Wallets
from tests.simulation.weather import Weather
from tests.simulation.wishes import Wishes

LATEST_S = 6 * 3600  # how long after its expiry a payment may still arrive
PURGED_S, FORGOTTEN_S = 26 * 3600, 5 * 86_400  # after its expiry: between these it comes too late
KEY_LIFE = timedelta(hours=18)  # an Idempotency-Key lives for 24, by a clock that may jump
REST = timedelta(minutes=20)
PREFIX = "lnbcrt-"
GONE: dict[str, Any] = {"state": "expired", "refunds": []}  # what a 404 says


@dataclass(eq=False)
class Payer:
    """One who pays for a job or a session."""

    name: str
    gives_up: bool  # leaves what is owed back unclaimed
    came_at: datetime
    refund_to: str | None  # a Lightning address, where there is one
    key: str | None  # the Idempotency-Key, for one who knows of such things
    owner_id: str = ""  # of the job or the session
    tries: int = 0
    busy: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)  # purpose → payment_hash
    habits: dict[str, str] = field(default_factory=dict)  # purpose → on time, late, never
    claims: list[Theirs] = field(default_factory=list)
    gone: bool = False
    rests_until: datetime = DAWN  # after a refusal there is nothing to do but wait

    over = ("complete", "rejected", "failed", "expired")

    @property
    def owed(self) -> list[int]:
        """What the status says is still owed back, in sats."""
        refunds = self.status.get("refunds", ())
        return [r["amountSats"] for r in refunds if r["refundState"] != "paid"]

    @property
    def finished(self) -> bool:
        """Say whether nothing more is to be had or done."""
        return self.status.get("state") in self.over and (not self.owed or self.gives_up)


P = TypeVar("P", bound=Payer)


class Crowd(Generic[P]):
    """Payers of one kind, and what all of them do: pay, and come for what is owed back."""

    wishes: Wishes
    most = 1_000  # of them are here at once, wherever more may be
    slugs: Callable[[], list[str]] = staticmethod(list)  # of spells that can be cast

    def __init__(
        self, dice: Random, weather: Weather, clock: Clock, node: Node, wallets: Wallets
    ) -> None:
        self._dice, self._weather, self._clock = dice, weather, clock
        self._node, self._wallets = node, wallets
        self.active: list[P] = []
        self.past: list[P] = []
        self.on_paid: Callable[[Ours], None] = lambda invoice: None
        self.is_told = False  # by servers of ours, where somebody wants to be

    def arrive(self) -> P:
        """Let another one come."""
        raise NotImplementedError

    def wish(self, payer: P) -> str | None:
        """Return which of our doors somebody wants to go through next."""
        raise NotImplementedError

    async def poll(self, payer: P, process: Process) -> None:
        """Look how things stand."""
        raise NotImplementedError

    def at_large(self) -> list[P]:
        """Return those who may do something now."""
        now = self._clock.true
        return [payer for payer in self.active if payer.rests_until <= now]

    def leave(self) -> None:
        """Let those go who have nothing more to do here."""
        for payer in [p for p in self.active if (p.finished or p.gone) and not p.busy]:
            self.active.remove(payer)
            self.past.append(payer)

    def pay(self, payer: P) -> str | None:
        """Let somebody pay what he was shown, in his way; return what he did."""
        for purpose, payment_hash in payer.shown.items():
            invoice = self._node.invoices[payment_hash]
            late_s = (self._clock.true - invoice.expires_at).total_seconds()
            if invoice.received_msat is not None:
                if self._dice.random() < 0.02:
                    assert not self._node.receive(payment_hash, invoice.amount_msat)
                    self._weather.counts["buyer: pays twice"] += 1
                    return f"pays {purpose} twice"
                continue
            if purpose not in payer.habits:
                habits = self._dice.choices(("on time", "late", "never"), (90, 5, 5))
                payer.habits[purpose] = habits[0]
            if payer.habits[purpose] != ("late" if late_s > 0 else "on time") or late_s > LATEST_S:
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

    def pay_long_after(self) -> str | None:
        """Let one who left long ago pay what was purged since; return what was done."""
        for payer in self.past:
            for purpose, payment_hash in payer.shown.items():
                invoice = self._node.invoices[payment_hash]
                late_s = (self._clock.true - invoice.expires_at).total_seconds()
                if invoice.received_msat is None and PURGED_S < late_s < FORGOTTEN_S:
                    assert self._node.receive(payment_hash, invoice.amount_msat)
                    self.on_paid(invoice)
                    return f"{payer.name} pays {purpose} of {payer.owner_id[:6]} long after"
        return None

    def comes_back(self, payer: P, most: int) -> bool:
        """Say whether somebody without an answer asks again, at most so often."""
        if payer.gone:
            return False
        if payer.tries > most or self._clock.true > payer.came_at + KEY_LIFE:
            payer.gone = not payer.busy
            return False
        payer.tries += 1
        return True

    def word(self, process: Process, topic: Topic) -> NewWebhook | None:
        """Return where somebody wants to be told what becomes of something, if he does."""
        if not self.is_told:
            return None
        return receivers.wanted(self._dice, process.house.webhooks, topic)

    def comes_for_money(self, payer: P) -> str | None:
        """Return by which door somebody comes for what is owed back, if he does."""
        if payer.owed and not payer.gives_up and self._dice.random() < 0.6:
            return self._dice.choices(("claim", "withdraw", "redirect"), (6, 2, 1))[0]
        return None

    def show(self, payer: P, purpose: str, bolt11: str) -> None:
        """Let somebody see an invoice of ours."""
        payment_hash = bolt11.removeprefix(PREFIX)
        if payer.shown.get(purpose) != payment_hash:
            assert purpose not in payer.shown, "an invoice became another one"
            payer.shown[purpose] = payment_hash
            self._node.shown.append(payment_hash)

    # ------------------------------------------------------- what goes through our doors

    async def redirect(self, payer: P, process: Process) -> None:
        """POST …/refund, with a destination in place of an invoice."""
        self._weather.counts["buyer: names another destination"] += 1
        to = f"{payer.name}.{self._dice.randrange(9)}@wallet.example.org"
        try:
            await process.house.refunds.direct(payer.owner_id, to)
        except Refusal:
            self._refused(payer)

    async def withdraw(self, payer: P, process: Process) -> None:
        """GET /api/lnurl/withdraw/…/callback: a wallet takes one payout with an invoice."""
        rows = await payouts.of_owner(process.built.db, payer.owner_id)
        owed = [row for row in rows if row.state == "owed"]
        if not owed:
            return
        row = self._dice.choice(owed)
        self._weather.counts["buyer: withdraws by LNURL"] += 1
        sent_msat = (await process.house.refunds.sending.share_of(row)).sendable_msat
        theirs = self._wallets.make(sent_msat or row.amount_msat, 600, self._clock.true)
        try:
            await process.house.refunds.start(payer.owner_id, theirs.bolt11, row.id)
        except (BadInput, Refusal):
            self._refused(payer)

    async def claim(self, payer: P, process: Process) -> None:
        """POST …/refund, with an invoice that may be anything."""
        if not payer.owed:
            return
        text = self._invoice_for(payer)
        try:
            await process.house.refunds.claim(payer.owner_id, text)
        except (BadInput, Refusal):
            self._refused(payer)
        await self.poll(payer, process)

    def _refused(self, payer: P) -> None:
        self._weather.counts["buyer: claim refused"] += 1
        payer.rests_until = self._clock.true + REST

    def _invoice_for(self, payer: P) -> str:
        dice, now = self._dice, self._clock.true
        refund = dice.choice([r for r in payer.status["refunds"] if r["refundState"] != "paid"])
        asked = refund["amountSats"]
        if "leastSats" in refund and dice.random() < 0.5:
            asked = max(1, refund["leastSats"])
        amount_msat = asked * 1_000
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
            stolen = dice.choice(self._node.shown[-50:])  # the oldest are forgotten in the end
            return self._wallets.make(amount_msat, expiry_s, now, stolen).bolt11
        if kind == "garbage":
            return self._wallets.make(amount_msat, expiry_s, now).bolt11[:-1] + "q"
        if kind == "again" and payer.claims:
            return dice.choice(payer.claims).bolt11
        theirs = self._wallets.make(amount_msat, expiry_s, now)
        payer.claims.append(theirs)
        return theirs.bolt11

    def pick(self, choices: Sequence[tuple[str, int]]) -> str:
        """Return one of these names, by their weights."""
        names, weights = zip(*choices, strict=True)
        return str(self._dice.choices(names, weights)[0])
