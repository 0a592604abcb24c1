"""Sessions at work: opened and topped up by an invoice, and spent on requests.

Whatever creates or spends is done once for each name that its caller gave it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app import advance
from app.advance import Act, Applied, Outcome, Shell, Short
from app.ports import Clock
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.till import Till
from app.trade.holds import check_most, not_active, refused, spending_of
from app.trade.invoicing import Invoicing
from app.trade.once import Before, Beginning, Name, once
from app.trade.selling import Selling
from db import sessions
from db.engine import Database, Duplicate, Tx
from db.invoices import MadeInvoice
from db.sessions import Standing
from db.webhooks import NewWebhook
from payments.session_macaroon import Verified
from pricing.money import Msat, sats_down, sats_up
from statemachine import session as law
from statemachine.invoice import InvoiceState
from statemachine.owner import Purpose
from statemachine.session import SessionState

PREIMAGE = re.compile("[0-9a-fA-F]{64}")


class _NotSpent(Exception):
    """The session doesn't pay, so the transaction is rolled back."""

    def __init__(self, outcome: Outcome | Short) -> None:
        super().__init__()
        self.outcome = outcome


def unknown_session() -> Refusal:
    """Return the refusal for an id that no session has."""
    return Refusal(
        Why.UNKNOWN,
        "There is no session with this id. Check it, or open one with POST /api/sessions.",
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that awaits its deposit."""

    session_id: str
    invoice: MadeInvoice
    claim: str | None  # shows its macaroon; given once, and None when the same is asked again


@dataclass(frozen=True, slots=True)
class Request:
    """One ask on a session."""

    text: str
    max_msat: Msat | None = None  # the most that it may cost, evaluation included


@dataclass(frozen=True, slots=True)
class Sessions:
    """The desk of prepaid balances."""

    db: Database
    shell: Shell
    invoicing: Invoicing
    till: Till
    selling: Selling
    clock: Clock
    new_id: Callable[[], str]

    async def open(
        self,
        deposit_msat: Msat,
        refund_to: str | None,
        name: Name | None,
        webhook: NewWebhook | None = None,
    ) -> Opening:
        """Return a new session, or the one that this name was given to.

        Raises Refusal: 409 when the name was used for another body, 503 when no invoice can be
        made.
        """
        made = await once(
            self.shell, name, partial(self._prepare, deposit_msat, refund_to, webhook)
        )
        if isinstance(made, Before):
            row = await self.invoicing.made_before(law.deposit_invoice_id(made.id))
            return Opening(made.id, row, None)
        return made

    async def _prepare(
        self, deposit_msat: Msat, refund_to: str | None, webhook: NewWebhook | None
    ) -> Beginning[Opening]:
        """Return a new session, with the invoice that the rail has made for its deposit."""
        self.selling.check_can_be_done()
        session_id, nonce, claim = self.new_id(), self.new_id(), self.new_id()
        invoice_id = law.deposit_invoice_id(session_id)
        opened = await self.invoicing.new(invoice_id, Purpose.DEPOSIT, deposit_msat)

        async def begin(act: Act) -> Opening:
            made = await advance.sessions.begin(
                act, session_id, opened, refund_to, nonce, kept_as(claim), webhook
            )
            return Opening(session_id, made, claim)

        return Beginning(session_id, begin)

    async def top_up(self, session_id: str, amount_msat: Msat, name: Name | None) -> MadeInvoice:
        """Return the invoice of a top-up.

        Raises Refusal: 409 while another one is pending, 503 when no invoice can be made.
        """
        # Before the name: a request of the same name at this moment leaves both, or neither.
        refusal = await self._topup_refusal(session_id)
        prepare = partial(self._prepare_topup, session_id, amount_msat, refusal)
        try:
            made = await once(self.shell, name, prepare)
        except (_NotSpent, Duplicate):
            raise await self._no_topup(session_id) from None
        return await self.invoicing.made_before(made.id) if isinstance(made, Before) else made

    async def _prepare_topup(
        self, session_id: str, amount_msat: Msat, refusal: Refusal | None
    ) -> Beginning[MadeInvoice]:
        """Return a new top-up, with the invoice that the rail has made for it."""
        self.selling.check_can_be_done()
        if refusal is not None:
            raise refusal
        # Which of its top-ups it will be is known under the session's lock alone.
        key = f"{law.topup_invoice_id(session_id, 0)}:{self.new_id()}"
        opened = await self.invoicing.new(key, Purpose.TOPUP, amount_msat)

        async def invoice_id(act: Act) -> str:
            # The lock first: two with one name must not both find that nothing is pending.
            row = await sessions.lock(act.tx, session_id)
            if row is None:
                raise unknown_session()
            return law.topup_invoice_id(session_id, row.topups + 1)

        async def ask_topup(act: Act) -> MadeInvoice:
            made = await advance.sessions.ask_topup(act, session_id, opened)
            if not isinstance(made, MadeInvoice):
                raise _NotSpent(made)
            return made

        return Beginning(invoice_id, ask_topup)

    async def _topup_refusal(self, session_id: str) -> Refusal | None:
        """Return what the shell would refuse a top-up for, before the rail is asked for one."""
        row = await sessions.get(self.db, session_id)
        if row is None:
            return unknown_session()
        takes_one = law.SESSION.allows(row.state, law.SessionEvent.TOPPED_UP)
        if not takes_one or await sessions.pending_topup(self.db, session_id):
            return await self._no_topup(session_id)
        return None

    async def _no_topup(self, session_id: str) -> Refusal:
        row = await sessions.get(self.db, session_id)
        if row is not None and row.state in (SessionState.ACTIVE, SessionState.PAUSED):
            return Refusal(
                Why.TOP_UP_PENDING,
                "A top-up of this session is pending already.",
                f"Pay it: GET /api/sessions/{session_id} shows it as pendingTopup.",
            )
        refusal = await not_active(self.db, session_id)
        why = Why.CLOSED_FOR_TOP_UP if refusal.why is Why.CLOSED else refusal.why
        return Refusal(why, refusal.sentence, refusal.next_step)

    async def submit(self, holder: Verified, request: Request, name: Name | None) -> str:
        """Reserve a request's maximum price and begin it; return its id, or the one of this name.

        Raises Refusal: 402 when the balance or a budget is too low, 403 when it is more than the
        credential allows for one request, 409 when it may cost more than its own limit or the
        session is not ready, 410 when it is closed.
        """
        try:
            made = await once(self.shell, name, partial(self._prepare_request, holder, request))
        except _NotSpent as not_spent:
            raise await refused(self.db, holder.session_id, not_spent.outcome) from None
        return made.id if isinstance(made, Before) else made

    async def _prepare_request(self, holder: Verified, request: Request) -> Beginning[str]:
        """Return a new request, at the most that it may cost."""
        job_id = self.new_id()
        about(job=job_id)
        self.selling.check_can_be_done()
        await self.selling.check_welcome(f"session:{holder.session_id}")
        eval_msat, quote = await self.till.firm(request.text)
        ceiling_msat = eval_msat + quote.total_msat

        async def begin_reserved(act: Act) -> str:
            _check(holder, request, ceiling_msat)
            spending = spending_of(holder.grant)
            outcome = await advance.jobs.begin_reserved(
                act, job_id, request.text, holder.session_id, spending, eval_msat, quote
            )
            if not isinstance(outcome, Applied):
                raise _NotSpent(outcome)
            return job_id

        return Beginning(job_id, begin_reserved)

    async def close(self, session_id: str, refund_to: str | None = None) -> None:
        """Close a session; what is left is owed back at once."""
        await self.shell.do(advance.sessions.close, session_id, refund_to)

    async def revoke(self, session_id: str, link: str) -> None:
        """Revoke a credential and its children."""
        now = self.clock()
        await self.db.run(
            "revoke", lambda tx: sessions.revoke(tx, session_id, link, now), alone=True
        )

    async def renew(self, session_id: str) -> str:
        """Revoke every credential made until now; return the nonce of the next."""
        nonce, now = self.new_id(), self.clock()

        async def renew(tx: Tx) -> None:
            row = await sessions.lock(tx, session_id)
            if row is not None:
                await sessions.renew(tx, session_id, nonce, now)

        await self.db.run("renew_credential", renew)
        return nonce

    async def standing(self, holder: Verified) -> str | None:
        """Return why a credential isn't valid for its session; None when it is.

        Its first use is recorded: from then on only its holder is shown it.
        """
        return await self.look("")(holder)

    def look(self, request_id: str) -> "Look":
        """Return the same check, which also reads the version of one request of the session."""
        return Look(self.db, self.clock, request_id)

    async def is_paid_by(self, session_id: str, preimage: str) -> bool:
        """Say whether this is the preimage of a session's deposit, and that was paid."""
        if not PREIMAGE.fullmatch(preimage):
            return False
        hashed = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
        rows = await sessions.open_invoices(self.db, session_id)
        deposit = next((row for row in rows if row.purpose == Purpose.DEPOSIT), None)
        if deposit is None or deposit.state is not InvoiceState.SETTLED:
            return False
        return hmac.compare_digest(hashed, deposit.payment_hash or "")


def kept_as(claim: str) -> str:
    """Return the hash of a claim that a session's row keeps."""
    return hashlib.sha256(claim.encode()).hexdigest()


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


class Look:
    """Whether a credential is valid, and the version of a request of its session, in one SELECT: it
    is what a poll reads.
    """

    def __init__(self, db: Database, clock: Clock, request_id: str) -> None:
        self._db, self._clock, self._request_id = db, clock, request_id
        self.row: Standing | None = None  # after a call that found the credential valid

    async def __call__(self, holder: Verified) -> str | None:
        """Return why a credential isn't valid for its session; None when it is."""
        session_id = holder.session_id
        row = await sessions.standing(self._db, session_id, holder.grant.links, self._request_id)
        if row is None:
            return "This macaroon's session does not exist."
        if row.nonce != holder.nonce or row.is_revoked:
            return "This macaroon was revoked."
        if row.is_new:
            now = self._clock()
            await self._db.run(
                "credential_used", lambda tx: sessions.mark_used(tx, session_id, now), alone=True
            )
        self.row = row
        return None
