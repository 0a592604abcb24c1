"""Who asks: the Authorization header is read by its scheme, and junk is a clean 401."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.advance import Shell, Terms, new_id
from app.http.caller import Callers, bearer, presented
from app.http.dialect import AGENT_JOBS
from app.keys.credentials import Credentials
from app.keys.passwords import Passwords
from app.main import utc_now
from app.refusal import Refusal, Why
from app.trade.keys import Keys
from app.trade.logins import Logins
from db.engine import Database
from db.promises import Outbox
from payments.key_ring import KeyRing
from payments.seal import Seal
from payments.session_macaroon import Verified
from tests.world.macaroon_fixtures import NONCE, NOW, SESSION, narrowed, shown

SECONDS = int(NOW.timestamp())


def asks(*values: str) -> Request:
    """Return a request with these Authorization headers."""
    headers = [(b"authorization", value.encode("latin-1")) for value in values]
    return Request({"type": "http", "method": "GET", "headers": headers})


def checks_with(db: Database) -> Credentials:
    """Return credentials over a database."""
    return Credentials(db, Seal(("s" * 32,)), KeyRing(), (), utc_now)


def callers_of(checks: Credentials, now: datetime = NOW) -> Callers:
    """Return what knows holders by these credentials, at this time."""
    db = Database("postgresql://nobody@127.0.0.1:9/none")  # nobody logs in here
    shell = Shell(db, Outbox(db), Terms(), lambda: now)
    logins = Logins(db, shell, Passwords(), lambda: now, new_id)
    keys = Keys(db, shell, lambda: now, new_id)
    return Callers(checks, lambda: now, logins, keys, None)


async def well(_: Verified) -> None:
    """A row that has nothing against any credential."""


async def refused(
    checks: Credentials, request: Request, endpoint: str = "request", standing: Any = well
) -> Refusal:
    """Return how a request is refused."""
    with pytest.raises(Refusal) as caught:
        await callers_of(checks).holder(request, SESSION, endpoint, standing)
    return caught.value


def test_schemes_are_told_apart() -> None:
    """By what stands before the first space, in any case."""
    assert presented(asks()) is None and presented(asks(" ")) is None
    for value, scheme in (("Bearer abc", "bearer"), ("L402 a:b", "l402"), ("lsat x", "lsat")):
        shown_ = presented(asks(value))
        assert shown_ is not None and shown_.scheme == scheme
        assert shown_.credential == value.partition(" ")[2]
        assert shown_.credential not in repr(shown_)
    assert bearer(asks("bEARER   abc ")) == "abc"
    assert bearer(asks("L402 a:b")) is None and bearer(asks("Basic abc")) is None
    assert bearer(asks("Bearer a", "Bearer a")) == "a" == bearer(asks("Basic abc", "Bearer a"))
    assert bearer(asks("Basic abc, Bearer\ta")) == "a"
    for wrong in (asks("Bearer"), asks("Bearer  "), asks("Bearer a", "Bearer b")):
        with pytest.raises(Refusal) as caught:
            bearer(wrong)
        assert caught.value.why is Why.CREDENTIAL_INVALID


async def test_a_credential_opens_its_session_and_no_other(db: Database) -> None:
    """With the endpoints that its caveats leave; the row has the last word."""
    checks = checks_with(db)
    text = await checks.session_macaroon(SESSION, NONCE)
    asked: list[Verified] = []

    async def standing(found: Verified) -> str | None:
        asked.append(found)
        return None if found.nonce == NONCE else "The macaroon was revoked."

    found = await callers_of(checks).holder(asks(f"Bearer {text}"), SESSION, "close", standing)
    assert (found.session_id, found.nonce) == (SESSION, NONCE) and asked == [found]
    again = await checks.session_macaroon(SESSION, "ab" * 16)
    revoked = await refused(checks, asks(f"Bearer {again}"), standing=standing)
    assert (revoked.why, revoked.sentence) == (Why.CREDENTIAL_INVALID, "The macaroon was revoked.")
    other = await checks.session_macaroon("ab" * 16, NONCE)
    strange = await refused(checks, asks(f"Bearer {other}"), standing=standing)
    assert strange.why is Why.CREDENTIAL_INVALID and "another session" in strange.sentence
    assert len(asked) == 2


async def test_what_was_narrowed_away_is_forbidden(db: Database) -> None:
    """403 for an endpoint that the caveats do not leave, 401 when the time is over."""
    checks = checks_with(db)
    text = await checks.session_macaroon(SESSION, NONCE)
    for caveats, endpoint in (
        (["endpoints=status,topup"], "request"),
        (["budget_sats=5"], "close"),
        (["max_sats=5", "endpoints=refund"], "refund"),
    ):
        request = asks(f"Bearer {narrowed(caveats, text)}")
        assert (await refused(checks, request, endpoint)).why is Why.NOT_ALLOWED
        allowed = (
            await callers_of(checks).holder(request, SESSION, "topup", well)
            if "=s" in caveats[0]
            else None
        )
        assert allowed is None or allowed.session_id == SESSION
    timed = f"Bearer {narrowed([f'expires_at={SECONDS}'], text)}"
    over = await refused(checks, asks(timed))
    assert over.why is Why.CREDENTIAL_EXPIRED and "has expired" in over.sentence
    before = datetime.fromtimestamp(SECONDS - 1, NOW.tzinfo)
    request, callers = asks(timed), callers_of(checks, before)
    held = await callers.holder(request, SESSION, "request", well)
    assert await callers.macaroon(request, "request") == held


async def test_without_a_credential_it_is_401_with_a_challenge(db: Database) -> None:
    """And the answer says which scheme is wanted, as RFC 9110 has it."""
    checks = checks_with(db)
    for values in ((), ("L402 a:b",), ("Basic abc",), ("Bearer junk",), ("Bearer ",)):
        refusal = await refused(checks, asks(*values))
        nothing = values in ((), ("L402 a:b",), ("Basic abc",))
        wanted = Why.CREDENTIAL_NEEDED if nothing else Why.CREDENTIAL_INVALID
        assert refusal.why is wanted
        assert refusal.headers == {"WWW-Authenticate": 'Bearer realm="boltwork"'}
    assert await callers_of(checks).macaroon(asks("L402 a:b"), "ask") is None


@shown(150)
@given(st.text(st.characters(max_codepoint=255), max_size=60))
async def test_junk_is_a_clean_401(junk: str) -> None:
    """Whatever stands in the header. Nobody asks the database for it twice."""

    class Empty(Database):
        async def read_all(self, query: str, **values: Any) -> list[dict[str, Any]]:
            return []

    checks = checks_with(Empty("postgresql://nobody@127.0.0.1:9/nothing"))
    for value in (junk, f"Bearer {junk}", f"Bearer {narrowed([])}{junk}x"):
        assert AGENT_JOBS.status((await refused(checks, asks(value))).why) == 401
