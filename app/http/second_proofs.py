"""A second proof that was sent with a withdrawal: looked at where nothing was made before."""

from urllib.parse import urlsplit

from starlette.requests import Request

from app.advance.proofs import Proof
from app.http.caller import unknown
from app.http.links import base_url, is_loopback
from app.http.throttle import Rule, Throttle
from app.refusal import Why
from app.trade.accounts import Proves, without_proof
from app.trade.approvals import Withdrawal
from app.trade.lightning_logins import Unsigned
from app.trade.proofs import Given, Proofs
from payments.siwe import Wrong


class NotSignedYet(Exception):
    """No wallet has signed the code that was sent as a second proof: nothing is taken out."""


def second_proof(
    request: Request,
    proofs: Proofs,
    throttle: Throttle,
    public_url: str | None,
    account_id: str,
    given: Given,
) -> Proves:
    """Return what reads the second proof that was sent with a withdrawal.

    It raises Refusal (401) for a wrong proof, and NotSignedYet while no wallet has signed.
    """
    if given == Given():
        return without_proof
    base = base_url(request, public_url)
    trusted = base is not None and (public_url is not None or is_loopback(base))
    domain = urlsplit(base).netloc if base is not None and trusted else None

    async def proves(withdrawal: Withdrawal) -> Proof | None:
        async with throttle.guess(Rule.GUESS_EACH, throttle.address(request)):
            told = await proofs.read(account_id, given, domain, withdrawal)
            if isinstance(told, Wrong):
                raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
        if isinstance(told, Unsigned):
            raise NotSignedYet
        return told

    return proves
