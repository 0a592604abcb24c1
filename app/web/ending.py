"""What ends what a page shows: it is cancelled, and what is owed for it is taken back.

A job's page and a batch's do it alike.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from app.advance import Applied, Outcome
from app.house import House, house_of
from app.http.claims import ClaimRefund
from app.http.throttle import Rule
from app.ports import Playground
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.web.forms import read_form
from app.web.page import see
from app.web.troubles import Trouble, WrongField, at, trouble_of
from db import payouts
from payments import pasted
from pricing.money import Msat
from statemachine.entries import Asset
from statemachine.payout import PayoutState

MOST_DESTINATION = pasted.LONGEST  # characters of an invoice or an address
DESTINATIONS = "Enter a Lightning address, an LNURL, or an invoice for exactly this amount."
STUB_INVOICE_S = 600


class _Row(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Row)


@dataclass(frozen=True, slots=True)
class Ending(Generic[R]):
    """How one kind of page finds its row, is drawn, and cancels what it shows."""

    found: Callable[[Request], Awaitable[R]]
    shown: Callable[[Request, R, Trouble | None, str], Awaitable[Response]]
    stop: Callable[[House, str], Awaitable[Outcome]]
    is_over: Callable[[R], bool]
    too_late: str  # what is said where it can't be cancelled

    async def cancel(self, request: Request) -> Response:
        """Cancel it, or say why not; what was over before is left as it is."""
        house = house_of(request)
        await read_form(request)
        row = await self.found(request)
        outcome = await self.stop(house, row.id)
        if not isinstance(outcome, Applied) and not self.is_over(row):
            refused = trouble_of(Refusal(Why.NOT_CANCELLABLE, self.too_late), "page")
            return await self.shown(request, await self.found(request), refused, "")
        return see(f"/jobs/{row.id}")

    async def refund(self, request: Request) -> Response:
        """Send what is owed to an address, or to an invoice of that amount."""
        house = house_of(request)
        given = await read_form(request)
        row = await self.found(request)
        try:
            await house.throttle.count(request, Rule.DESTINATION)
            await claim(house, row.id, given)
        except (BadInput, Refusal) as refused:
            wrong = trouble_of(refused, "to")
            return await self.shown(request, await self.found(request), wrong, given.get("to", ""))
        return see(f"/jobs/{row.id}#refunds")


async def claim(house: House, owner_id: str, form: Mapping[str, str]) -> None:
    """Send what a job, a batch or a session owes where a form says. Raises WrongField, Refusal."""
    if form.get("wallet") == "demo" and house.stub is not None:
        await _claim_for_stub(house, house.stub, owner_id)
        return
    given = form.get("to", "")
    text = pasted.read(given).text
    if not text or len(given) > MOST_DESTINATION:
        raise WrongField("to", DESTINATIONS)
    is_invoice = text[:2].lower() == "ln" and "@" not in text and text[:5].lower() != "lnurl"
    asked = ClaimRefund(invoice=given) if is_invoice else ClaimRefund(refundTo=text)
    with at("to"):
        if asked.refund_to:
            await house.refunds.direct(owner_id, asked.refund_to)
        else:
            await house.refunds.claim(owner_id, asked.invoice)


async def _claim_for_stub(house: House, stub: Playground, owner_id: str) -> None:
    """Have the stub's own wallet take all that is owed. Development only."""
    for row in await payouts.of_owner(house.db, owner_id):
        if row.state is PayoutState.OWED and row.asset is Asset.MSAT:
            wanted = await stub.buyer_invoice(Msat(row.amount_msat), "Refund", STUB_INVOICE_S)
            await house.refunds.claim(owner_id, wanted.bolt11)
