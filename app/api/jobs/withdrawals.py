"""LNURL-withdraw (LUD-03): a refund is taken by scanning one code.

Its address holds a secret that was made for this one payout: whoever may have the refund is shown
it, and no id of a job or a session opens it. Answers are HTTP 200 with exactly the keys of the LUD,
as some wallets refuse any other; what a wallet's invoice is checked for, and how it is paid once,
is the same as for any claim.
"""

import hashlib
import hmac
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response
from app.http.links import base_url, withdraw_path
from app.http.throttle import Rule
from app.promises.sending import refund_title
from app.refusal import Refusal
from app.strict_json import BadInput
from app.telemetry.logs import about
from db import payouts
from db.payouts import PayoutRow
from statemachine.payout import PayoutState

SAYS = {
    PayoutState.IN_FLIGHT: "This refund is on its way, and is not sent twice.",
    PayoutState.PAID: "This refund was paid already.",
}
NONE_HERE = "There is no refund at this address. Open its page again, and scan the code there."
GONE = "This code is an old one. Open the page of the job again, and scan the code there."
_SECRET = re.compile("[0-9a-f]{32}")


async def offer(request: Request) -> Response:
    """GET /api/lnurl/withdraw/{secret}: what a wallet may ask for."""
    house, payout = house_of(request), await _payout(request)
    base = base_url(request, house.settings.public_url)
    if payout is None or base is None:
        return _error(NONE_HERE)
    state = payout.state
    if state is not PayoutState.OWED:
        return _error(SAYS[state])
    sendable_msat = await house.refunds.sendable_msat(payout)
    if not sendable_msat:
        return _error("It is less than sending it may cost. Try again tomorrow.")
    return _answer(
        {
            "tag": "withdrawRequest",
            # The state is in the path: clients are known to replace the query they are given.
            "callback": f"{base}{withdraw_path(payout.secret)}/callback",
            "k1": _k1(payout),
            "defaultDescription": refund_title(payout.id),
            "minWithdrawable": sendable_msat,
            "maxWithdrawable": sendable_msat,
        }
    )


async def accept(request: Request) -> Response:
    """GET …/callback?k1&pr: begin to pay the wallet's invoice. It arrives a moment later."""
    house = house_of(request)
    payout = await _payout(request)
    k1, invoice = (request.query_params.getlist(name) for name in ("k1", "pr"))
    if payout is None:
        return _error(NONE_HERE)
    if len(k1) != 1 or not hmac.compare_digest(k1[0].encode(), _k1(payout).encode()):
        return _error("The parameter k1 is not the one of this refund. Scan the code again.")
    if len(invoice) != 1:
        return _error("The parameter pr must hold one invoice.")
    if request.method == "HEAD":  # asks what a GET would say, and must change nothing
        return _error("Nothing was done: HEAD pays nothing.")
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        await house.refunds.start(payout.owner.id, invoice[0], payout.id)
    except (BadInput, Refusal) as refused:
        return _error(str(refused))
    return _answer({"status": "OK"})


async def gone(request: Request) -> Response:
    """GET /api/lnurl/withdraw/{id}/{which}: what codes held once, and an id opens nothing."""
    return _error(GONE)


async def _payout(request: Request) -> PayoutRow | None:
    house = house_of(request)
    secret: str = request.path_params["secret"]
    payout = await payouts.by_secret(house.db, secret) if _SECRET.fullmatch(secret) else None
    if payout is not None:
        about(**{payout.owner.kind: payout.owner.id})
    return payout


def _k1(payout: PayoutRow) -> str:
    """Return the challenge of a withdrawal, which only its own secret gives."""
    return hashlib.sha256(f"boltwork:withdraw:{payout.secret}".encode()).hexdigest()


def _answer(body: dict[str, Any]) -> Response:
    return json_response(body)


def _error(reason: str) -> Response:
    return _answer({"status": "ERROR", "reason": reason})
