"""Money that goes by itself where its owner said: ask the destination for an invoice, and send.

What the destination answers for good is counted, and after three failures another destination is
asked for; what may pass is tried again, with growing pauses. Until it is sent it stays owed.
"""

from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from app.ports import Clock, Destinations
from app.promises.payees import Payees
from app.promises.sending import PAUSED, Sending, Unpayable, refund_title
from db import payouts
from db.engine import Database
from db.payouts import PayoutRow
from db.promises import TryAgain
from payments.bolt11 import Invoice
from payments.lnurl import BadDestination
from payments.public_http import Away, Refused
from pricing.money import Msat
from statemachine.payout import MOST_FAILURES, PayoutState
from statemachine.promises import FetchInvoice, pause_s

log = structlog.get_logger("boltwork.destinations")

AWAY_PATIENCE = timedelta(minutes=35)  # without an answer that count as one failure
FIRST_PAUSE_S = 5.0
PAUSED_S = 5.0
LONGEST_PAUSE_S = 300.0


class Courier:
    """Keeps the promise FetchInvoice. May do it twice: the law takes one invoice of two."""

    def __init__(
        self,
        db: Database,
        sending: Sending,
        destinations: Destinations,
        payees: Payees,
        clock: Clock,
    ) -> None:
        self._db, self._sending, self._destinations = db, sending, destinations
        self._payees, self._clock = payees, clock

    async def fetch(self, payout_id: str, failures: int, tries: int) -> None:
        """Ask the payout's destination for an invoice and send to it; TryAgain while it is away."""
        row = await payouts.get(self._db, payout_id)
        if row is None or row.state is not PayoutState.OWED or row.failures != failures:
            return
        if not await self._sending.pays_out():
            raise TryAgain("payouts are paused by the operator", PAUSED_S)
        refund_to: str | None = row.refund_to
        if refund_to is None:
            return
        answer = await self._ask(row, refund_to)
        if isinstance(answer, Away) and self._is_patient(row):
            log.info("destination_away", payout=payout_id, tries=tries + 1)
            raise TryAgain(answer.reason, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries, 10)))
        if isinstance(answer, Invoice):
            sent = await self._sending.send(row, answer, asked_of=refund_to)
            if not isinstance(sent, Unpayable):
                return
            if sent.sentence == PAUSED:  # at this moment: nothing is wrong with the destination
                raise TryAgain("payouts are paused by the operator", PAUSED_S)
            answer = Refused(f"The destination gave a wrong invoice. {sent.sentence}")
        log.info("destination_refused", payout=payout_id, failures=failures + 1)
        await self._sending.refuse(row, refund_to, _told(answer.reason, failures + 1))

    async def _ask(self, row: PayoutRow, refund_to: str) -> Invoice | Refused | Away:
        destination = self._destinations.parse(refund_to)
        if isinstance(destination, BadDestination):  # it was a good one under other settings
            return Refused(destination.sentence)
        bears = await self._sending.share_of(row)
        if not bears.sendable_msat:
            return Away("It is less than sending it may cost.")
        # Destinations are strangers, and a slow one must not hold up the refunds of everybody.
        with self._payees.one_more(urlsplit(destination.url).netloc):
            return await self._destinations.fetch_invoice(
                destination, Msat(bears.sendable_msat), refund_title(row.id)
            )

    def _is_patient(self, row: PayoutRow) -> bool:
        """Say whether a destination may stay away for longer. Not by tries: some asked nobody."""
        due_at = row.updated_at + timedelta(seconds=pause_s(FetchInvoice("", row.failures)))
        return bool(self._clock() - due_at < AWAY_PATIENCE)


def _told(reason: str, failures: int) -> str:
    """Return what the payee reads: why, and what happens next."""
    what = "Name another destination" if failures >= MOST_FAILURES else "It is tried again"
    return f"{reason} {what}."
