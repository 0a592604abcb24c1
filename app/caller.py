"""Who asks, by what the Authorization header holds. What can't be read or does not hold is a 401.

The scheme tells credentials apart: `Bearer` is the macaroon of a session, `L402` a proof.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from app.errors import Refusal
from app.house import House
from payments.macaroon import Invalid
from payments.session_macaroon import Verified

BEARER = {"WWW-Authenticate": 'Bearer realm="boltwork"'}

# Says what a session's row has against a credential: a sentence, or None when it may go on.
Standing = Callable[[Verified], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Presented:
    """What a caller shows: the scheme in small letters, and what stands behind it."""

    scheme: str
    credential: str = field(repr=False)


def unknown(sentence: str, next_step: str | None = None) -> Refusal:
    """Return a 401: nobody that we know has sent this."""
    return Refusal(401, sentence, next_step, BEARER)


def presented(request: Request) -> Presented | None:
    """Return what the Authorization header holds; None where there is none, or an empty one."""
    given = request.scope["headers"]  # as they came: on a poll each microsecond counts
    values = [value.decode("latin-1").strip() for name, value in given if name == b"authorization"]
    if len(values) > 1:
        raise unknown("There are two Authorization headers. Send one.")
    if not values or not values[0]:
        return None
    scheme, _, credential = values[0].partition(" ")
    return Presented(scheme.lower(), credential.strip())


def bearer(request: Request) -> str | None:
    """Return the macaroon of `Authorization: Bearer …`; None where another scheme is used."""
    shown = presented(request)
    if shown is None or shown.scheme != "bearer":
        return None
    if not shown.credential:
        raise unknown("There is nothing behind Bearer in the Authorization header.")
    return shown.credential


async def macaroon(request: Request, endpoint: str) -> Verified | None:
    """Return the session credential that a request shows, None if it shows none.

    Refuses with 401 what does not hold or is over, with 403 what its caveats do not allow here.
    """
    text = bearer(request)
    if text is None:
        return None
    house: House = request.app.state.house
    found = await house.parts.credentials.verify(text)
    if isinstance(found, Invalid):
        raise unknown(f"The macaroon is not taken. {found.reason}")
    if found.grant.expired(house.parts.clock()):
        raise unknown("The macaroon is over: it had a time, and that has passed.")
    if not found.grant.allows_endpoint(endpoint):
        raise Refusal(
            403,
            f"This macaroon was narrowed, and does not allow {endpoint!r}.",
            "Use the macaroon that it was made from, or ask its holder.",
        )
    return found


async def holder(request: Request, session_id: str, endpoint: str, standing: Standing) -> Verified:
    """Return the credential with which a request may use an endpoint of this session.

    `standing` looks at the row: its nonce, and whether a link was revoked.
    """
    found = await macaroon(request, endpoint)
    if found is None:
        raise unknown(
            "This needs the session's macaroon.",
            "Send it as `Authorization: Bearer MACAROON`.",
        )
    if found.session_id != session_id:
        raise unknown("The macaroon is that of another session.")
    against = await standing(found)
    if against is not None:
        raise unknown(against)
    return found
