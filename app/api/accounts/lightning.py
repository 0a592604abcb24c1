"""Signing in with a Lightning wallet (LNURL-auth, LUD-04), and joining one to an account.

A wallet scans a code and signs it; the page or the program that asked for the code is let in, by a
secret that the code does not hold.
"""

from functools import partial
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.caller import unknown
from app.http.fields import Body
from app.http.links import own_base, sign_in_code
from app.http.origins import check_json
from app.http.signing_in import Digits, not_signed_yet, signed_in
from app.http.throttle import Rule
from app.refusal import Why
from app.strict_json import moment
from app.trade.lightning_logins import Unsigned
from payments.siwe import Wrong

PROOF = "auth"  # what the code of a second proof asks a wallet for


class Ask(Body):
    """POST /api/auth/lnurl: a code to sign in by, one that joins the wallet to an account, or one
    that is a second proof.
    """

    action: Annotated[str, Field(pattern="^(login|link|auth)$")] = "login"


class Signed(Body):
    """POST /api/auth/lnurl/login and /join: what the code was answered with."""

    k1: Digits
    secret: Digits


async def ask(request: Request) -> Response:
    """POST /api/auth/lnurl: 201 with a code for a wallet, and a secret that is the asker's own."""
    house = house_of(request)
    check_json(request, house.settings.public_url)
    base = own_base(request, house.settings.public_url)
    asked = parse(await read_body(request), Ask)
    made = house.lightning_logins.code(is_proof=asked.action == PROOF)
    shape = {
        "k1": made.k1,
        "secret": made.secret,
        "lnurl": sign_in_code(base, made.k1, asked.action),
        "expiresAt": moment(made.until),
    }
    return json_response(shape, 201)


async def sign(request: Request) -> Response:
    """GET /api/lnurl/auth/{k1}: a wallet has signed. Its answer has exactly the keys of the LUD."""
    house, k1 = house_of(request), str(request.path_params["k1"])
    given = request.query_params
    if given.get("k1", k1) != k1 or given.get("tag", "login") != "login":
        return _refused("This link is not whole. Scan the code again.")
    key, signature = given.get("key", "").lower(), given.get("sig", "").lower()
    is_proof = given.get("action") == PROOF  # as the wallet has shown it to its holder
    wrong = await house.lightning_logins.sign(k1, key, signature, is_proof=is_proof)
    return json_response({"status": "OK"}) if wrong is None else _refused(wrong.sentence)


async def log_in(request: Request) -> Response:
    """POST /api/auth/lnurl/login: 200 with a cookie, and the same token for who uses none; 202
    while no wallet has signed.
    """
    house = house_of(request)
    check_json(request, house.settings.public_url)
    asked = parse(await read_body(request), Signed)
    admits = partial(house.throttle.count, request, Rule.ACCOUNT)
    async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
        told = await house.lightning_logins.log_in(asked.k1, asked.secret, admits)
        if isinstance(told, Wrong):
            raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
    if isinstance(told, Unsigned):
        return not_signed_yet()
    return signed_in(told, house.settings.public_url)


async def join(request: Request) -> Response:
    """POST /api/auth/lnurl/join: 200; from now on this wallet opens the caller's account, too."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    asked = parse(await read_body(request), Signed)
    async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
        told = await house.lightning_logins.join(holder.account_id, asked.k1, asked.secret)
        if isinstance(told, Wrong):
            raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
    return not_signed_yet() if isinstance(told, Unsigned) else json_response({"lightningKey": told})


def _refused(reason: str) -> Response:
    return json_response({"status": "ERROR", "reason": reason})
