"""Jobs at a firm price: evaluation and work by one invoice, offered and paid by the call."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app import advance
from app.advance import Act, Shell
from app.promises.settling import authorization_of
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.till import Firm, Till
from app.trade.invoicing import Invoicing, check_open
from app.trade.once import Before, Beginning, Name, once
from app.trade.selling import Selling
from app.trade.usdc_sales import Thing
from db.invoices import MadeInvoice
from payments.usdc.payment import Payment
from payments.usdc.refund import refund_to_of
from pricing.money import Msat, sats_down, sats_up, usd_in_usdc
from statemachine import job as law
from statemachine.owner import Owner, OwnerKind, Purpose


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants to buy."""

    request: str
    max_msat: Msat | None = None  # the most that it may cost, evaluation included
    refund_to: str | None = None  # where the unused part of the payment is sent automatically
    payer: str | None = None  # who asks, as far as is known


@dataclass(frozen=True, slots=True)
class Asks:
    """The desk of agent jobs that one invoice pays for, evaluation and work."""

    shell: Shell
    invoicing: Invoicing
    till: Till
    selling: Selling
    new_id: Callable[[], str]

    async def place(self, asked: Ask, name: Name | None) -> MadeInvoice:
        """Return the open invoice of a new job, or of the one that this name was given to.

        Raises Refusal: 409 when it would cost more than the caller's limit or the name was used
        for another body, 503 when no invoice can be made.
        """
        made = await once(self.shell, name, partial(self._prepare, asked))
        if isinstance(made, Before):
            about(job=made.id)
            made = await self.invoicing.made_before(law.ask_invoice_id(made.id))
            check_open(made)
        return made

    async def _prepare(self, asked: Ask) -> Beginning[MadeInvoice]:
        """Return a new job at its price, with the invoice that the rail has made for it."""
        self.selling.check_can_be_done()
        await self.selling.check_welcome(asked.payer)
        firm = await self.till.in_both(asked.request)
        _check_limit(asked, firm.total_msat)
        job_id = self.new_id()
        about(job=job_id)
        opened = await self.invoicing.new(law.ask_invoice_id(job_id), Purpose.ASK, firm.total_msat)
        begun = law.begin_asked(job_id, firm.fee_msat, firm.quote)

        async def begin(act: Act) -> MadeInvoice:
            return await advance.jobs.begin(
                act, begun, opened, asked.request, asked.refund_to, asked.payer
            )

        return Beginning(job_id, begin)

    async def for_usdc(self, payment: Payment, asked: Ask, firm: Firm) -> Thing:
        """Return a new job at this price, for which an order in USDC is to be claimed.

        What is not needed goes back to the address that pays: to the balance of its account, where
        it is too little to be sent. Raises as `place` does.
        """
        self.selling.check_can_be_done()
        _check_limit(asked, firm.total_msat)
        address = payment.authorization.payer
        payer, refund_to = f"evm:{address}", refund_to_of(payment.network.caip2, address)
        await self.selling.check_welcome(payer)
        job_id = self.new_id()

        async def begin(act: Act) -> None:
            begun = law.begin_claimed(
                job_id,
                authorization_of(payment),
                firm.fee_msat,
                usd_in_usdc(firm.fee_microusd),
                firm.quote,
                await advance.accounts.of_wallet(act, address),
            )
            await advance.jobs.begin_claimed(act, begun, asked.request, refund_to, payer)

        return Thing(Owner(OwnerKind.JOB, job_id), begin)


def _check_limit(asked: Ask, price_msat: int) -> None:
    if asked.max_msat is not None and price_msat > asked.max_msat:
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"This costs up to {sats_down(price_msat)} sats, more than your maxSats of"
            f" {sats_down(asked.max_msat)}.",
            "Ask again with a higher limit, or a shorter request.",
            leastSats=sats_up(price_msat),
        )
