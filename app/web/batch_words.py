"""What a batch's page says: a headline, a sentence, and how each of its items stands."""

from app.trade.catalogue import Kind
from app.web.words import number
from db.batches import BatchView
from db.items import ItemView
from statemachine.batch import BatchState, Funding
from statemachine.item import ItemState
from statemachine.owner import Reason

STEPS = ("Payment", "Queue", "Making")
BEHIND = {BatchState.AWAITING_PAYMENT: 0, BatchState.QUEUED: 1, BatchState.PROCESSING: 2}
ITEM_WORDS = {
    ItemState.WAITING: "Waits for others",
    ItemState.PENDING: "In the queue",
    ItemState.CLAIMED: "Begun",
    ItemState.PROCESSING: "Being made",
    ItemState.COMPLETED: "Done",
    ItemState.FAILED: "Failed",
    ItemState.DEAD_LETTER: "Failed",
    ItemState.CANCELLED: "Not made",
}
WHERE_THE_REST_IS = {
    Funding.INVOICE: "refunded",
    Funding.SESSION: "back on the session’s balance",
    Funding.ACCOUNT: "back on your balance",
    Funding.X402: "sent back to the address that paid",
    Funding.HOUSE: "the house’s again",
}
NAMES = {
    Kind.IMAGE: "picture",
    Kind.VIDEO: "film",
    Kind.TOOL: "result",
    Kind.AGENT: "answer",
}
FROM_BALANCE = (Funding.SESSION, Funding.ACCOUNT, Funding.HOUSE)


def things(count: int, *, kind: Kind) -> str:
    """Return how many pictures, films or results those are."""
    name = NAMES[kind]
    return f"{number(count)} {name}{'' if count == 1 else 's'}"


def was_paid(row: BatchView) -> bool:
    """Say whether a batch was paid for, in time."""
    if row.state is BatchState.AWAITING_PAYMENT:
        return False
    if row.state is not BatchState.CANCELLED or row.funding in FROM_BALANCE:
        return True
    # Little of USDC is no payout: then whoever cancelled it had most likely paid.
    by_order = row.funding is Funding.X402 and row.called_off
    return _is_sent_back(row) or bool(row.charged_amount) or by_order


def _is_sent_back(row: BatchView) -> bool:
    return any(payout.reason is Reason.UNDELIVERED for payout in row.payouts)


def head_of(row: BatchView, *, kind: Kind) -> tuple[str, str]:
    """Return the headline and the sentence below it."""
    every, made = things(row.items, kind=kind), number(row.delivered)
    they = "It" if row.items == 1 else "They"
    match row.state:
        case BatchState.AWAITING_PAYMENT:
            return f"Pay for {every}", "You pay only for what is delivered; the rest is refunded."
        case BatchState.QUEUED:
            return "In the queue", f"Paid. {they} will be made as soon as it’s your turn."
        case BatchState.PROCESSING if row.called_off:
            return "Cancelling", f"What is being made is finished first. {made} done."
        case BatchState.PROCESSING:
            lost = f", {number(row.failed)} failed" if row.failed else ""
            return f"Making {every}", f"{made} of {number(row.items)} done{lost}."
        case BatchState.COMPLETED if row.delivered == row.items:
            return "Done", "Here it is." if row.items == 1 else f"All {every} are here."
        case BatchState.COMPLETED:
            return "Done", f"{made} of {every} could be made. {_rest(row)}"
        case BatchState.FAILED:
            none = "It couldn’t" if row.items == 1 else f"None of the {every} could"
            return "Failed", f"{none} be made. {_rest(row)}"
        case _ if not was_paid(row):
            return "Cancelled", "This was cancelled before it was paid. Nothing was charged."
        case _:
            return "Cancelled", f"{made} of {every} had been made. {_rest(row)}"


def _rest(row: BatchView) -> str:
    """Return where what was not charged is."""
    share = "What you paid" if not row.delivered else "The rest of what you paid"
    if row.funding is Funding.X402 and not _is_sent_back(row):
        return f"{share} is on the balance of your wallet’s account."
    return f"{share} is {WHERE_THE_REST_IS[row.funding]}."


def steps_of(row: BatchView) -> list[tuple[str, str]]:
    """Return the way of a batch as (step, where it stands): done, now, stopped or next."""
    behind = BEHIND.get(row.state, len(STEPS))
    stopped = row.state in (BatchState.FAILED, BatchState.CANCELLED)
    if stopped:
        behind = len(STEPS) - 1 if was_paid(row) else 0
    return [
        (name, "done" if at < behind else "next" if at > behind else "stop" if stopped else "now")
        for at, name in enumerate(STEPS)
    ]


def item_says(row: BatchView, item: ItemView) -> str:
    """Return how an item stands, in a word or two."""
    if item.state is ItemState.PROCESSING and item.progress:
        return f"{ITEM_WORDS[item.state]}: {item.progress} %"
    if item.state is ItemState.PENDING and item.tries:
        return "Tried again soon"
    return ITEM_WORDS[item.state]
