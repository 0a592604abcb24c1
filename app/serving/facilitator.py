"""The stub facilitator over HTTP, for x402 servers and clients outside: no real money moves.

Signatures, windows, nonces and balances are true; the chain is a file in the data folder.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.http.body import json_response, parse, read_body
from app.http.fields import Body
from app.refusal import Refusal
from app.serving.run import listening, say, stop_signal
from app.settings import Settings
from app.strict_json import BadInput
from payments.usdc.address import read_address
from payments.usdc.network import NETWORKS
from payments.usdc.stub_facilitator import FILE, Cut, StubFacilitator, UsdcCall, UsdcFault


class Fault(Body):
    """POST /dev/faults."""

    call: UsdcCall
    fault: UsdcFault
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    delay_s: Annotated[float, Field(ge=0, le=86_400)] = Field(0, alias="delaySeconds")


class Severed(Response):
    """An answer whose connection breaks off before its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin, and end."""
        await send({"type": "http.response.start", "status": 200, "headers": [LONGER]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


LONGER = (b"content-length", b"2")


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = stop_signal()
    stub = StubFacilitator(settings.data / FILE, lambda: datetime.now(UTC))
    try:
        async with listening(build_facilitator(stub), host, port) as url:
            say(f"A stub facilitator listens on {url}", "  No real money moves here.")
            await stop.wait()
    finally:
        await stub.close()


def build_facilitator(stub: StubFacilitator) -> Starlette:
    """Return the application: x402's three addresses, and two to play with."""
    ask = partial(_answer, stub)
    return Starlette(
        routes=[
            Route("/supported", ask, methods=["GET"]),
            Route("/verify", ask, methods=["POST"]),
            Route("/settle", ask, methods=["POST"]),
            Route("/dev/faults", partial(_faults, stub), methods=["POST", "DELETE"]),
            Route("/dev/balance", partial(_balance, stub), methods=["GET"]),
        ],
        exception_handlers={BadInput: _refused, Refusal: _refused},
    )


async def _answer(stub: StubFacilitator, request: Request) -> Response:
    body = await read_body(request)
    try:
        status, said = await stub.answer(request.method, request.url.path, body)
    except Cut:
        return Severed()
    if isinstance(said, bytes):
        return Response(said, status, media_type="text/html")
    return json_response(said, status)


async def _faults(stub: StubFacilitator, request: Request) -> Response:
    """Let the next calls go wrong, or none any more."""
    if request.method == "DELETE":
        await stub.clear_faults()
    else:
        asked = parse(await read_body(request), Fault)
        try:
            await stub.script_fault(asked.call, asked.fault, asked.times, asked.delay_s)
        except ValueError as error:
            raise BadInput(f"{error}.") from None
    return Response(status_code=204)


async def _balance(stub: StubFacilitator, request: Request) -> Response:
    """Say what an address has: `?network=eip155:84532&address=0x…`."""
    network = NETWORKS.get(request.query_params.get("network", ""))
    holder = read_address(request.query_params.get("address", ""))
    if network is None or holder is None:
        raise BadInput(f"Ask for an `address` on a `network`: {', '.join(NETWORKS)}.")
    balance = await stub.ledger(network).balance_microusdc(holder)
    return json_response({"network": network.caip2, "address": holder, "amount": str(balance)})


async def _refused(request: Request, error: Exception) -> Response:
    told: dict[str, Any] = {"error": str(error)}
    return json_response(told, 400)
