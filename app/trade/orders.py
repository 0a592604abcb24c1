"""An order: a job comes to be with its evaluation invoice, once for each name its caller gave it.

What was not answered for is canceled, or found again under the same name.
"""

from dataclasses import dataclass

from app import advance
from app.advance import Act
from app.house import House
from app.refusal import Refusal, Why, unavailable
from app.telemetry.logs import about
from db import idempotency, invoices
from db.engine import Row
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
class Name:
    """An Idempotency-Key: whose it is, and for which body."""

    caller: str
    key: str
    body_sha256: str


CLASHED = "This Idempotency-Key was used for another request. Use a new one."


async def known_id(house: House, name: Name | None) -> str | None:
    """Return the id of what this name was given to before; None when it is new, or there is none.

    A replay is told what it was told before: it needs no price, and is refused nothing.

    Raises Refusal (409) when it was used for another body.
    """
    if name is None:
        return None
    db = house.parts.db
    match await idempotency.find(db, name.caller, name.key, name.body_sha256):
        case idempotency.Replayed(before):
            return before
        case idempotency.Clashed():
            raise Refusal(Why.KEY_REUSED, CLASHED)
        case None:
            return None


async def claimed_id(act: Act, name: Name | None, made: str) -> str:
    """Return the id of what this name was given to: `made`, unless it was used before.

    Raises Refusal (409) when it was used for another body.
    """
    if name is None:
        return made
    tx, now = act.tx, act.now
    claimed = await idempotency.claim(tx, name.caller, name.key, name.body_sha256, made, now)
    match claimed:
        case idempotency.Fresh():
            return made
        case idempotency.Replayed(before):
            return before
        case idempotency.Clashed():
            raise Refusal(Why.KEY_REUSED, CLASHED)


async def place(house: House, order: Order, name: Name | None) -> Row:
    """Return the evaluation invoice of a new job, or of the one that this name was given to.

    Raises Refusal: 409 when the name was used for another body, 503 when no invoice can be made.
    """
    job_id = await known_id(house, name) or await _begun(house, order, name)
    about(job=job_id)
    await _make_invoice(house, job_id, named=name is not None)
    row = await invoices.get(house.parts.db, law.eval_invoice_id(job_id))
    if row is None or row["bolt11"] is None:
        raise no_invoice(house)
    return row


async def _begun(house: House, order: Order, name: Name | None) -> str:
    house.check_can_be_done()
    await house.check_welcome(order.payer)
    fee_msat = await house.till.fee_msat(order.request)
    _check_limit(order, await house.till.least_work_msat())
    job_id = house.parts.new_id()

    async def begin(act: Act) -> str:
        claimed = await claimed_id(act, name, job_id)
        if claimed == job_id:
            most_msat, refund_to = order.max_msat, order.refund_to
            await advance.jobs.begin(
                act, job_id, order.request, fee_msat, most_msat, refund_to, order.payer
            )
        return claimed

    return await house.parts.shell.do(begin)


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


async def _make_invoice(house: House, job_id: str, named: bool) -> None:
    trouble = await house.keeper.create_invoice(law.eval_invoice_id(job_id))
    if trouble is None:
        return
    if not named:
        # Nobody was told of this job; with a name, the next try finds it again.
        await house.parts.shell.do(advance.jobs.cancel, job_id)
    raise no_invoice(house, trouble.retry_after_s)


def no_invoice(house: House, asked_s: int = 0) -> Refusal:
    """Return why nothing can be paid just now, and when the rail may be asked again."""
    return unavailable(
        Why.NO_INVOICE,
        "The Lightning wallet can't make an invoice just now. Nothing was charged.",
        max(asked_s, house.readiness.retry_after_s("rail")),
    )
