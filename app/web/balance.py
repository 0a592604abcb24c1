"""What a form orders is paid from the balance of who is signed in, or with an invoice.

The price that a page has shown goes along with its form: a balance pays no more than that.
"""

from dataclasses import replace

from starlette.requests import Request

from app.advance import Payer
from app.house import house_of
from app.http.caller import COOKIE
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.batches import Order
from app.web.forms import name_in
from statemachine.entries import Asset

FROM_BALANCE = "balance"  # the value of the button
TOP_UP = "Top up at /account, or get an invoice for this alone."
MOST_DIGITS = 9


async def holder_of(request: Request) -> str | None:
    """Return whose browser this is; None where nobody is signed in."""
    token = request.cookies.get(COOKIE, "")
    login = await house_of(request).callers.logins.holder(token) if token else None
    return login.account_id if login is not None else None


async def purse_of(request: Request) -> dict[str, int] | None:
    """Return what the account of who is signed in has, in msat and in millionths of USDC."""
    account_id = await holder_of(request)
    if account_id is None:
        return None
    balances = await house_of(request).accounts.balances(account_id)
    return {"msat": balances[Asset.MSAT], "usdc": balances[Asset.MICROUSDC]}


async def placed(request: Request, order: Order, given: dict[str, str]) -> str:
    """Return the id of the batch that a form orders: paid from a balance, or with its invoice.

    The same form sent twice is one batch. Raises Refusal: 401 where nobody is signed in any more,
    402 where the balance is too low, 409 where the price is not what it was when it was shown.
    """
    house, name = house_of(request), name_in(request, given)
    if given.get("pay") != FROM_BALANCE:
        return (await house.batches.place(order, name)).owner_id
    account_id = await holder_of(request)
    if account_id is None:
        raise Refusal(Why.CREDENTIAL_EXPIRED, "You are not signed in any more.", "Sign in again.")
    mine = replace(order, payer=f"account:{account_id}", refund_to=None, max_sats=_most_in(given))
    try:
        return await house.batches.place_for(Payer(account_id), mine, name)
    except Refusal as refused:
        if refused.why is Why.BALANCE_TOO_LOW:
            raise Refusal(refused.why, refused.sentence, TOP_UP) from None
        if refused.why is Why.OVER_MAX_SATS:
            raise Refusal(
                refused.why, "The price has changed. Look at the new one first."
            ) from None
        raise


def _most_in(given: dict[str, str]) -> int:
    """Return the sats that the page has said it costs; 0 where it has not."""
    most = given.get("most", "") or "0"
    if not (most.isascii() and most.isdecimal() and len(most) <= MOST_DIGITS):
        raise BadInput("This is not a form of this site.")
    return int(most)
