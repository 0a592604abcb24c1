"""Sessions: prepaid balances that pay for requests. A request's ceiling is set aside first."""

from datetime import datetime, timedelta

from app.advance import notices
from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Purse, Replayed, Short, Spending
from app.advance.writing import Payee, invoice_until, perform, write_first
from db import balances, sessions
from db.balances import Spendable
from db.invoices import MadeInvoice
from db.lapsed_tables import LapsedInvoice
from db.sessions import SessionRow
from db.webhooks import NewWebhook
from payments import rail
from statemachine import session as law
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner, OwnerKind, Purpose
from statemachine.session import SessionState


async def begin(
    act: Act,
    session_id: str,
    opened: rail.Opened,
    refund_to: str | None,
    nonce: str,
    claim_sha256: str,
    webhook: NewWebhook | None = None,
) -> MadeInvoice:
    """Create a session with its deposit's invoice, made by the rail before, and return that."""
    minimum_msat = act.terms.session_minimum_msat
    decision = law.begin(session_id, opened.amount_msat, minimum_msat)
    until = invoice_until(act)
    await sessions.insert(act.tx, decision.facts, refund_to, nonce, claim_sha256, until, act.now)
    await notices.register(act, _owner(session_id), webhook)
    return await write_first(act, _owner(session_id), decision, opened)


async def ask_topup(act: Act, session_id: str, opened: rail.Opened) -> MadeInvoice | Outcome:
    """Give a session a top-up's invoice, made by the rail before, and return that.

    Replayed when it is not open for one, or one is pending.
    """
    locked = await balances.lock_to_spend(act.tx, session_id)
    if locked is None:
        return Missing()
    row, facts = locked.row, sessions.facts_of(locked.row, locked.balance_msat)
    if not law.SESSION.allows(facts.state, law.SessionEvent.TOPPED_UP):
        return Replayed()
    if await sessions.pending_topup(act.tx, session_id) is not None:
        return Replayed()
    decision = law.ask_topup(facts, opened.amount_msat)
    await sessions.move(act.tx, row, decision.facts, row.expires_at, act.now)
    invoice = await write_first(act, _owner(session_id), decision, opened)
    await touch(act, row, "topup_invoice_opened")
    return invoice


async def close(act: Act, session_id: str, refund_to: str | None = None) -> Outcome:
    """End a session. What it owes, now or when its last request is done, goes to `refund_to`."""
    if refund_to:
        await sessions.direct(act.tx, session_id, refund_to)
    row = await sessions.lock(act.tx, session_id)
    return Missing() if row is None else await step(act, row, law.Closed())


async def idle(act: Act, session_id: str) -> Outcome:
    """Close a session that was not used for too long, if that is so."""
    row = await sessions.lock(act.tx, session_id)
    if row is None or row.expires_at > act.now or row.reserved_msat:
        return Replayed()  # somebody has, at the last moment
    return await step(act, row, law.Idled())


def _owner(session_id: str) -> Owner:
    return Owner(OwnerKind.SESSION, session_id)


def payee_of(row: SessionRow) -> Payee:
    """Return who is paid what is owed by a session."""
    return Payee(_owner(row.id), row.refund_to)


async def touch(act: Act, row: SessionRow, _: str) -> None:
    """Count a change of a locked session that others can see, and tell whoever waits for one."""
    await sessions.touch(act.tx, row.id, act.now)


async def restore(act: Act, session_id: str, kept: LapsedInvoice) -> None:
    """Have a session there again that was purged, as its deposit was not paid."""
    if kept.purpose is not Purpose.DEPOSIT:
        return  # its top-up was purged, and nothing else
    begun = law.begin(session_id, kept.amount_msat, act.terms.session_minimum_msat)
    # Nobody ever held its credential, so another one is as good: who paid is shown it.
    nonce, now = act.new_id(), act.now
    await sessions.insert(act.tx, begun.facts, kept.refund_to, nonce, None, now, now)
    row = await sessions.lock(act.tx, session_id)
    assert row is not None, "it was just written"
    after = law.decide(begun.facts, law.Lapsed())
    await sessions.move(act.tx, row, after.facts, row.expires_at, now)


async def step(act: Act, row: SessionRow, event: law.Event) -> Outcome:
    """Apply an event to a locked session."""
    facts = sessions.facts_of(row, await balances.balance(act.tx, row.id))
    try:
        decision = law.decide(facts, event)
    except IllegalTransition:
        return Replayed()
    expires_at = row.expires_at
    if isinstance(event, law.Deposited | law.ToppedUp):
        expires_at = idle_from(act)
    await sessions.move(act.tx, row, decision.facts, expires_at, act.now)
    await perform(act, payee_of(row), decision)
    await _tell(act, row, decision.facts)
    return Applied()


async def _tell(act: Act, row: SessionRow, after: law.SessionFacts) -> None:
    """Have its webhook hear of a session's new state; of one that nobody has paid for, nobody."""
    never_paid = (SessionState.AWAITING_PAYMENT, SessionState.EXPIRED)
    if after.state is not row.state and (row.state, after.state) != never_paid:
        await notices.tell(act, _owner(row.id), after.state)


async def reserve(
    act: Act, session_id: str, spending: Spending, amount_msat: int
) -> Outcome | Short:
    """Set a request's ceiling aside. The entry that moves the money is the request's own."""
    if await _set_aside(act, session_id, spending, amount_msat):
        return Applied()
    no = await why_not(act, session_id, spending, amount_msat)
    if no is None:  # it can by now, and the session is locked
        is_done = await _set_aside(act, session_id, spending, amount_msat)
        assert is_done, "the law and its grounds are at odds"
    return no or Applied()


async def _set_aside(act: Act, session_id: str, spending: Spending, amount_msat: int) -> bool:
    grounds, idle_at = law.grounds(law.Reserved(amount_msat)), idle_from(act)
    return await balances.set_aside(act.tx, session_id, grounds, spending.budgets, idle_at, act.now)


async def why_not(
    act: Act, session_id: str, spending: Spending, amount_msat: int
) -> Outcome | Short | None:
    """Lock a session, and return why no such amount can be set aside on it; None: it can."""
    locked = await balances.lock_to_spend(act.tx, session_id, spending.budgets)
    if locked is None:
        return Missing()
    row, balance_msat, left_msat = locked
    try:
        law.decide(sessions.facts_of(row, balance_msat), law.Reserved(amount_msat))
    except IllegalTransition:
        return Replayed()
    except law.Short:
        return Short(Purse.BALANCE, amount_msat, balance_msat)
    # Budgets are read and written under the lock of their session.
    if left_msat is not None and left_msat < amount_msat:
        return Short(Purse.BUDGET, amount_msat, left_msat)
    return None


def idle_from(act: Act) -> datetime:
    """Return when a session that is used now has not been used for too long."""
    return act.now + timedelta(seconds=act.terms.session_idle_s)


def releasing(payer: Spendable, amount_msat: int, back_msat: int) -> Decision[law.SessionFacts]:
    """Return what the end of a request means to its session, before anything is posted."""
    facts = sessions.facts_of(payer.row, payer.balance_msat)
    return law.decide(facts, law.Released(amount_msat, back_msat))


async def released(
    act: Act,
    row: SessionRow,
    decision: Decision[law.SessionFacts],
    budgets: list[str] | None,
    back_msat: int,
) -> None:
    """Write that down, after the entry that gave `back_msat` back.

    When the session is over, what came back goes on to its holder.
    """
    if budgets and back_msat:
        await balances.unspend(act.tx, budgets, back_msat)
    await sessions.move(act.tx, row, decision.facts, row.expires_at, act.now)
    await perform(act, payee_of(row), decision)
    await _tell(act, row, decision.facts)
