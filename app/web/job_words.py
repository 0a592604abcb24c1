"""What a job's page says: a headline, a sentence, and the bill with its total."""

from dataclasses import dataclass

from app.http.job_status import charged_in_usdc, price_in_usdc
from app.web.words import with_unit
from db.jobs import JobView
from pricing.quote import Quote
from statemachine.entries import Asset
from statemachine.job import CANCELLED, JOB, NOT_SETTLED, Funding, JobState
from statemachine.owner import Reason

HEADLINES = {
    JobState.AWAITING_EVAL_PAYMENT: (
        "Pay the evaluation fee",
        "Once this small invoice is paid, an agent reads your request and offers a price.",
    ),
    JobState.EVALUATING: (
        "Evaluating",
        "An agent is reading your request to see whether it can do it, and at what price.",
    ),
    JobState.AWAITING_WORK_PAYMENT: (
        "Pay for the work",
        "The agent accepted your request. This is the maximum price; you get back whatever isn’t"
        " used.",
    ),
    JobState.EXECUTING: ("Working", "Paid. The agent is working on it."),
    JobState.COMPLETE: ("Done", "Here is your result."),
}
FIRM = ("Pay for the job", "One invoice pays for the evaluation and the work.")
SIGNED = ("Confirming the payment", "The job begins as soon as the payment in USDC is confirmed.")
# Why money goes back when work has failed.
BROKEN = {Reason.NOT_DONE, Reason.NOT_EVALUATED, Reason.NOT_NEEDED}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill, in the smallest unit of what the job was paid for in."""

    name: str
    amount: int
    is_total: bool = False


def is_cancelled(row: JobView) -> bool:
    """Say whether a failed job was cancelled, or not paid in time: nothing of it broke."""
    if row.state is not JobState.FAILED or row.funding == Funding.SESSION:
        return False
    if row.funding is Funding.X402:  # what is little goes back without a payout
        return row.error in (CANCELLED, NOT_SETTLED)
    return not any(payout.reason in BROKEN for payout in row.payouts)


def kept_msat(row: JobView) -> int:
    """Return what an ended job has cost its buyer."""
    match row.state:
        case JobState.FAILED:
            evaluated = row.funding == Funding.INVOICES and row.quote
            return int(row.eval_msat) if evaluated else 0
        case _:
            worked_msat = row.charge["total_msat"] if row.charge else 0
            return int(row.eval_msat + worked_msat)


def head_of(row: JobView) -> tuple[str, str]:
    """Return the headline and the sentence below it."""
    state, funding = row.state, row.funding
    fee = f"The evaluation fee of {with_unit(fee_of(row), asset_of(row))} is kept"
    match state:
        case JobState.REJECTED:
            rest = {
                Funding.INVOICES: "nothing else was charged.",
                Funding.INVOICE: "the rest is refunded.",
                Funding.SESSION: "the rest is back on the session’s balance.",
                Funding.X402: "the rest goes back to the address that paid, or to its balance.",
            }[funding]
            return "Declined", f"The agent read your request and declined it. {fee}; {rest}"
        case JobState.FAILED if is_cancelled(row):
            if kept_msat(row):
                said = f"This job was cancelled after the evaluation. {fee}; nothing else was"
                return "Cancelled", f"{said} charged."
            return "Cancelled", "This job was cancelled before it was paid. Nothing was charged."
        case JobState.FAILED if funding is Funding.SESSION:
            return "Failed", "Something went wrong on our side. Nothing was charged."
        case JobState.FAILED:
            return "Failed", "Something went wrong on our side. Your refund is below."
        case JobState.AWAITING_EVAL_PAYMENT if funding is Funding.INVOICE:
            return FIRM
        case JobState.AWAITING_EVAL_PAYMENT if funding is Funding.X402:
            return SIGNED
        case _:
            return HEADLINES[state]


def asset_of(row: JobView) -> Asset:
    """Return in what a job is paid for."""
    return Asset.MICROUSDC if row.funding is Funding.X402 else Asset.MSAT


def fee_of(row: JobView) -> int:
    """Return the fee of a job's evaluation, in what it is paid for in."""
    return row.eval_msat if asset_of(row) is Asset.MSAT else row.eval_microusdc or 0


def bill_in_usdc(row: JobView) -> list[Line]:
    """Return what a job costs that is paid for in USDC, line by line."""
    price, charged = price_in_usdc(row), charged_in_usdc(row)
    if not JOB.final(row.state):
        return [Line("Total, at most", price, is_total=True)]
    if is_cancelled(row):
        return [Line("Price", price), Line("Total", 0, is_total=True)]
    return [Line("Paid", price), Line("Not needed", price - charged),
            Line("Total", charged, is_total=True)]  # fmt: skip


def bill_of(row: JobView, quote: Quote | None) -> list[Line]:
    """Return what a job costs, line by line; the evaluation is a part of the total."""
    if row.funding is Funding.X402:
        return bill_in_usdc(row)
    ended, charge = JOB.final(row.state), row.charge
    lines = [Line("Evaluation", row.eval_msat)]
    if quote:
        lines.append(Line("Work, at most", quote.total_msat))
    if charge:
        lines.append(Line("Work, actual price", charge["total_msat"]))
    if ended:
        lines.append(Line("Total", kept_msat(row), is_total=True))
    elif quote:
        lines.append(Line("Total, at most", row.eval_msat + quote.total_msat, is_total=True))
    if charge:
        lines.append(Line("Refund", charge["surplus_msat"]))
    return lines
