"""An order: a job and its evaluation invoice are made, once for each Idempotency-Key.

The rail makes the invoice before anything is written: without one there is no job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app import advance
from app.advance import Act, Outcome, Shell
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.till import Till
from app.trade.invoicing import Invoicing
from app.trade.once import Before, Beginning, Name, once
from app.trade.selling import Selling
from db.invoices import MadeInvoice
from db.webhooks import NewWebhook
from pricing.money import Msat, msat_to_sats
from statemachine import job as law
from statemachine.owner import Purpose


@dataclass(frozen=True, slots=True)
class Order:
    """What a buyer asks for."""

    request: str
    max_msat: Msat | None = None  # the most the work may cost
    refund_to: str | None = None  # where refunds are sent automatically
    payer: str | None = None  # who asks, as far as is known
    webhook: NewWebhook | None = None  # who is told of what becomes of it


@dataclass(frozen=True, slots=True)
class Orders:
    """The desk of agent jobs that are paid in two steps."""

    shell: Shell
    invoicing: Invoicing
    till: Till
    selling: Selling
    new_id: Callable[[], str]

    async def place(self, order: Order, name: Name | None) -> MadeInvoice:
        """Return the evaluation invoice of a new job, or of the one that this name was given to.

        Raises Refusal: 409 when the name was used for another body, 503 when no invoice can be
        made.
        """
        made = await once(self.shell, name, partial(self._prepare, order))
        if isinstance(made, Before):
            about(job=made.id)
            return await self.invoicing.made_before(law.eval_invoice_id(made.id))
        return made

    async def _prepare(self, order: Order) -> Beginning[MadeInvoice]:
        """Return a new job, with the evaluation invoice that the rail has made for it."""
        self.selling.check_can_be_done()
        await self.selling.check_welcome(order.payer)
        fee_msat = await self.till.fee_msat(order.request)
        _check_limit(order, await self.till.least_work_msat())
        job_id = self.new_id()
        about(job=job_id)
        opened = await self.invoicing.new(law.eval_invoice_id(job_id), Purpose.EVAL, fee_msat)
        begun = law.begin(job_id, fee_msat, order.max_msat)

        async def begin(act: Act) -> MadeInvoice:
            return await advance.jobs.begin(
                act,
                begun,
                opened,
                order.request,
                order.refund_to,
                order.payer,
                order.webhook,
            )

        return Beginning(job_id, begin)

    async def cancel(self, job_id: str) -> Outcome:
        """Cancel a job whose work is not paid for; anything but Applied changed nothing."""
        return await self.shell.do(advance.jobs.cancel, job_id)


def _check_limit(order: Order, least_msat: Msat) -> None:
    """Refuse what is certain to be rejected for its price, before its evaluation is paid."""
    if order.max_msat is not None and least_msat > order.max_msat:
        least, limit = msat_to_sats(least_msat), msat_to_sats(order.max_msat)
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"The work costs at least {least} sats, more than your maxSats of {limit}.",
            f"Send it again with a maxSats of {least} or more.",
            leastSats=least,
        )
