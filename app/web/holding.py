"""Whether a browser holds a session: by a cookie, which it gets for opening it or for its macaroon.

The cookie names the session and the half of its credential that only the row knows, so revoking
the credential ends it too. The macaroon itself is in no cookie, no address and no storage.
"""

from starlette.requests import Request

from app.house import House, house_of
from app.http.caller import unknown
from app.http.fields import path_id
from app.refusal import Refusal, Why
from app.trade.sessions import unknown_session
from app.web import cookies
from app.web.forms import read_form
from db import sessions
from db.sessions import SessionView
from payments.macaroon import Invalid
from payments.session_macaroon import Verified

COOKIE = "boltwork_session"
ASKED = "boltwork_asked"  # on a request's page: which session it was asked from, in this browser
_SHUT = "This needs the session’s macaroon: give it below."


def path_of(session_id: str) -> str:
    """Return where a session's cookie is sent to, and nowhere else."""
    return f"/sessions/{session_id}"


def cookie_for(house: House, session_id: str, nonce: str) -> str:
    """Return the Set-Cookie line that makes a browser a session's holder."""
    return cookies.line(house, COOKIE, f"{session_id}:{nonce}", path_of(session_id))


def forget(house: House, session_id: str) -> str:
    """Return the Set-Cookie line that ends it."""
    return cookies.forgotten(house, COOKIE, path_of(session_id))


def asked_here(house: House, session_id: str, job_id: str) -> str:
    """Return the Set-Cookie line by which a request's page leads its asker back to the session."""
    return cookies.line(house, ASKED, session_id, f"/jobs/{job_id}")


def asked_from(request: Request) -> str | None:
    """Return the session that this browser asked a request from: the page alone names none."""
    return cookies.opened(request, ASKED)


async def found(request: Request) -> SessionView:
    """Return the session of the address, after asking about its open invoices."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    await house.waiting.nudge_invoices(await sessions.open_invoices(house.db, session_id))
    row = await sessions.get(house.db, session_id)
    if row is None:
        raise unknown_session()
    return row


def holds(request: Request, row: SessionView) -> bool:
    """Say whether this browser is the session's holder."""
    return cookies.opened(request, COOKIE) == f"{row.id}:{row.nonce}"


async def holder_form(request: Request) -> tuple[SessionView, Verified, dict[str, str]]:
    """Return the session, its whole credential and the fields of a form of its holder.

    Refuses with 401 who is not, with 403 a form that is not ours.
    """
    given = await read_form(request)
    row = await found(request)
    if not holds(request, row):
        raise unknown(Why.CREDENTIAL_NEEDED, _SHUT)
    cookies.check_token(request, COOKIE, given)
    return row, await _credential(request, row), given


async def _credential(request: Request, row: SessionView) -> Verified:
    house = house_of(request)
    text = await house.credentials.session_macaroon(row.id, row.nonce)
    verified = await house.credentials.verify(text)
    assert isinstance(verified, Verified), "it was made just now"
    return verified


async def proven(request: Request, row: SessionView, text: str) -> None:
    """Refuse (401, 403) unless a text is the whole macaroon of this session, or shows that its
    sender paid the deposit."""
    house = house_of(request)
    if not text:
        raise unknown(
            Why.CREDENTIAL_NEEDED, "Give the session’s macaroon, or its deposit’s preimage."
        )
    if await house.sessions.is_paid_by(row.id, text):
        return
    verified = await house.credentials.verify(text)
    if isinstance(verified, Invalid) or verified.session_id != row.id:
        raise unknown(Why.CREDENTIAL_INVALID, "This is not a macaroon of this session.")
    if len(verified.grant.links) > 1:
        raise Refusal(Why.NOT_ALLOWED, "Only the session’s whole macaroon opens this page.")
    against = await house.sessions.standing(verified)
    if against is not None:
        raise unknown(Why.CREDENTIAL_INVALID, against)
