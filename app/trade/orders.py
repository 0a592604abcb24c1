"""An order: a job comes to be with its evaluation invoice, once for each name its caller gave it.

What was not answered for is canceled, or found again under the same name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app import advance
from app.advance import Act, Outcome, Shell
from app.promises.keeping import Keeper
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.till import Till
from app.trade.once import Name, claimed_id, known_id
from app.trade.selling import Selling
from db import invoices
from db.engine import Database, Row
from pricing.money import Msat, msat_to_sats
from statemachine import job as law


@dataclass(frozen=True, slots=True)
class Order:
    """What a buyer asks for."""

    request: str
    max_msat: Msat | None = None  # the most the work may cost
    refund_to: str | None = None  # where what is owed back goes by itself
    payer: str | None = None  # who asks, as far as is known


@dataclass(frozen=True, slots=True)
class Orders:
    """The desk of agent jobs that are paid in two steps."""

    db: Database
    shell: Shell
    keeper: Keeper
    till: Till
    selling: Selling
    new_id: Callable[[], str]

    async def place(self, order: Order, name: Name | None) -> Row:
        """Return the evaluation invoice of a new job, or of the one that this name was given to.

        Raises Refusal: 409 when the name was used for another body, 503 when no invoice can be
        made.
        """
        job_id = await known_id(self.db, name) or await self._begun(order, name)
        about(job=job_id)
        await self._make_invoice(job_id, named=name is not None)
        row = await invoices.get(self.db, law.eval_invoice_id(job_id))
        if row is None or row["bolt11"] is None:
            raise self.selling.no_invoice()
        return row

    async def _begun(self, order: Order, name: Name | None) -> str:
        self.selling.check_can_be_done()
        await self.selling.check_welcome(order.payer)
        fee_msat = await self.till.fee_msat(order.request)
        _check_limit(order, await self.till.least_work_msat())
        job_id = self.new_id()

        async def begin(act: Act) -> str:
            claimed = await claimed_id(act, name, job_id)
            if claimed == job_id:
                most_msat, refund_to = order.max_msat, order.refund_to
                await advance.jobs.begin(
                    act, job_id, order.request, fee_msat, most_msat, refund_to, order.payer
                )
            return claimed

        return await self.shell.do(begin)

    async def _make_invoice(self, job_id: str, named: bool) -> None:
        trouble = await self.keeper.create_invoice(law.eval_invoice_id(job_id))
        if trouble is None:
            return
        if not named:
            # Nobody was told of this job; with a name, the next try finds it again.
            await self.shell.do(advance.jobs.cancel, job_id)
        raise self.selling.no_invoice(trouble.retry_after_s)

    async def cancel(self, job_id: str) -> Outcome:
        """Cancel a job whose work is not paid for; anything but Applied changed nothing."""
        return await self.shell.do(advance.jobs.cancel, job_id)


def _check_limit(order: Order, least_msat: Msat) -> None:
    """Refuse what is certain to be declined for its price: its evaluation would cost in vain."""
    if order.max_msat is not None and least_msat > order.max_msat:
        least, limit = msat_to_sats(least_msat), msat_to_sats(order.max_msat)
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"The work costs at least {least} sats, more than your maxSats of {limit}.",
            f"Send it again with a maxSats of {least} or more.",
            leastSats=least,
        )
