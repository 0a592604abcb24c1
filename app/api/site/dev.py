"""The stub rail's own doors: pay its invoices, make one, break it. Development only.

These routes exist only where the rail is the stub and the environment is not production.
"""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body
from app.ports import Playground
from app.refusal import Refusal, Why
from app.strict_json import BadInput, moment
from payments.faults import Call
from payments.faults import Fault as FaultKind
from payments.rail import Failed
from pricing.money import msat_to_sats, sats_to_msat

Sats = Annotated[int, Field(ge=1, le=100_000_000)]


class Pay(Body):
    """POST /api/dev/stub/pay/{paymentHash}; the body may be left out."""

    amount_sats: Sats | None = Field(None, alias="amountSats")
    late: bool = False


class MakeInvoice(Body):
    """POST /api/dev/stub/invoice."""

    amount_sats: Sats = Field(alias="amountSats")
    expiry_s: Annotated[int, Field(ge=1, le=86_400)] = Field(3600, alias="expirySeconds")


class Fault(Body):
    """POST /api/dev/stub/faults."""

    call: Call
    fault: FaultKind
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    delay_s: Annotated[float, Field(ge=0, le=86_400)] = Field(0, alias="delaySeconds")


def _stub(request: Request) -> Playground:
    house = house_of(request)
    assert house.stub is not None, "the route table offers these only with a stub"
    return house.stub


async def pay(request: Request) -> Response:
    """POST /api/dev/stub/pay/{paymentHash}: the buyer pays this invoice."""
    body = await read_body(request)
    asked = parse(body, Pay) if body.strip() else Pay()
    payment_hash: str = request.path_params["payment_hash"]
    paid = await _stub(request).receive(
        payment_hash,
        amount_msat=sats_to_msat(asked.amount_sats) if asked.amount_sats else None,
        late=asked.late,
    )
    if isinstance(paid, Failed):
        raise Refusal(Why.PAYMENT_FAILED, f"The stub wallet can't pay this: {paid.reason}.")
    return json_response(
        {
            "ok": True,
            "paymentHash": payment_hash,
            "preimage": paid.preimage,  # what a wallet learns by paying
            "amountSats": msat_to_sats(paid.amount_msat),
        }
    )


async def invoice(request: Request) -> Response:
    """POST /api/dev/stub/invoice: the buyer's wallet makes an invoice, to take a refund with."""
    asked = parse(await read_body(request), MakeInvoice)
    made = await _stub(request).buyer_invoice(
        sats_to_msat(asked.amount_sats), "Refund from Boltwork", asked.expiry_s
    )
    return json_response(
        {
            "paymentRequest": made.bolt11,
            "amountSats": msat_to_sats(made.amount_msat),
            "paymentHash": made.payment_hash,
            "expiresAt": moment(made.expires_at),
        },
        201,
    )


async def script_fault(request: Request) -> Response:
    """POST /api/dev/stub/faults: the next calls to the rail go wrong in this way."""
    asked = parse(await read_body(request), Fault)
    try:
        await _stub(request).script_fault(asked.call, asked.fault, asked.times, asked.delay_s)
    except ValueError as meaningless:
        raise BadInput(f"{meaningless}.") from meaningless
    return json_response({"ok": True})


async def clear_faults(request: Request) -> Response:
    """DELETE /api/dev/stub/faults: the rail works again."""
    await _stub(request).clear_faults()
    return json_response({"ok": True})


async def faults(request: Request) -> Response:
    """One route for both methods, so that a 405 names them both."""
    return await (clear_faults if request.method == "DELETE" else script_fault)(request)
