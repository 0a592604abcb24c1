"""Invoices: money that comes in is kept where it was awaited, and owed back where it was not."""

from dataclasses import replace
from typing import get_args

from statemachine import invoice
from statemachine.entries import of_job
from statemachine.invoice import Dropped, InvoiceFacts, InvoiceState, Lapsed, Opened, Paid
from tests.stories.telling import Law, Story, story

LAW = Law(invoice.INVOICE, invoice.decide, get_args(invoice.Event))
WANTED = InvoiceFacts("j:eval", of_job("j"), InvoiceState.WANTED, 5_000)
OPEN = replace(WANTED, state=InvoiceState.OPEN, payment_hash="h")
SETTLED = "invoice:h:settled"

STORIES: tuple[Story, ...] = (
    story("A payment rests with whom it was asked for", LAW)
    .given(WANTED)
    .refuses(Paid(5_000, awaited=True))
    .hears(Opened("h"))
    .becomes(InvoiceState.OPEN)
    .has(payment_hash="h")
    .hears(Paid(5_000, awaited=True))
    .becomes(InvoiceState.SETTLED)
    .moves(5_000, "rail:lightning", "job:j", SETTLED)
    .refuses(Paid(5_000, awaited=True)),
    story("What was paid over is owed back at once", LAW)
    .given(OPEN)
    .hears(Paid(5_700, awaited=True))
    .becomes(InvoiceState.SETTLED)
    .moves(5_000, "rail:lightning", "job:j", SETTLED)
    .moves(700, "rail:lightning", "refund:j:eval:overpaid", SETTLED)
    .owes("overpaid", 700, "j:eval:overpaid"),
    story("A payment that nobody awaits any more is owed back whole", LAW)
    .given(OPEN)
    .hears(Paid(5_700, awaited=False))
    .becomes(InvoiceState.SETTLED)
    .moves(5_700, "rail:lightning", "refund:j:eval:unawaited", SETTLED)
    .owes("unawaited", 5_700, "j:eval:unawaited"),
    story("A payment below the amount is not believed", LAW)
    .given(OPEN)
    .refuses(Paid(4_999, awaited=True), ValueError)
    .refuses(Paid(4_999, awaited=False), ValueError),
    story("A payment that comes too late is taken in, and owed back whole", LAW)
    .given(OPEN)
    .hears(Lapsed())
    .becomes(InvoiceState.EXPIRED)
    .hears(Paid(5_000, awaited=False))
    .becomes(InvoiceState.SETTLED)
    .moves(5_000, "rail:lightning", "refund:j:eval:unawaited", SETTLED)
    .owes("unawaited", 5_000, "j:eval:unawaited"),
    story("So is one for an invoice that nobody needs any more", LAW)
    .given(OPEN)
    .hears(Dropped())
    .becomes(InvoiceState.CANCELED)
    .hears(Paid(5_000, awaited=False))
    .becomes(InvoiceState.SETTLED)
    .moves(5_000, "rail:lightning", "refund:j:eval:unawaited", SETTLED)
    .owes("unawaited", 5_000, "j:eval:unawaited"),
    story("An invoice that the rail never made can end too", LAW)
    .given(WANTED)
    .hears(Lapsed())
    .becomes(InvoiceState.EXPIRED)
    .refuses(Opened("h")),
    story("The same when nobody needs it any more", LAW)
    .given(WANTED)
    .hears(Dropped())
    .becomes(InvoiceState.CANCELED)
    .refuses(Opened("h")),
)
