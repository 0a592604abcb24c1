"""The lanes of promises: those of one lane never wait for those of another."""

from enum import StrEnum
from typing import Final

from statemachine.promises import FetchInvoice, Notify, PayInvoice, Promise, SendUsdc


class Lane(StrEnum):
    """Promises of one lane never wait for those of another: each has workers of its own."""

    PROMISES = "promises"  # invoices, judging, working
    PAYOUTS = "payouts"  # what a payee can hold up
    NOTICES = "notices"  # what a receiver of webhooks can hold up


QUEUES: Final = [lane.value for lane in Lane]


def lane_of(kind: type[Promise]) -> Lane:
    """Return the lane of a kind of promise."""
    if kind is Notify:
        return Lane.NOTICES
    return Lane.PAYOUTS if kind in (PayInvoice, FetchInvoice, SendUsdc) else Lane.PROMISES
