"""The law of sessions under any schedule: no msat is lost, and no balance is overdrawn."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.quote import Quote, make_quote
from pricing.rates import Usage
from statemachine import entries, hold, invoice, job, session
from statemachine.decision import Decision
from statemachine.hold import HoldFacts
from statemachine.invoice import InvoiceFacts, InvoiceState
from statemachine.job import JobFacts
from statemachine.machine import IllegalTransition
from statemachine.owner import Purpose, named
from statemachine.session import SESSION, SessionFacts, SessionState
from tests.world.law_facts import CARD, NOW, PRICE


class World:
    """One session, all that is told to it, and the books of what that has meant."""

    def __init__(self) -> None:
        self.books: Counter[str] = Counter()
        self.kinds: dict[str, entries.Kind] = {}
        self.keys: set[str] = set()
        begun = session.begin("s", 100_000, 50_000)
        self.session, self.paid, self.numbers = begun.facts, 0, iter(range(10**6))
        self.invoices = {w.id: self._invoice(w.id, w.amount_msat) for w in begun.wanted}
        self.jobs: dict[str, JobFacts] = {}
        self.holds: dict[str, HoldFacts] = {}

    def _invoice(self, name: str, amount_msat: int) -> InvoiceFacts:
        account = entries.of_session("s")
        return InvoiceFacts(name, account, InvoiceState.OPEN, amount_msat, f"hash of {name}")

    def post(self, decision: Decision[Any]) -> None:
        """Do what the shell does with a decision, but for promises."""
        for entry in decision.entries:
            assert entry.key not in self.keys, "posted twice"
            self.keys.add(entry.key)
            for posting in entry.postings:
                kind = self.kinds.setdefault(posting.account.name, posting.account.kind)
                self.books[posting.account.name] += posting.amount * kind.sign
        for wanted in decision.wanted:
            self.invoices[wanted.id] = self._invoice(wanted.id, wanted.amount_msat)
        for name in decision.dropped:
            if invoice.INVOICE.allows(self.invoices[name].state, invoice.InvoiceEvent.DROPPED):
                facts = self.invoices[name]
                self.invoices[name] = invoice.decide(facts, invoice.Dropped()).facts

    @property
    def facts(self) -> SessionFacts:
        """The session with its balance in the books, as the shell reads it."""
        return replace(self.session, balance_msat=self.books["session:s"])

    def tell(self, event: session.Event) -> None:
        """Tell the session something."""
        decision = session.decide(self.facts, event)
        self.session = decision.facts
        self.post(decision)

    def pay(self, n: int, amount: int) -> None:
        """Pay one of its invoices, whatever has become of it; some pay more than is asked."""
        name = sorted(self.invoices)[n % len(self.invoices)]
        facts, what = self.invoices[name], named(name).what.rstrip("0123456789")
        meaning = session.awaits(self.session.state, Purpose(what))
        received = facts.amount_msat + amount % 5_000
        decision = invoice.decide(facts, invoice.Paid(received, awaited=meaning is not None))
        self.invoices[name], self.paid = decision.facts, self.paid + received
        self.post(decision)
        if meaning is not None:
            self.tell(meaning)

    def top_up(self, n: int, amount: int) -> None:
        """Ask for a top-up."""
        if SESSION.allows(self.session.state, session.SessionEvent.TOPPED_UP):
            decision = session.ask_topup(self.session, amount)
            self.session = decision.facts
            self.post(decision)

    def reserve(self, n: int, amount: int) -> None:
        """Begin a request: a job, or a call that streams."""
        name = f"r{next(self.numbers)}"
        if n % 2:
            begun = job.begin_reserved(name, "s", 5_000, _quote(amount))
            self.tell(session.Reserved(begun.facts.prepaid_amount))
            self.post(begun)
            self.jobs[name] = begun.facts
        else:
            held = hold.begin(name, amount, "s")
            self.tell(session.Reserved(amount))
            self.post(held)
            self.holds[name] = held.facts

    def end(self, n: int, amount: int) -> None:
        """End a request, in one of the ways that it can end."""
        running = sorted(self.jobs | self.holds)
        if not running:
            return
        name = running[n % len(running)]
        ended: Decision[Any]
        if name in self.holds:
            event = (hold.LetGo(), hold.Used(amount), hold.Broke(amount))[n % 3]
            before = self.holds.pop(name)
            ended = hold.decide(before, event)
            ceiling, back = before.amount_msat, before.amount_msat - ended.facts.charge_msat
        else:
            facts, done = self.jobs.pop(name), job.Finished("text", Usage(amount, amount))
            ends: list[job.Event] = [job.Declined("no"), job.Broke("x"), done]
            end = ends[n % 3]
            if end is done:
                facts = job.decide(facts, job.Begun()).facts
            ended = job.decide(facts, end)
            ceiling, back = facts.prepaid_amount, job.given_back_amount(ended.facts)
        released = session.decide(self.facts, session.Released(ceiling, back))
        self.session = released.facts
        self.post(ended)
        self.post(released)

    def check(self) -> None:
        """Hold the books to the law."""
        for name, balance in self.books.items():
            assert balance >= 0, f"{name} is overdrawn"
        signs = {name: kind.sign for name, kind in self.kinds.items()}
        assert sum(signs[name] * balance for name, balance in self.books.items()) == 0
        assert self.books["rail:lightning"] == self.paid
        assert self.session.balance_msat == self.books["session:s"]
        aside = sum(facts.prepaid_amount for facts in self.jobs.values())
        aside += sum(facts.amount_msat for facts in self.holds.values())
        assert self.session.reserved_msat == aside
        assert aside == sum(self.books[f"job:{name}"] for name in self.jobs) + sum(
            self.books[f"hold:{name}"] for name in self.holds
        )
        over = self.session.state is SessionState.EXPIRED and not aside
        if over or self.session.state is SessionState.AWAITING_PAYMENT:
            assert self.books["session:s"] == 0


def _quote(amount: int) -> Quote:
    return make_quote(CARD, "smollm2-135m-instruct", amount, amount, PRICE, NOW, 3600)


STEPS: dict[str, Callable[[World, int, int], None]] = {
    "pay": World.pay,
    "top up": World.top_up,
    "reserve": World.reserve,
    "end": World.end,
    "close": lambda world, n, amount: world.tell(session.Closed()),
    "idle": lambda world, n, amount: world.tell(session.Idled()),
    "lapse": lambda world, n, amount: world.tell(session.Lapsed()),
}
LIKELY = ["pay", "top up", "reserve", "reserve", "reserve", "end", "end", "end"]
steps = st.tuples(
    st.sampled_from([*LIKELY, "close", "idle", "lapse"]),
    st.integers(0, 30),
    st.integers(1, 60_000),
)


@settings(max_examples=300)
@given(schedule=st.lists(steps, max_size=60))
def test_no_schedule_overdraws_a_session_or_loses_a_msat(
    schedule: list[tuple[str, int, int]],
) -> None:
    """Whatever is paid, asked, ended and closed, in any order: every msat is somewhere."""
    world = World()
    world.pay(0, 0)
    for name, n, amount in schedule:
        with suppress(IllegalTransition, session.Short):  # refused, and nothing of it has happened
            STEPS[name](world, n, amount)
        world.check()
    while world.jobs or world.holds:
        world.end(1, 1)
        world.check()
    if world.session.state is not SessionState.EXPIRED:
        world.tell(session.Closed())
    world.check()
    owed = sum(balance for name, balance in world.books.items() if name.startswith("refund:"))
    earned = world.books["revenue:eval"] + world.books["revenue:work"]
    assert owed + earned == world.paid
