"""What the law knows of a job, and what it amounts to: in bitcoin, or in USDC where that pays.

What is paid for in USDC costs what it costs in dollars, exactly: no bitcoin price is in it.
"""

from dataclasses import dataclass
from enum import StrEnum, auto

from pricing.money import usd_in_usdc
from pricing.quote import Charge, Quote
from statemachine.entries import Asset


class JobState(StrEnum):
    """The seven states of the wire."""

    AWAITING_EVAL_PAYMENT = auto()  # the eval invoice is open
    EVALUATING = auto()  # an agent is reading the request
    REJECTED = auto()  # final: the eval fee is kept, no work is owed
    AWAITING_WORK_PAYMENT = auto()  # the work invoice is open
    EXECUTING = auto()  # the work is paid for and under way
    COMPLETE = auto()  # final: charged, and any surplus is owed back
    FAILED = auto()  # final: what was paid and not earned is owed back


class Funding(StrEnum):
    """How a job is paid for."""

    INVOICES = auto()  # an invoice for the evaluation, then one for the work
    INVOICE = auto()  # one for both, at a firm price: what the work does not need is owed back
    SESSION = auto()  # from a prepaid balance, likewise
    X402 = auto()  # in USDC, by an order that has settled, likewise


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What the law needs to know of a job. Amounts are msat, where their names say no other."""

    id: str
    state: JobState
    eval_msat: int
    max_msat: int | None = None  # the buyer's limit for the work
    quote: Quote | None = None
    charge: Charge | None = None
    reason: str | None = None  # why it was rejected
    result: str | None = None
    truncated: bool = False  # the result ends where it may not be longer
    error: str | None = None  # why it failed
    funding: Funding = Funding.INVOICES
    session_id: str | None = None  # whose balance pays, where one does
    spent_msat: int = 0  # what the models have cost the house for it so far
    # Of one that is paid for in USDC, whose price in dollars is its price:
    eval_microusdc: int = 0
    account_id: str | None = None  # which has what is too little to be sent back
    paid_by: str | None = None  # the authorization that pays

    @property
    def asset(self) -> Asset:
        """In what it is paid for."""
        return Asset.MICROUSDC if self.funding is Funding.X402 else Asset.MSAT

    @property
    def eval_amount(self) -> int:
        """The fee of the evaluation, in the smallest unit of its asset."""
        return self.eval_microusdc if self.asset is Asset.MICROUSDC else self.eval_msat

    @property
    def quoted_amount(self) -> int:
        """The most that the work may cost, in the smallest unit of its asset."""
        quote = quoted(self)
        in_usdc = self.asset is Asset.MICROUSDC
        return usd_in_usdc(quote.charge_microusd) if in_usdc else quote.total_msat

    @property
    def charged_amount(self) -> int:
        """What the work has cost, never more than was quoted: nothing, unless it was done."""
        if self.charge is None:
            return 0
        if self.asset is Asset.MICROUSDC:
            return min(usd_in_usdc(self.charge.charge_microusd), self.quoted_amount)
        return self.charge.total_msat

    @property
    def prepaid_amount(self) -> int:
        """What was paid or set aside at once for a job with a firm price, evaluation included."""
        return self.eval_amount + self.quoted_amount


def quoted(facts: JobFacts) -> Quote:
    """Return the price of a job's work, which it has in every state that asks for it."""
    if facts.quote is None:
        raise ValueError(f"job {facts.id} has no quote in {facts.state}")
    return facts.quote
