"""Sessions at work: opened and topped up by an invoice, and spent on requests.

Whatever creates or spends is done once for each name that its caller gave it.
"""

import hashlib
from dataclasses import dataclass

from app import advance
from app.advance import Act, Applied, Missing, Outcome, Short
from app.house import House
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.trade.holds import check_most, not_active, refused, spending_of
from app.trade.orders import Name, claimed_id, known_id, no_invoice
from db import invoices, sessions
from db.engine import Duplicate, Row
from payments.session_macaroon import Verified
from pricing.money import Msat, sats_down, sats_up
from statemachine import session as law


class _NotSpent(Exception):
    """The session does not pay: nothing of the transaction may stay."""

    def __init__(self, told: Outcome | Short) -> None:
        super().__init__()
        self.told = told


def unknown_session() -> Refusal:
    """Return what is said of a session that is not there."""
    return Refusal(
        Why.UNKNOWN,
        "There is no session with this id. Check it, or open one with POST /api/sessions.",
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that awaits its deposit."""

    session_id: str
    invoice: Row
    claim: str | None  # shows its macaroon, and is told this once: None to who asks again


async def open_session(
    house: House, deposit_msat: Msat, refund_to: str | None, name: Name | None
) -> Opening:
    """Return a new session, or the one that this name was given to.

    Raises Refusal: 409 when the name was used for another body, 503 when no invoice can be made.
    """
    if await known_id(house, name) is None:
        house.check_can_be_done()
    parts = house.parts
    fresh_id, nonce, claim = parts.new_id(), parts.new_id(), parts.new_id()

    async def begin(act: Act) -> str:
        claimed = await claimed_id(act, name, fresh_id)
        if claimed == fresh_id:
            await advance.sessions.begin(
                act, fresh_id, deposit_msat, refund_to, nonce, kept_as(claim)
            )
        return claimed

    session_id = await parts.shell.do(begin)
    made = await _made_invoice(house, law.deposit_invoice_id(session_id))
    if made is None:
        if name is None:  # nobody was told of this session
            await parts.shell.do(advance.sessions.close, session_id)
        raise no_invoice(house)
    return Opening(session_id, made, claim if session_id == fresh_id else None)


def kept_as(claim: str) -> str:
    """Return what a session's row keeps of its claim: enough to know it again."""
    return hashlib.sha256(claim.encode()).hexdigest()


async def top_up(house: House, session_id: str, amount_msat: Msat, name: Name | None) -> Row:
    """Return the invoice of a top-up.

    Raises Refusal: 409 while another one is pending, 503 when no invoice can be made.
    """
    if await known_id(house, name) is None:
        house.check_can_be_done()

    async def ask_topup(act: Act) -> str | Outcome:
        # The lock first: two with one name must not both find that nothing is pending.
        row = await sessions.lock(act.tx, session_id)
        if row is None:
            return Missing()
        invoice_id = law.topup_invoice_id(session_id, row.topups + 1)
        claimed = await claimed_id(act, name, invoice_id)
        if claimed != invoice_id:
            return claimed
        told = await advance.sessions.ask_topup(act, session_id, amount_msat)
        if not isinstance(told, str):
            raise _NotSpent(told)
        return told

    try:
        told = await house.parts.shell.do(ask_topup)
    except (_NotSpent, Duplicate):
        raise await _no_topup(house, session_id) from None
    if not isinstance(told, str):
        raise unknown_session()
    made = await _made_invoice(house, told)
    if made is None:
        if name is None:
            await house.parts.shell.do(advance.invoices.drop, told)
        raise no_invoice(house)
    return made


async def _no_topup(house: House, session_id: str) -> Refusal:
    row = await sessions.get(house.parts.db, session_id)
    if row is not None and row["state"] in (law.SessionState.ACTIVE, law.SessionState.PAUSED):
        return Refusal(
            Why.TOP_UP_PENDING,
            "A top-up of this session is pending already.",
            f"Pay it: GET /api/sessions/{session_id} shows it as pendingTopup.",
        )
    refusal = await not_active(house, session_id)
    why = Why.CLOSED_FOR_TOP_UP if refusal.why is Why.CLOSED else refusal.why
    return Refusal(why, refusal.sentence, refusal.next_step)


async def _made_invoice(house: House, invoice_id: str) -> Row | None:
    """Have the rail make an invoice now, and return it; None when it can't."""
    await house.keeper.create_invoice(invoice_id)
    row = await invoices.get(house.parts.db, invoice_id)
    return row if row is not None and row["bolt11"] is not None else None


@dataclass(frozen=True, slots=True)
class Request:
    """One ask on a session."""

    text: str
    max_msat: Msat | None = None  # the most that it may cost, evaluation included


async def submit(house: House, holder: Verified, request: Request, name: Name | None) -> str:
    """Set a request's ceiling aside and have it done; return its id, or that of this name's.

    Raises Refusal: 402 when the balance or a budget is too low, 403 when it is more than the
    credential allows for one request, 409 when it may cost more than its own limit or the session
    is not ready, 410 when it is over.
    """
    before = await known_id(house, name)
    if before is not None:
        return before
    parts, job_id = house.parts, house.parts.new_id()
    about(job=job_id)
    house.check_can_be_done()
    await house.check_welcome(f"session:{holder.session_id}")
    eval_msat, quote = await house.till.firm(request.text)
    ceiling_msat = eval_msat + quote.total_msat

    async def begin_reserved(act: Act) -> str:
        claimed = await claimed_id(act, name, job_id)
        if claimed != job_id:
            return claimed
        _check(holder, request, ceiling_msat)
        spending = spending_of(holder.grant)
        told = await advance.jobs.begin_reserved(
            act, job_id, request.text, holder.session_id, spending, eval_msat, quote
        )
        if not isinstance(told, Applied):
            raise _NotSpent(told)
        return job_id

    try:
        return await parts.shell.do(begin_reserved)
    except _NotSpent as not_spent:
        raise await refused(house, holder.session_id, not_spent.told) from None


def _check(holder: Verified, request: Request, ceiling_msat: int) -> None:
    check_most(holder.grant, ceiling_msat)
    if request.max_msat is not None and ceiling_msat > request.max_msat:
        raise Refusal(
            Why.OVER_MAX_SATS,
            f"This may cost up to {sats_up(ceiling_msat)} sats, more than your maxSats"
            f" of {sats_down(request.max_msat)}.",
            "Send it again with a higher limit, or a shorter request.",
            leastSats=sats_up(ceiling_msat),
        )


def caller_of(holder: Verified) -> str:
    """Return whose Idempotency-Keys these are: a child's never meet those of another credential.

    Those of the whole credential are the session's, whichever root key it was made with.
    """
    links = holder.grant.links
    of = f":{links[-1]}" if len(links) > 1 else ""
    return f"session:{holder.session_id}{of}"


async def standing(house: House, holder: Verified) -> str | None:
    """Return what its session has against a credential; None when it is taken.

    The first use of one is written down: from then on it is shown to its holder alone.
    """
    return await Look(house, "")(holder)


class Look:
    """The same, and where one request of the session stands, in one SELECT: what a poll reads."""

    def __init__(self, house: House, request_id: str) -> None:
        self._house, self._request_id = house, request_id
        self.row: Row = {}  # its version and whether this is its asker: None where there is none

    async def __call__(self, holder: Verified) -> str | None:
        """Return what its session has against a credential; None when it is taken."""
        db, session_id = self._house.parts.db, holder.session_id
        row = await sessions.standing(db, session_id, holder.grant.links, self._request_id)
        if row is None:
            return "This macaroon's session does not exist."
        if row["nonce"] != holder.nonce or row["is_revoked"]:
            return "This macaroon was revoked."
        if row["is_new"]:
            now = self._house.parts.clock()
            await db.run("credential_used", lambda tx: sessions.mark_used(tx, session_id, now))
        self.row = row
        return None
