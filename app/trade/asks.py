"""Jobs at a firm price: evaluation and work by one invoice, offered and paid by the call."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app import advance
from app.advance import Act, Shell
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.till import Till
from app.trade.invoicing import Invoicing, check_open
from app.trade.once import Before, Beginning, Name, once
from app.trade.selling import Selling
from db.invoices import MadeInvoice
from pricing.money import Msat, sats_down, sats_up
from statemachine import job as law
from statemachine.owner import Purpose


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
        eval_msat, quote = await self.till.firm(asked.request)
        price_msat = eval_msat + quote.total_msat
        _check_limit(asked, price_msat)
        job_id = self.new_id()
        about(job=job_id)
        opened = await self.invoicing.new(law.ask_invoice_id(job_id), Purpose.ASK, price_msat)
        begun = law.begin_asked(job_id, eval_msat, quote)

        async def begin(act: Act) -> MadeInvoice:
            return await advance.jobs.begin(
                act, begun, opened, asked.request, asked.refund_to, asked.payer
            )

        return Beginning(job_id, begin)


def _check_limit(asked: Ask, price_msat: int) -> None:
    if asked.max_msat is not None and price_msat > asked.max_msat:
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"This costs up to {sats_down(price_msat)} sats, more than your maxSats of"
            f" {sats_down(asked.max_msat)}.",
            "Ask again with a higher limit, or a shorter request.",
            leastSats=sats_up(price_msat),
        )
