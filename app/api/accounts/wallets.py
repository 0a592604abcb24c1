"""Signing in with a wallet (ERC-4361), and joining one to an account (bulk media API)."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.caller import unknown
from app.http.fields import Body
from app.http.links import own_base
from app.http.origins import check_json
from app.http.signing_in import signed_in
from app.http.throttle import Rule
from app.http.withdrawals import to_approve
from app.refusal import Why
from app.strict_json import BadInput, moment
from payments import siwe
from payments.siwe import Wrong
from payments.usdc import contract_wallet
from payments.usdc.address import Address, read_address

_ADDRESS = (
    "The parameter 'address' must be one address: 0x and 40 hex digits, with its capitals where"
    " they must be (EIP-55), or without any."
)
NOBODY = Address("0x" + 40 * "0")
LONGEST_SIGNATURE = 2 * contract_wallet.LONGEST_SIGNATURE + 2  # characters


class Signed(Body):
    """POST /api/auth/siwe, POST /api/auth/wallets: a message of ERC-4361, and its signature."""

    message: Annotated[str, Field(min_length=1, max_length=siwe.LONGEST)]
    signature: Annotated[str, Field(min_length=1, max_length=LONGEST_SIGNATURE)]


async def nonce(request: Request) -> Response:
    """GET /api/auth/nonce: 200 with a nonce; with `?address=`, the message to be signed, too; and
    with what is taken out, and to where, the message that approves it.
    """
    house = house_of(request)
    base = own_base(request, house.settings.public_url)
    domain, address = urlsplit(base).netloc, _signer(request)
    approved = to_approve(request, house.accounts, house.refunds, address or NOBODY)
    if approved is not None and address is None:
        raise BadInput(f"{_ADDRESS} It is who approves the withdrawal.")
    made, until = house.wallet_logins.nonce(approves=approved is not None)
    shape = {"nonce": made, "domain": domain, "uri": base, "expiresAt": moment(until)}
    if address is not None:
        says = siwe.SIGN_IN if approved is None else approved.statement
        chain_id, now = house.wallet_logins.chain_id, house.clock()
        shape["message"] = siwe.message(domain, base, address, made, chain_id, now, says)
        if len(shape["message"]) > siwe.LONGEST:
            raise BadInput("This is too long for a wallet to sign. Have a shorter invoice made.")
    return json_response(shape)


def _signer(request: Request) -> Address | None:
    given = request.query_params.getlist("address")
    address = read_address(given[0]) if len(given) == 1 else None
    if given and address is None:
        raise BadInput(_ADDRESS)
    return address


async def sign_in(request: Request) -> Response:
    """POST /api/auth/siwe: 200 with a cookie, and the same token for who uses none."""
    house = house_of(request)
    domain = urlsplit(own_base(request, house.settings.public_url)).netloc
    check_json(request, house.settings.public_url)
    asked = parse(await read_body(request), Signed)
    async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
        told = await house.wallet_logins.log_in(asked.message, asked.signature, domain)
        if isinstance(told, Wrong):
            raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
    return signed_in(told, house.settings.public_url)


async def join(request: Request) -> Response:
    """POST /api/auth/wallets: 200; from now on this wallet opens the caller's account, too."""
    house = house_of(request)
    domain = urlsplit(own_base(request, house.settings.public_url)).netloc
    holder = await house.callers.unlimited(request)
    asked = parse(await read_body(request), Signed)
    async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
        told = await house.wallet_logins.join(
            holder.account_id, asked.message, asked.signature, domain
        )
        if isinstance(told, Wrong):
            raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
    return json_response({"wallet": told})
