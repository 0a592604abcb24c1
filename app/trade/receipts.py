"""A receipt: what was asked, what it cost and why, what was paid and what went back, signed.

Every amount is an integer with its unit in its name. What was asked and made is named by its
sha256 only, and the job by its public id, so that a receipt can be shown to others.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.keys import signing
from app.ports import Clock
from app.strict_json import moment
from app.trade.batch_receipts import batch_payload
from app.trade.receipt_lines import VERSION, payment_said, refund_said
from db import batch_receipts, receipts, signing_keys
from db.batch_receipts import BatchFacts
from db.engine import Database
from db.payouts import msat_of
from db.receipts import Facts
from db.signing_keys import Key, PublicKey
from payments.seal import Seal
from pricing.money import usd_in_usdc
from pricing.quote import Quote
from statemachine.job import NOT_SETTLED, Funding, JobState
from statemachine.public_id import public_id


@dataclass(frozen=True, slots=True)
class Receipts:
    """The desk that signs receipts."""

    db: Database
    seal: Seal
    clock: Clock

    async def facts(self, job_id: str) -> Facts | None:
        """Return what a receipt needs of a job; None for an unknown id."""
        return await receipts.facts(self.db, job_id)

    async def batch_facts(self, batch_id: str) -> BatchFacts | None:
        """Return what a receipt needs of a batch; None for an unknown id."""
        return await batch_receipts.facts(self.db, batch_id)

    async def signed(self, facts: Facts | BatchFacts) -> tuple[str, dict[str, Any]]:
        """Return the receipt of what is in a final state as a signed text, and what it says."""
        now = self.clock()
        said = batch_payload(facts, now) if isinstance(facts, BatchFacts) else payload(facts, now)
        return signing.sign(said, await self._key()), said

    async def public_keys(self) -> list[PublicKey]:
        """Return every key that receipts are verified with; the first one is made if needed."""
        await self._key()
        return await signing_keys.public(self.db)

    async def _key(self) -> Key:
        return await signing.active_key(self.db, self.seal, self.clock)


def payload(facts: Facts, now: datetime) -> dict[str, Any]:
    """Return what a receipt says of a job in a final state."""
    quote = Quote.from_json(facts.quote) if facts.quote else None
    charge: dict[str, int] | None = facts.charge
    payments, refunds = facts.payments, facts.refunds
    in_usdc = _in_usdc(facts, quote) if facts.paid_by is not None else None
    paid_msat = sum(payment.received_msat for payment in payments)
    back_msat = 0 if in_usdc else sum(msat_of(refund) for refund in refunds)
    from_session = facts.funding == Funding.SESSION
    if from_session and quote is not None:  # what was set aside, and let go of at the end
        paid_msat = facts.eval_msat + quote.total_msat
        back_msat = paid_msat - _kept_msat(facts)
    sums = {
        "evalFeeMsat": facts.eval_msat,
        "paidMsat": paid_msat,
        "chargedMsat": paid_msat - back_msat,
        "refundedMsat": back_msat,
    }
    said: dict[str, Any] = {
        "receiptVersion": VERSION,
        "issuedAt": moment(now),
        "publicId": public_id(facts.id),
        "state": facts.state,
        "createdAt": moment(facts.created_at),
        "completedAt": moment(facts.completed_at or now),
        "requestSha256": _sha256(facts.request),
        **(in_usdc or sums),
        "payments": [payment_said(payment) for payment in payments],
        "refunds": [refund_said(refund) for refund in refunds],
    }
    if from_session:
        said["paidFrom"] = "session"
    if facts.max_msat is not None:
        said["maxMsat"] = facts.max_msat
    if facts.result is not None:
        said["resultSha256"] = _sha256(facts.result)
    if facts.truncated:
        said["truncated"] = True
    if quote is not None:
        said["quote"] = _quote(quote)
    if charge is not None:
        said["usage"] = {
            "inputTokens": charge["input_tokens"],
            "outputTokens": charge["output_tokens"],
        }
        said["charge"] = {
            "tokensMicrousd": charge["cost_microusd"],
            "chargeMicrousd": charge["charge_microusd"],
            "totalMsat": charge["total_msat"],
            "surplusMsat": charge["surplus_msat"],
        }
    return said


def _in_usdc(facts: Facts, quote: Quote | None) -> dict[str, Any]:
    """Return what was paid and charged for a job that an order in USDC pays for."""
    assert quote is not None and facts.eval_microusdc is not None, "it has a firm price"
    fee, quoted = facts.eval_microusdc, usd_in_usdc(quote.charge_microusd)
    work = min(facts.charge["charge_microusd"], quoted) if facts.charge else 0
    # Whoever never settled an order has paid nothing; then nothing is owed either.
    is_unpaid = facts.error == NOT_SETTLED
    paid = 0 if is_unpaid else fee + quoted
    charged = 0 if facts.state is JobState.FAILED else fee + work
    return {
        "paidFrom": Funding.X402,
        "authorization": facts.paid_by,
        "evalFeeMicrousdc": fee,
        "paidMicrousdc": paid,
        "chargedMicrousdc": charged,
        "refundedMicrousdc": paid - charged,
    }


def _kept_msat(facts: Facts) -> int:
    """Return what a session was charged: nothing for what failed."""
    if facts.state is JobState.FAILED:
        return 0
    charged_msat: int = facts.charge["total_msat"] if facts.charge else 0
    return int(facts.eval_msat) + charged_msat


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _quote(quote: Quote) -> dict[str, Any]:
    price = quote.price
    return {
        "model": quote.model,
        "inputTokens": quote.input_tokens,
        "maxOutputTokens": quote.max_output_tokens,
        "inputMicrousdPerMillionTokens": quote.input_microusd_per_mtok,
        "outputMicrousdPerMillionTokens": quote.output_microusd_per_mtok,
        "tokensMicrousd": quote.cost_microusd,
        "infraMicrousd": quote.infra_microusd,
        "marginPct": quote.margin_pct,
        "chargeMicrousd": quote.charge_microusd,
        "totalMsat": quote.total_msat,
        "btcPrice": {
            "microusdPerBtc": price.microusd_per_btc,
            "at": moment(price.at),
            "sources": list(price.sources),
            "note": price.note,
        },
        "expiresAt": moment(quote.expires_at),
    }
