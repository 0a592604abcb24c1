"""Who asks: by the Authorization header, an API key, or a cookie. What does not hold is a 401.

The scheme tells credentials apart: `Bearer` is the macaroon of a session, the token of an account's
login (64 hex digits, which no macaroon is) or an API key (by its prefix); `L402` and `Payment` are
proofs. Each may stand in `Payment-Authorization`, where `Authorization` is taken by a proxy's own;
an API key may stand in `x-api-key`. A browser sends the token as a cookie: so a request that
changes something must be one of our own pages.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from app.advance import Payer
from app.http.origins import check_json
from app.keys.api_keys import looks_like_one
from app.keys.credentials import Credentials
from app.ports import Clock
from app.refusal import Refusal, Why
from app.trade.keys import Keys
from app.trade.logins import KEPT, Logins
from db.api_keys import KeyRow
from db.people import LoginRow
from payments import mpp
from payments.challenge import HEADERS, Shown, shown_in
from payments.l402 import SCHEMES
from payments.macaroon import Invalid
from payments.session_macaroon import Verified

OURS = ("bearer", *SCHEMES, mpp.SCHEME)
_LINES = tuple(name.encode() for name in HEADERS)
BEARER = {"WWW-Authenticate": 'Bearer realm="boltwork"'}

COOKIE = "session"  # the document's name for it; it is a login's, and no session's
KEPT_S = int(KEPT.total_seconds())
READS = ("GET", "HEAD")
KEY = "x-api-key"
_KEY_LINE = KEY.encode()
_TOKEN = re.compile("[0-9a-f]{64}")

# Says what a session's row has against a credential: a sentence, or None when it may go on.
Standing = Callable[[Verified], Awaitable[str | None]]


def unknown(why: Why, sentence: str, next_step: str | None = None) -> Refusal:
    """Return a 401: nobody that we know has sent this."""
    return Refusal(why, sentence, next_step, BEARER)


async def check_standing(shown: Verified, standing: Standing) -> None:
    """Refuse with 401 a credential that its session's row has something against."""
    against = await standing(shown)
    if against is not None:
        raise unknown(Why.CREDENTIAL_INVALID, against)


def presented(request: Request) -> Shown | None:
    """Return the credential that a request shows us, or else one of a scheme that is not ours.

    Refuses with 401 where there are two for us that differ.
    """
    given = request.scope["headers"]  # as they came: on a poll each microsecond counts
    lines = [(name, value) for name, value in given if name in _LINES]
    if not lines:
        return None
    shown = shown_in((name.decode(), value.decode("latin-1")) for name, value in lines)
    ours = {each.scheme.replace("lsat", "l402"): each for each in shown if each.scheme in OURS}
    if len(ours) > 1 or sum(each.scheme == "bearer" for each in shown) > 1:
        raise _two()
    return next(iter(ours.values()), shown[0] if shown else None)


def _two() -> Refusal:
    sentence = "There are two different credentials in the request. Send one."
    return unknown(Why.CREDENTIAL_INVALID, sentence)


def bearer(request: Request) -> str | None:
    """Return the macaroon of `Authorization: Bearer …`; None where another scheme is used."""
    shown = presented(request)
    if shown is None or shown.scheme != "bearer":
        return None
    if not shown.credential:
        raise unknown(
            Why.CREDENTIAL_INVALID,
            "There is nothing after Bearer. Send `Authorization: Bearer MACAROON`.",
        )
    return shown.credential


def api_key(request: Request) -> str | None:
    """Return the API key that a request shows, as `x-api-key` or as `Authorization: Bearer …`.

    Refuses with 401 where there is another credential of a holder's beside it; a proof of payment
    may stand there.
    """
    lines = {value for name, value in request.scope["headers"] if name == _KEY_LINE}
    text = bearer(request)
    if not lines:
        return text if text is not None and looks_like_one(text) else None
    keys = {line.decode("latin-1").strip() for line in lines}
    if len(keys | ({text} if text is not None else set())) > 1:
        raise _two()
    return str(keys.pop())


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has an account, as a request shows: by a login, or by an API key."""

    account_id: str
    login: LoginRow | None = None
    key: KeyRow | None = None

    @property
    def payer(self) -> Payer:
        """The account as it pays: where a key asks it to, within that key's limit."""
        return Payer(self.account_id, self.key.id if self.key is not None else None)


def login_cookie(token: str, public_url: str | None, kept_s: int = KEPT_S) -> str:
    """Return the Set-Cookie line of a login; with 0 seconds, the one that takes it back."""
    secure = "; Secure" if (public_url or "").startswith("https://") else ""
    return f"{COOKIE}={token}; Max-Age={kept_s}; Path=/; HttpOnly; SameSite=Lax{secure}"


Caller = Verified | Holder | None  # a session's holder, an account's, or nobody that we know


@dataclass(frozen=True, slots=True)
class Callers:
    """Knows the holders of sessions by their macaroons, and those of accounts by their logins and
    API keys.
    """

    credentials: Credentials
    clock: Clock
    logins: Logins
    keys: Keys
    public_url: str | None

    async def caller(self, request: Request, endpoint: str) -> Caller:
        """Return who asks. Refuses as `account` and `macaroon` do."""
        return await self.account(request) or await self.macaroon(request, endpoint)

    async def account(self, request: Request) -> Holder | None:
        """Return whose account a request is for, None where it shows no API key and no token of a
        login.

        Refuses with 401 one that isn't valid, and with 403 what a page of another site sends with a
        cookie of ours.
        """
        given = api_key(request)
        if given is not None:
            return await self._by_key(given)
        token, by_cookie = bearer(request), False
        if token is None:
            token, by_cookie = request.cookies.get(COOKIE, ""), True
        if not _TOKEN.fullmatch(token):
            return None  # a macaroon; or a cookie of another server at this host
        if by_cookie and request.method not in READS:
            check_json(request, self.public_url)
        login = await self.logins.holder(token)
        if login is None:
            raise unknown(
                Why.CREDENTIAL_EXPIRED,
                "This login has expired, or was ended.",
                "Sign in again.",
            )
        return Holder(login.account_id, login)

    async def _by_key(self, given: str) -> Holder:
        key = await self.keys.holder(given)
        if key is None:
            raise unknown(
                Why.CREDENTIAL_INVALID,
                "This API key isn't valid.",
                "Check it, or make another one with POST /api/v1/user/apikeys.",
            )
        return Holder(key.account_id, key=key)

    async def needed_login(self, request: Request) -> tuple[Holder, LoginRow]:
        """Return whose account a request is for, and the login that it shows.

        Refuses as `needed_account` does, and with 403 an API key.
        """
        holder = await self.needed_account(request)
        if holder.login is None:
            raise Refusal(
                Why.NOT_ALLOWED,
                "An API key does not do for this.",
                "Sign in, and send the login's cookie or token.",
            )
        return holder, holder.login

    async def unlimited(self, request: Request) -> Holder:
        """Return whose account a request is for, where it may give others a way into it.

        Refuses as `needed_account` does, and with 403 an API key that has a spending limit.
        """
        holder = await self.needed_account(request)
        if holder.key is not None and holder.key.is_limited:
            raise Refusal(
                Why.NOT_ALLOWED,
                "An API key with a spending limit does not do for this.",
                "Sign in, or use a key without one.",
            )
        return holder

    async def may_read(self, request: Request, account_id: str | None) -> bool:
        """Say whether a caller may read what an account bought; what is nobody's, by its id.

        Refuses as `account` does.
        """
        holder = await self.account(request)
        return account_id is None or (holder is not None and holder.account_id == account_id)

    async def needed_account(self, request: Request) -> Holder:
        """Return whose account a request is for. Refuses as `account` does, and with 401 nobody."""
        holder = await self.account(request)
        if holder is None:
            raise unknown(
                Why.CREDENTIAL_NEEDED,
                "This needs an account.",
                "Send an API key as `x-api-key`; or sign in with POST /api/auth/login, and send its"
                " cookie, or a sessionToken as `Authorization: Bearer TOKEN`.",
            )
        return holder

    async def macaroon(self, request: Request, endpoint: str) -> Verified | None:
        """Return the session credential that a request shows, None if it shows none.

        Refuses with 401 what does not hold or is over, with 403 what its caveats do not allow here.
        """
        text = bearer(request)
        if text is None:
            return None
        found = await self.credentials.verify(text)
        if isinstance(found, Invalid):
            raise unknown(Why.CREDENTIAL_INVALID, f"This macaroon isn't valid. {found.reason}")
        if found.grant.expired(self.clock()):
            raise unknown(Why.CREDENTIAL_EXPIRED, "This macaroon has expired.")
        if not found.grant.allows_endpoint(endpoint):
            raise Refusal(
                Why.NOT_ALLOWED,
                f"This macaroon was narrowed, and does not allow {endpoint!r}.",
                "Use the macaroon that it was made from, or ask its holder.",
            )
        return found

    async def holder(
        self, request: Request, session_id: str, endpoint: str, standing: Standing
    ) -> Verified:
        """Return the credential with which a request may use an endpoint of this session.

        `standing` looks at the row: its nonce, and whether a link was revoked.
        """
        found = await self.macaroon(request, endpoint)
        if found is None:
            raise unknown(
                Why.CREDENTIAL_NEEDED,
                "This needs the session's macaroon.",
                "Send it as `Authorization: Bearer MACAROON`.",
            )
        if found.session_id != session_id:
            raise unknown(Why.CREDENTIAL_INVALID, "This macaroon belongs to another session.")
        await check_standing(found, standing)
        return found
