"""Signing in: with a name and a password, counted by the name, and by the address that guesses; and
what is answered to who signs in by a wallet.
"""

import hashlib
from functools import partial
from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.http.body import json_response
from app.http.caller import login_cookie, unknown
from app.http.throttle import Rule, Throttle
from app.refusal import Why
from app.strict_json import moment
from app.trade.logins import LoggedIn, Logins, name_of

RETRY_S: Final = 2
Digits = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # of a code that a wallet signs


def not_signed_yet() -> Response:
    """Return the answer to who asks for what a code has come to, before a wallet has signed it."""
    shape = {"status": "pending", "next": "Scan the code with a Lightning wallet."}
    return json_response(shape, 202, {"Retry-After": str(RETRY_S)})


def signed_in(told: LoggedIn, public_url: str | None) -> Response:
    """Return the answer to who has signed in by a wallet: a cookie, and the same token."""
    shape = {
        "accountId": told.account_id,
        "created": told.is_new,
        "sessionToken": told.token,
        "expiresAt": moment(told.expires_at),
    }
    return json_response(shape, headers={"Set-Cookie": login_cookie(told.token, public_url)})


def guessed(whose: str) -> str:
    """Return whose password is guessed, as it is counted: people mistype names, too."""
    return hashlib.sha256(whose.encode()).hexdigest()[:32]


async def by_password(
    request: Request, logins: Logins, throttle: Throttle, username: str, password: str
) -> LoggedIn:
    """Log in; the first login of a name opens its account. Refuses with 401 what is wrong, and
    with 429 where too much was guessed.
    """
    name = name_of(username)
    admits = partial(throttle.count, request, Rule.ACCOUNT)
    logins.passwords.check_room()
    async with (
        throttle.guess(Rule.GUESS_EACH, throttle.address(request)),
        throttle.guess(Rule.GUESS, guessed(name)),
    ):
        told = await logins.by_password(name, password, admits)
        if told is None:
            raise unknown(
                Why.CREDENTIAL_INVALID,
                "The username or the password isn't right.",
                "Check both. With the recovery code, POST /api/auth/recover sets a new password.",
            )
    return told
