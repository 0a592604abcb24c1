"""Who asks for images by the tier: the holder of a key, whose requests count; or who pays by the
call.
"""

from starlette.requests import Request

from app.http.caller import OURS, Callers, Holder, presented
from app.http.throttle import Rule, Throttle
from payments.usdc.x402 import SIGNATURE


async def counted_holder(request: Request, callers: Callers, throttle: Throttle) -> Holder:
    """Return whose account a request is for, and count it. Refuses with 401, and with 429."""
    holder = await callers.needed_account(request)
    for rule in (Rule.KEY_MINUTE, Rule.KEY_DAY):
        await throttle.count(request, rule, holder.account_id)
    return holder


def pays_by_the_call(request: Request) -> bool:
    """Say whether a request shows what pays for it, or that its sender wants to be told how."""
    shown = presented(request)
    if shown is not None and shown.scheme in OURS:
        return True
    return SIGNATURE.lower() in request.headers or "accept-payment" in request.headers
