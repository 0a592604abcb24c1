"""A job as others see it: only what belongs to its state, in the words of the agent jobs API."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.http.fields import stored_breakdown
from app.http.links import withdraw_code
from app.loops.switchboard import Switchboard
from app.promises.sending import PAUSED
from app.refusal import Refusal, Why
from app.strict_json import moment
from app.trade.refunds import refund_reason
from db.invoices import MadeInvoice
from db.job_events import Line
from db.jobs import JobView, ToPay
from db.payouts import PayoutRow, PayoutView
from db.switches import Name
from pricing.money import msat_to_sats, sats_down, usd_number, usdc_text
from statemachine.entries import Asset
from statemachine.job import Funding, JobState
from statemachine.owner import Purpose, Reason
from statemachine.payout import PayoutFacts, PayoutState
from statemachine.public_id import public_id

# What the invoice that a job waits for is called.
INVOICE_FIELDS = {
    Purpose.EVAL: "evalInvoice",
    Purpose.ASK: "invoice",
    Purpose.WORK: "workInvoice",
}


def unknown_job() -> Refusal:
    """Return what is said of a job that is not there."""
    return Refusal(
        Why.UNKNOWN, "There is no job with this id. Check it, or create one with POST /api/jobs."
    )


@dataclass(frozen=True, slots=True)
class Shapes:
    """Shows jobs, and what belongs to them."""

    is_stub: bool
    switchboard: Switchboard
    least_msat: Callable[[PayoutRow | PayoutView], int]  # that an invoice for a payout may ask for

    def invoice(self, row: MadeInvoice | ToPay) -> dict[str, Any]:
        """Return an invoice of ours as others see it; on the stub, with the hash to pay it by."""
        shape = {
            "paymentRequest": row.bolt11,
            "amountSats": msat_to_sats(row.amount_msat),
            "expiresAt": moment(row.expires_at),
        }
        if self.is_stub:
            shape["paymentHash"] = row.payment_hash
        return shape

    def status(self, row: JobView, base: str | None = None) -> dict[str, Any]:
        """Return a job in the API's words: only what belongs to its state.

        `base` is where wallets reach this server; None when nobody knows.
        """
        shape: dict[str, Any] = {
            "jobId": row.id,
            "publicId": public_id(row.id),
            "state": row.state.value,
            "createdAt": moment(row.created_at),
            "completedAt": moment(row.completed_at) if row.completed_at else None,
        }
        if (to_pay := row.to_pay) is not None:
            shape[INVOICE_FIELDS[to_pay.purpose]] = self.invoice(to_pay)
        quote = row.quote
        shape["evalFeeSats"] = msat_to_sats(row.eval_msat)
        if quote is not None:
            shape["pricingBreakdown"] = stored_breakdown(quote)
            # The price, until it is known what it was in the end.
            work_msat = row.charge["total_msat"] if row.charge else quote["total_msat"]
            shape["totalSats"] = msat_to_sats(row.eval_msat + work_msat)
        shape |= in_usdc(row) | ended_as(row)
        if quote is not None and row.charge:
            shape["costLedger"] = cost_ledger(quote, row.charge, row.payouts)
        if row.payouts:
            shape["refunds"] = [self.refund(payout, base) for payout in row.payouts]
        return shape

    def event(self, row: JobView, line: Line, base: str | None = None) -> dict[str, Any]:
        """Return what happened to a job, as its stream tells it; the newest with the job itself.

        Of what came before it, nobody knows any more how the job looked then.
        """
        shape = {
            "jobId": row.id,
            "version": line.version,
            "event": line.event,
            "state": line.state,
            "at": moment(line.at),
        }
        if line.version == row.version:
            shape["job"] = self.status(row, base)
        return shape

    def refund(self, payout: PayoutRow | PayoutView, base: str | None) -> dict[str, Any]:
        """Return what is owed back, and how it is fetched where wallets reach this server.

        Without `base` for whoever may not take it: the code alone is enough to.
        """
        facts = PayoutFacts(
            id=payout.id,
            state=payout.state,
            amount=payout.amount,
            asset=payout.asset,
            refund_to=payout.refund_to,
            failures=payout.failures,
        )
        shape: dict[str, Any] = {
            "reason": refund_reason(payout.reason),
            **amount_of(payout),
            "refundState": refund_state([payout]),
            "attempts": payout.attempts,
            "destination": "needed" if facts.needs_destination else "known",
        }
        in_msat = payout.asset is Asset.MSAT
        if in_msat and facts.state is PayoutState.OWED and base is not None:
            shape["lnurlWithdraw"] = withdraw_code(base, payout.secret)
        if in_msat and facts.state is PayoutState.OWED and payout.reason.only_passed:
            shape["leastSats"] = sats_down(self.least_msat(payout))
        if facts.state is PayoutState.OWED and not self.switchboard.seen[Name.PAYING_OUT]:
            shape["lastOutcome"] = PAUSED
        elif payout.note:
            shape["lastOutcome"] = payout.note
        return shape


def amount_of(payout: PayoutRow | PayoutView) -> dict[str, Any]:
    """Return what is owed, under a name that says its unit: whole sats, or USDC exactly.

    And by which transaction of its chain that was sent, where one is known.
    """
    if payout.asset is Asset.MSAT:
        return {"amountSats": sats_down(payout.amount)}
    shape = {"amountUsdc": usdc_text(payout.amount)}
    return shape if payout.txid is None else {**shape, "transaction": payout.txid}


def ended_as(row: JobView) -> dict[str, Any]:
    """Return what a job has come to: what it was declined for, made, or failed with."""
    told = {"reason": row.reason, "result": row.result, "errorMessage": row.error}
    shape: dict[str, Any] = {name: said for name, said in told.items() if said is not None}
    if row.truncated:
        shape["truncated"] = True
    return shape


def cost_ledger(
    quote: dict[str, Any], charge: dict[str, Any], payouts: list[PayoutView]
) -> dict[str, Any]:
    """Return what a complete job's work cost, in the API's words."""
    surplus = [payout for payout in payouts if payout.reason == Reason.SURPLUS]
    return {
        "actualInputTokens": charge["input_tokens"],
        "actualOutputTokens": charge["output_tokens"],
        "totalTokens": charge["input_tokens"] + charge["output_tokens"],
        "actualCostUsd": usd_number(charge["cost_microusd"]),
        "actualChargeUsd": usd_number(charge["charge_microusd"]),
        "estimatedCostUsd": usd_number(quote["charge_microusd"]),
        "actualAmountSats": msat_to_sats(charge["total_msat"]),
        "workAmountSats": msat_to_sats(quote["total_msat"]),
        "refundAmountSats": msat_to_sats(charge["surplus_msat"]),
        "refundState": refund_state(surplus),
        "marginPct": quote["margin_pct"],
        "btcPriceUsd": usd_number(quote["price"]["microusd_per_btc"]),
    }


def refund_state(payouts: Sequence[PayoutRow | PayoutView]) -> str:
    """Return the API's word for what became of what is owed back."""
    if not payouts:
        return "not_applicable"
    paid = all(payout.state is PayoutState.PAID for payout in payouts)
    return "paid" if paid else "pending"


def in_usdc(row: JobView) -> dict[str, str]:
    """Return what a job that was paid for in USDC has cost, exactly; nothing for any other."""
    if row.funding is not Funding.X402:
        return {}
    price, charged = price_in_usdc(row), charged_in_usdc(row)
    shape = {"paidWith": Funding.X402.value, "priceUsdc": usdc_text(price)}
    return shape | ({"chargedUsdc": usdc_text(charged)} if row.is_final else {})


def price_in_usdc(row: JobView) -> int:
    """Return the most that a job could cost which was paid for in USDC, in its smallest unit."""
    assert row.quote is not None and row.eval_microusdc, "a firm price has a quote, and its fee"
    return int(row.eval_microusdc + row.quote["charge_microusd"])


def charged_in_usdc(row: JobView) -> int:
    """Return what such a job has cost in the end: nothing, when it failed."""
    assert row.quote is not None and row.eval_microusdc, "a firm price has a quote, and its fee"
    if row.state is JobState.FAILED:
        return 0
    work: int = row.charge["charge_microusd"] if row.charge else 0
    return row.eval_microusdc + min(work, int(row.quote["charge_microusd"]))


def firm_cost(row: JobView) -> dict[str, Any]:
    """Return what a job at a firm price has cost in the end: nothing, when it failed."""
    quote, charge = row.quote, row.charge
    assert quote is not None, "a firm price has a quote"
    eval_msat = 0 if row.state is JobState.FAILED else row.eval_msat
    work_msat = charge["total_msat"] if charge else 0
    return {
        "evalSats": msat_to_sats(eval_msat),
        "workSats": msat_to_sats(work_msat),
        "totalSats": msat_to_sats(eval_msat + work_msat),
        "btcPriceUsd": usd_number(quote["price"]["microusd_per_btc"]),
    }
