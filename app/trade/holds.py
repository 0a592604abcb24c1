"""Money set aside while a call is answered as it runs: a stream of a model, or a free demo.

The maximum price is set aside before the model is asked, and the true cost is charged at the end.
When this process dies in between, the hold is released after a while and nothing is charged.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app import advance
from app.advance import Act, Applied, Outcome, Purse, Shell, Short, Spending
from app.advance.holds import Payer
from app.ports import Clock
from app.refusal import Refusal, Why, unavailable
from db import sessions
from db.engine import Database
from payments.grant import Grant
from pricing.money import Msat, sats_down, sats_up
from statemachine import hold as law
from statemachine.session import SessionState


@dataclass
class Held:
    """What is set aside for one call. The caller sets at the end what it cost."""

    id: str
    ceiling_msat: Msat
    charge_msat: int = 0  # nothing is charged unless it is set
    spent_msat: int = 0  # by the house, on a call that broke and that nobody pays for
    payer: Payer | None = None  # None: the house
    beside: Callable[[Act], Awaitable[None]] | None = None  # written when it ends, or neither is

    def charge(self, charge_msat: int) -> None:
        """Set what the call has cost so far; more than the ceiling is never charged."""
        self.charge_msat = charge_msat

    def lose(self, cost_msat: int) -> None:
        """Set that the call broke, and what it had cost: a session isn't charged for it.

        For a call that is free the house pays in any case, as much of it as it gives away.
        """
        if self.is_given:
            self.charge(min(cost_msat, self.ceiling_msat))
        else:
            self.charge_msat, self.spent_msat = 0, cost_msat

    @property
    def is_given(self) -> bool:
        """Say whether the house pays; else a session does."""
        return self.payer is None

    @property
    def end(self) -> law.Event:
        """How it ends, as things stand."""
        if self.charge_msat:
            return law.Used(self.charge_msat)
        return law.Broke(self.spent_msat) if self.spent_msat else law.LetGo()


@dataclass(frozen=True, slots=True)
class Unseen:
    """A credential whose session's row nobody has looked at yet: that costs a way to Postgres, and
    what sets money aside can look on the same way.
    """

    nonce: str
    look: Callable[[], Awaitable[None]]  # refuses what the row has something against


@contextlib.asynccontextmanager
async def looked_at_first(unseen: Unseen | None) -> AsyncIterator[None]:
    """Have nothing refused in this block before a credential that isn't valid is."""
    try:
        yield
    except Exception:
        if unseen is not None:
            await unseen.look()
        raise


def spending_of(grant: Grant) -> Spending:
    """Return which credentials a session pays for, in the form that the shell takes."""
    budgets = tuple((budget.link, int(budget.limit_msat)) for budget in grant.budgets)
    return Spending(grant.links, budgets)


@dataclass(frozen=True, slots=True)
class Holds:
    """The desk that sets money aside, and ends each hold."""

    db: Database
    shell: Shell
    clock: Clock
    new_id: Callable[[], str]
    free_sats_per_day: int
    unfinished: set[asyncio.Task[object]] = field(default_factory=set)  # waited for at the end

    @contextlib.asynccontextmanager
    async def from_session(
        self,
        session_id: str,
        grant: Grant,
        purpose: str,
        ceiling_msat: Msat,
        unseen: Unseen | None = None,
    ) -> AsyncIterator[Held]:
        """Set a call's ceiling aside from a session's balance.

        Raises Refusal: 401 where its credential is unseen yet and isn't valid, 402 when the balance
        or a budget is too low, 403 when it is more than the credential allows for one request, 409
        and 410 when the session is not active.
        """
        async with looked_at_first(unseen):
            check_most(grant, ceiling_msat)
        spending = spending_of(grant)
        links = tuple(link for link, _ in spending.budgets)
        held = Held(self.new_id(), ceiling_msat, payer=Payer(session_id, ceiling_msat, links))
        asked = held.id, purpose, ceiling_msat, session_id, spending
        outcome: Outcome | Short | None = None
        if unseen is not None:
            outcome = await self.shell.do(advance.holds.begin_shown, *asked, unseen.nonce)
            if outcome is None:
                await unseen.look()
        if outcome is None:
            outcome = await self.shell.do(advance.holds.begin, *asked)
        if not isinstance(outcome, Applied):
            raise await refused(self.db, session_id, outcome)
        async with self._ending(held):
            yield held

    @contextlib.asynccontextmanager
    async def free(self, purpose: str, ceiling_msat: Msat) -> AsyncIterator[Held]:
        """Set a call's ceiling aside from what the house gives away today.

        Raises Refusal: 503 when today's share is used up, or there is none.
        """
        held = Held(self.new_id(), ceiling_msat)
        outcome = await self.shell.do(advance.holds.begin_free, held.id, purpose, ceiling_msat)
        if isinstance(outcome, Short):
            raise _nothing_free(self.free_sats_per_day, self.clock())
        async with self._ending(held):
            yield held

    @contextlib.asynccontextmanager
    async def _ending(self, held: Held) -> AsyncIterator[None]:
        """End the hold whatever happens: charge its cost, or release it."""
        try:
            yield
        finally:
            # The caller may be gone, and its coroutine cancelled: the hold is ended all the same.
            await self._finish(self._end(held))

    async def _end(self, held: Held) -> None:
        event, payer, beside = held.end, held.payer, held.beside
        if payer is not None and beside is None:
            await self.shell.do(advance.holds.end_known, held.id, event, payer)
            return

        async def end(act: Act) -> None:
            await advance.holds.end(act, held.id, event, payer)
            if beside is not None:
                await beside(act)

        await self.shell.do(end)

    async def _finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Run this to its end, even if the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self.unfinished.add(task)
        task.add_done_callback(self.unfinished.discard)
        await asyncio.shield(task)


def check_most(grant: Grant, ceiling_msat: int) -> None:
    """Refuse with 403 what is more than a credential allows for one request."""
    if grant.max_msat is not None and ceiling_msat > grant.max_msat:
        raise Refusal(
            Why.OVER_MACAROON_LIMIT,
            f"This may cost up to {sats_up(ceiling_msat)} sats, and the macaroon allows"
            f" {sats_up(grant.max_msat)} a request.",
            "Send a shorter request, or use the macaroon that this one was made from.",
        )


async def refused(db: Database, session_id: str, outcome: Outcome | Short) -> Refusal:
    """Return why a session does not pay for a request."""
    if isinstance(outcome, Short):
        needed, left = sats_up(outcome.needed), sats_down(outcome.left)
        if outcome.purse is Purse.BUDGET:
            sentence = f"This may cost up to {needed} sats, and the macaroon's budget has {left}."
            return Refusal(
                Why.BUDGET_TOO_LOW, sentence, "Use the macaroon that this one was made from."
            )
        return Refusal(
            Why.BALANCE_TOO_LOW,
            f"This may cost up to {needed} sats, and the session's balance is {left}.",
            f"Top it up with POST /api/sessions/{session_id}/topup. What a request does not"
            " need goes back to the balance when it is done.",
            balanceSats=left,
            neededSats=needed,
        )
    return await not_active(db, session_id)


async def not_active(db: Database, session_id: str) -> Refusal:
    """Return why a session can't pay for a request just now."""
    row = await sessions.get(db, session_id)
    match row.state if row else SessionState.EXPIRED:
        case SessionState.EXPIRED:
            return Refusal(
                Why.CLOSED,
                "This session is closed.",
                "Open another with POST /api/sessions. What was left of this one is owed back:"
                f" see GET /api/sessions/{session_id}.",
            )
        case SessionState.PAUSED:
            return Refusal(
                Why.PAUSED,
                "This session is paused: its balance is below the minimum.",
                f"Top it up with POST /api/sessions/{session_id}/topup.",
            )
        case SessionState.AWAITING_PAYMENT:
            return Refusal(
                Why.NOT_PAID, "This session's deposit is not paid yet.", "Pay its invoice."
            )
        case SessionState.ACTIVE:
            return Refusal(Why.NOT_READY, "This session was not ready.", "Send the request again.")


def _nothing_free(sats_a_day: int, now: datetime) -> Refusal:
    if not sats_a_day:
        return unavailable(Why.NOTHING_FREE, "Free requests are closed on this server.", 3600)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    left_s = int((tomorrow - now).total_seconds()) + 1
    return unavailable(Why.FREE_SPENT, "Today's free requests are used up.", left_s)
