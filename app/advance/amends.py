"""Amends: a batch's buyer has back what a worker has forfeited, from where his payment came."""

from app.advance import batches, sessions
from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.writing import perform
from db import amends, balances, people
from db import batches as batch_rows
from db.batches import BatchRow
from statemachine import amends as law
from statemachine.amends import AmendsFacts
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition


async def make(act: Act, amends_id: str, batch_id: str) -> Outcome:
    """Make amends to a batch's buyer. Replayed: they were made before."""
    batch = await batch_rows.lock(act.tx, batch_id)
    row = await amends.lock(act.tx, amends_id)
    if batch is None or row is None or row.batch_id != batch_id:
        return Missing()
    to = batch_rows.facts_of(batch).balance_for(row.amount)
    number = await amends.next_number(act.tx, batch_id)
    try:
        decision = law.decide(amends.facts_of(row), law.Made(number, to))
    except IllegalTransition:
        return Replayed()
    await amends.move(act.tx, decision.facts, act.now)
    if batch.session_id is not None:
        await _on_session(act, batch, batch.session_id, row.amount, decision)
    else:
        await perform(act, batches.payee_of(batch), decision)
    if batch.account_id is not None:
        await people.tell(act.tx, batch.account_id)
    await batches.touch(act, batch, "amends_made")
    return Applied()


async def _on_session(
    act: Act, batch: BatchRow, session_id: str, amount: int, decision: Decision[AmendsFacts]
) -> None:
    """Bring them on a session's balance; when that is over, they go on to its holder."""
    payer = await balances.lock_to_spend(act.tx, session_id)
    assert payer is not None, "a batch outlives its session's row"
    rest = sessions.releasing(payer, 0, amount)
    await perform(act, batches.payee_of(batch), decision)
    await sessions.released(act, payer.row, rest, None, amount)
