"""Whose a conversation is: the session's whose macaroon was shown, or a visitor's.

A visitor has no account: a cookie of ours, sealed with the operator's secret, says who comes again.
One that does not open is as if it were not there.
"""

import secrets
from dataclasses import dataclass, replace
from functools import partial

from starlette.requests import Request

from app.http.caller import Callers, Standing, check_standing, presented, unknown
from app.refusal import Why
from app.trade.chats import Owner
from app.trade.holds import Unseen
from payments.seal import BadSecret, Seal
from statemachine.cell import ALONE, Cell

COOKIE = "boltwork_visitor"
PATH = "/api/gemini"
KEPT_S = 365 * 24 * 3600
ENDPOINT = "gemini"  # what a macaroon must allow
_SEALED_AS = "visitor cookie"
_LONGEST = 300


def new_visitor() -> Owner:
    """Return somebody who was never here."""
    return Owner(f"visitor:{secrets.token_hex(16)}")


@dataclass(frozen=True, slots=True)
class Visitors:
    """Knows whose a conversation is."""

    callers: Callers
    standing: Standing
    seal: Seal
    public_url: str | None
    cell: Cell = ALONE

    async def owner_of(self, request: Request) -> Owner | None:
        """Return who asks; None for a visitor who was never here. Refuses with 401 or 403."""
        owner = await self.unseen_owner_of(request)
        if owner is None or owner.unseen is None:
            return owner
        await owner.unseen.look()
        return replace(owner, unseen=None)

    async def unseen_owner_of(self, request: Request) -> Owner | None:
        """Return who asks, as `owner_of` does, but for what its session's row has against a
        credential: whoever sets money aside for the owner looks that up.
        """
        shown = presented(request)
        if shown is not None and shown.scheme != "bearer":
            raise unknown(
                Why.CREDENTIAL_INVALID,
                "This takes a session's macaroon, as `Authorization: Bearer MACAROON`.",
            )
        credential = await self.callers.macaroon(request, ENDPOINT)
        if credential is not None:
            unseen = Unseen(credential.nonce, partial(check_standing, credential, self.standing))
            return Owner(f"session:{credential.session_id}", credential, unseen)
        return self._visitor(request)

    def cookie_for(self, owner: Owner) -> str:
        """Return the Set-Cookie line by which a visitor is known again."""
        _, _, visitor_id = owner.name.partition(":")
        sealed = self.cell.before(self.seal.close(_SEALED_AS, visitor_id.encode()))
        public_url = self.public_url or ""
        secure = "; Secure" if public_url.startswith("https://") else ""
        return f"{COOKIE}={sealed}; Max-Age={KEPT_S}; Path={PATH}; HttpOnly; SameSite=Lax{secure}"

    def _visitor(self, request: Request) -> Owner | None:
        sealed = request.cookies.get(COOKIE, "")
        if not sealed or len(sealed) > _LONGEST or not sealed.isascii():
            return None
        try:
            visitor_id = self.seal.open(_SEALED_AS, self.cell.after(sealed)).decode()
        except BadSecret:
            return None
        return Owner(f"visitor:{visitor_id}")
