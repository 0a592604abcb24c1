"""LNURL-withdraw (LUD-03): a refund is taken by scanning one code.

Answers are HTTP 200 with exactly the keys of the LUD, as some wallets refuse any other; what a
wallet's invoice is checked for, and how it is paid once, is the same as for any claim.
"""

import hashlib
import hmac
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.errors import Refusal
from app.house import House
from app.links import base_url, withdraw_path, withdrawn_id
from app.refunds import start_refund
from app.sending import refund_title, share_of
from app.throttle import Rule
from app.wire import BadInput, json_response
from db import payouts
from db.engine import Row
from statemachine.payout import PayoutState

# Wallets that live in a browser ask from a page of their own.
HEADERS = {"Access-Control-Allow-Origin": "*"}
SAYS = {
    PayoutState.IN_FLIGHT: "This refund is on its way, and is not sent twice.",
    PayoutState.PAID: "This refund was paid already.",
}


async def offer(request: Request) -> Response:
    """GET /api/lnurl/withdraw/{id}/{which}: what a wallet may ask for."""
    payout, base = await _payout(request), base_url(request)
    if payout is None or base is None:
        return _error("There is no refund at this address. Scan the code of the job again.")
    state = PayoutState(payout["state"])
    if state is not PayoutState.OWED:
        return _error(SAYS[state])
    sendable_msat = (await share_of(request.app.state.house.parts, payout)).sendable_msat
    if not sendable_msat:
        return _error("It is less than sending it may cost. Try again tomorrow.")
    return _answer(
        {
            "tag": "withdrawRequest",
            # The state is in the path: clients are known to replace the query they are given.
            "callback": f"{base}{withdraw_path(payout['id'])}/callback",
            "k1": _k1(payout),
            "defaultDescription": refund_title(payout["id"]),
            "minWithdrawable": sendable_msat,
            "maxWithdrawable": sendable_msat,
        }
    )


async def accept(request: Request) -> Response:
    """GET …/callback?k1&pr: begin to pay the wallet's invoice. It arrives a moment later."""
    house: House = request.app.state.house
    payout = await _payout(request)
    k1, invoice = (request.query_params.getlist(name) for name in ("k1", "pr"))
    if payout is None:
        return _error("There is no refund at this address. Scan the code of the job again.")
    if len(k1) != 1 or not hmac.compare_digest(k1[0].encode(), _k1(payout).encode()):
        return _error("The parameter k1 is not the one of this refund. Scan the code again.")
    if len(invoice) != 1:
        return _error("The parameter pr must hold one invoice.")
    if request.method == "HEAD":  # asks what a GET would say, and must change nothing
        return _error("Nothing was done: HEAD pays nothing.")
    try:
        await house.parts.throttle.count(request, Rule.DESTINATION)
        await start_refund(house, request.path_params["id"], invoice[0], payout["id"])
    except (BadInput, Refusal) as refused:
        return _error(str(refused))
    return _answer({"status": "OK"})


async def _payout(request: Request) -> Row | None:
    house: House = request.app.state.house
    payout_id = withdrawn_id(request.path_params["id"], request.path_params["which"])
    if len(payout_id) > 100 or not payout_id.isascii() or not payout_id.isprintable():
        return None
    return await payouts.get(house.parts.db, payout_id)


def _k1(payout: Row) -> str:
    """Return the challenge of a withdrawal: whoever knows the job's id may take it, as ever."""
    return hashlib.sha256(f"{payout['id']}:withdraw".encode()).hexdigest()


def _answer(body: dict[str, Any]) -> Response:
    return json_response(body, 200, HEADERS)


def _error(reason: str) -> Response:
    return _answer({"status": "ERROR", "reason": reason})
