"""What a caller may see of a session, by what it shows: the deposit's preimage, a macaroon, or the
claim that opening the session answered. The session's id alone shows its state and its balance.

A claim is for who opened it and has no macaroon yet, so it is good until a macaroon was used.
"""

import hmac
from dataclasses import dataclass

from starlette.requests import Request

from app.http.caller import Callers, unknown
from app.refusal import Why
from app.strict_json import BadInput
from app.trade.sessions import PREIMAGE, Sessions, kept_as
from db.sessions import SessionView
from payments.session_macaroon import Verified


@dataclass(frozen=True, slots=True)
class Rights:
    """What is shown to a caller, beside the state and the balance."""

    refunds: bool = False  # what the session owes, and how that is going
    codes: bool = False  # and how to take it
    macaroon: bool = False  # the whole credential


NONE = Rights()
ALL = Rights(refunds=True, codes=True, macaroon=True)


def of_credential(shown: Verified) -> Rights:
    """Return what a macaroon of the session may see, as its caveats leave it."""
    may_refund = shown.grant.allows_endpoint("refund")
    return Rights(True, may_refund, len(shown.grant.links) == 1)


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Says what a caller may see of a session."""

    callers: Callers
    sessions: Sessions

    async def of_caller(self, request: Request, row: SessionView) -> Rights:
        """Return what a request's sender may see of it. Refuses (401) what does not hold."""
        preimage = request.headers.get("x-payment-preimage")
        if preimage is not None:
            if not PREIMAGE.fullmatch(preimage):
                raise BadInput("The header X-Payment-Preimage must be 64 hex digits.")
            if await self.sessions.is_paid_by(row.id, preimage):
                return ALL
        if await self.callers.macaroon(request, "status") is not None:
            held = await self.callers.holder(request, row.id, "status", self.sessions.standing)
            return of_credential(held)
        claims = request.query_params.getlist("claim")
        if not claims:
            return NONE
        if len(claims) > 1 or not _is_claim(row, claims[0]):
            raise unknown(
                Why.CREDENTIAL_INVALID,
                "This claim isn't valid for this session.",
                "Send its macaroon, or the preimage of its deposit as X-Payment-Preimage.",
            )
        return ALL if row.credential_used_at is None else NONE


def _is_claim(row: SessionView, claim: str) -> bool:
    return row.claim_sha256 is not None and hmac.compare_digest(kept_as(claim), row.claim_sha256)
