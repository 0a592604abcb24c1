"""Notices: wanted in the transaction of the event that they tell of, and sent until they arrive.

A receiver has one promise that waits, due when the first of his notices is. What is told comes last
in its transaction: nothing is locked after a notice.
"""

from datetime import timedelta

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from db import webhooks
from db.webhooks import NewWebhook, Try
from statemachine import notice as law
from statemachine.machine import IllegalTransition
from statemachine.notice import NoticeState
from statemachine.owner import Owner
from statemachine.promises import Notify

KEPT = timedelta(days=30)  # after its last event, what a webhook was told can still be looked up


async def register(act: Act, owner: Owner, webhook: NewWebhook | None) -> None:
    """Write where a job, a session or a batch that is made just now tells of its events."""
    if webhook is not None:
        await webhooks.insert(act.tx, owner, webhook, act.now)


async def tell(act: Act, owner: Owner, what: str) -> None:
    """Have the webhook of a job, a session or a batch hear of an event, if it has one.

    `what` is the state that it is in now: "complete" makes "job.complete" to a webhook of a job.
    """
    told = await webhooks.of_owner(act.tx, owner)
    if told is None:
        return
    begun = law.begin(act.new_id(), told.receiver)
    await webhooks.insert_notice(
        act.tx, begun.facts, told.id, law.event_name(told.topic, what), act.now
    )
    await _promise(act, told.receiver)


async def answered(act: Act, notice_id: str, tried: Try, event: law.Event) -> Outcome:
    """Log a try, and apply what it came to. Replayed when that try was logged before."""
    row = await webhooks.lock_notice(act.tx, notice_id)
    if row is None:
        return Missing()
    if row.tries + 1 != tried.number:
        return Replayed()
    try:
        after = law.decide(row.facts, event).facts
    except IllegalTransition:
        return Replayed()
    await webhooks.insert_try(act.tx, notice_id, tried)
    await _move(act, after)
    return Applied()


async def resend(act: Act, notice_id: str) -> Outcome:
    """Have a notice sent again now, whatever became of it."""
    row = await webhooks.lock_notice(act.tx, notice_id)
    if row is None:
        return Missing()
    await _move(act, law.decide(row.facts, law.Resent()).facts)
    return Applied()


async def recover(act: Act, receiver: str) -> Outcome:
    """Make the promise of a receiver again that was lost with its keeper, if that is so."""
    if await act.outbox.is_staged(Notify(receiver).key):
        return Replayed()
    await _promise(act, receiver)
    return Applied()


async def _move(act: Act, after: law.NoticeFacts) -> None:
    is_wanted = after.state is NoticeState.WANTED
    pause_s = after.pause_s if is_wanted else 0
    await webhooks.move_notice(act.tx, after, act.now + timedelta(seconds=pause_s), act.now)
    await _promise(act, after.receiver)


async def _promise(act: Act, receiver: str) -> None:
    """Have a receiver served when the first of his notices is due.

    What waits is withdrawn before it is looked when that is: whoever commits in between has made
    a promise of his own. Who has missed something comes after those who have not.
    """
    promise = Notify(receiver)
    await act.outbox.withdraw(act.tx, promise)
    due_at, has_missed = await webhooks.next_of(act.tx, receiver)
    if due_at is not None:
        at = due_at if due_at > act.now else None
        await act.outbox.stage(act.tx, promise, at, priority=-1 if has_missed else 0)
