"""The stub's own wallet, with which a page pays what it asks for. Development only."""

from collections.abc import Iterable

from app.house import House
from app.refusal import Refusal, Why
from payments.rail import Failed


async def pay_from_stub(house: House, payment_hashes: Iterable[str]) -> Refusal | None:
    """Pay these invoices, and have that booked; return why one of them could not be paid.

    Raises Refusal (404) on a server whose rail has no wallet to play with.
    """
    if house.stub is None:
        raise Refusal(Why.NO_SUCH_ADDRESS, "There is nothing at this address.")
    failed = None
    for payment_hash in payment_hashes:
        paid = await house.stub.receive(payment_hash)
        if isinstance(paid, Failed):
            failed = Refusal(Why.PAYMENT_FAILED, f"Not paid: {paid.reason}.")
        else:
            await house.booking.settle(paid)
    return failed
