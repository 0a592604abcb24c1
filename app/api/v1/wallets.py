"""Connecting a wallet by paying from it: a new account, and its API key."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body, path_id, wait_of
from app.http.throttle import Rule
from app.refusal import Refusal, Why, unavailable
from app.strict_json import BadInput, moment
from app.trade.connecting import Standing
from payments.usdc.address import read_address
from pricing.money import btc_text, sats_to_msat, usdc_text
from statemachine.connect import ConnectState

LIGHTNING = "lightning"
NATIVE = "0x" + 40 * "0"  # a chain's own coin, in which nothing can be paid here
DEFAULT_SATS, MOST_SATS = 1_000, 10_000_000
RETRY_S = 30

_MESSAGES = {
    Standing.PENDING: "Waiting for the payment.",
    Standing.EXPIRED: "This was not paid in time. Ask for another one.",
}
_SHOWN = (
    "Your wallet is connected. This is your API key: store it now, it is shown until it is first"
    " used, or for 15 minutes."
)
_GONE = "Your wallet is connected. Its API key was shown before, and is not shown again."


class Connect(Body):
    """POST /api/v1/wallets/connect/initiate."""

    token_address: Annotated[str, Field(max_length=64)] | None = Field(None, alias="tokenAddress")
    amount_sats: Annotated[int, Field(ge=1, le=MOST_SATS)] | None = Field(None, alias="amountSats")


async def initiate(request: Request) -> Response:
    """POST /api/v1/wallets/connect/initiate: what to pay, and to where."""
    house = house_of(request)
    asked = parse(await read_body(request), Connect)
    async with house.throttle.turn(request, Rule.CREATE):
        await house.throttle.count(request, Rule.ACCOUNT)
        if _is_lightning(asked.token_address):
            return await _lightning(house, asked.amount_sats or DEFAULT_SATS)
        return await _usdc(house, asked)


def _is_lightning(token: str | None) -> bool:
    return token is None or token.lower() == LIGHTNING or token == NATIVE


async def _lightning(house: House, amount_sats: int) -> Response:
    made = await house.connecting.over_lightning(sats_to_msat(amount_sats))
    invoice = house.shapes.invoice(made.invoice)
    shape: dict[str, Any] = {
        "requestId": made.request_id,
        "magicAmount": btc_text(made.invoice.amount_msat),
        "tokenAddress": LIGHTNING,
        "expiresAt": invoice["expiresAt"],
        "depositToAddress": invoice["paymentRequest"],
        "amountSats": invoice["amountSats"],
    }
    if "paymentHash" in invoice:
        shape["paymentHash"] = invoice["paymentHash"]
    return json_response(shape)


async def _usdc(house: House, asked: Connect) -> Response:
    token, usdc = read_address(asked.token_address or ""), house.connecting.usdc
    if token is None or usdc is None or token != usdc.network.token:
        known = f" or {usdc.network.token} (USDC on {usdc.network.title})" if usdc else ""
        raise BadInput(f"The field 'tokenAddress' must be {LIGHTNING!r}{known}.")
    if asked.amount_sats is not None:
        raise BadInput(
            "The field 'amountSats' is for Lightning alone: an amount on a chain is ours."
        )
    unwatched = house.accounts.usdc_unwatched()
    if unwatched is not None:
        sentence = (
            f"Nothing that is sent on a chain is seen just now: pay over Lightning. {unwatched}"
        )
        raise unavailable(Why.NOT_WELL, sentence, RETRY_S)
    made = await house.connecting.in_usdc()
    return json_response(
        {
            "requestId": made.request_id,
            "magicAmount": usdc_text(made.amount),
            "tokenAddress": made.token,
            "expiresAt": moment(made.until),
            "depositToAddress": made.to,
            "network": usdc.network.caip2,
            "message": "Send exactly this amount. From an address that opens an account already, it"
            " goes to that account.",
        }
    )


async def status(request: Request) -> Response:
    """GET /api/v1/wallets/connect/status/{request_id}: whether it is paid, and then the API key."""
    house = house_of(request)
    request_id = path_id(request, _unknown, "request_id")
    wait_s = wait_of(request)
    row = await house.connecting.found(request_id)
    if row is None:
        raise _unknown()
    if row.state is not ConnectState.PAID:

        async def is_paid() -> bool:
            found = await house.connecting.found(request_id)
            return found is None or found.state is ConnectState.PAID

        await house.waiting.for_payment(row.account_id, is_paid, wait_s)
        row = await house.connecting.found(request_id) or row
    told = await house.connecting.status(row, request_id)
    shape: dict[str, Any] = {"status": told.standing.value, "expiresAt": moment(told.until)}
    if told.standing is Standing.COMPLETED:
        if told.key is not None:
            shape["apiKey"] = told.key
        shape["message"] = _GONE if told.key is None else _SHOWN
    else:
        shape["message"] = _MESSAGES[told.standing]
    return json_response(shape)


def _unknown() -> Refusal:
    return Refusal(Why.UNKNOWN, "There is no request with this id.")
