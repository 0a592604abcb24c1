"""Where a worker's pay goes: changed by a signature or after a day; what is owed goes there too.

The worker's row is locked by whoever calls, and before the balance and the payouts.
"""

from dataclasses import dataclass

from app.advance import payouts
from app.advance.act import Act
from db import pay_destinations as rows
from db.workers import WorkerRow
from statemachine import pay_destination as law
from statemachine.entries import Asset


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The worker's key has to sign this change, and has not: nothing changed."""

    signed: int  # what the next signature names


@dataclass(frozen=True, slots=True)
class Named:
    """Destinations as they are kept, and which change of the worker's they were signed as."""

    pay_to: str | None = None
    usdc_to: str | None = None
    signed_as: int | None = None  # None: there is no signature that holds


async def redirect(act: Act, row: WorkerRow, named: Named) -> WorkerRow | Unsigned:
    """Name where a worker's pay goes; return its row as it is then."""
    before = rows.directions_of(row)
    is_signed = named.signed_as == before.signed
    try:
        after = law.redirect(before, named.pay_to, named.usdc_to, act.now, is_signed)
    except law.Unsigned:
        return Unsigned(before.signed)
    return await _write(act, row, before, after)


async def current(act: Act, row: WorkerRow) -> WorkerRow:
    """Return a worker's row as it is now: a change that has waited for long enough is made."""
    before = rows.directions_of(row)
    return await _write(act, row, before, law.at(before, act.now))


async def _write(
    act: Act, row: WorkerRow, before: law.Directions, after: law.Directions
) -> WorkerRow:
    if after == before:
        return row
    await rows.direct(act.tx, after)
    row = rows.as_after(row, after)
    if (after.pay_to, after.usdc_to) != (before.pay_to, before.usdc_to):
        await follow(act, row)
    return row


async def follow(act: Act, row: WorkerRow) -> int:
    """Have what is owed to a worker, and goes nowhere or elsewhere, go where its pay goes now;
    return how many payouts that are.
    """
    strayed = await rows.strayed(act.tx, row.account_id, row.pay_to, row.usdc_to)
    for owed in strayed:
        to = row.pay_to if owed.asset is Asset.MSAT else row.usdc_to
        assert to is not None, "it is none that strays"
        await payouts.redirect(act, owed.id, to)
    return len(strayed)
