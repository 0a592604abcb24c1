"""Money that goes by itself where its owner said: ask the destination for an invoice, and send.

What the destination answers for good is counted, and after three failures another destination is
asked for; what may pass is tried again, with growing pauses. Until it is sent it stays owed.
"""

import structlog

from app.parts import Parts
from app.sending import Unpayable, refund_title, refuse, send, share_of
from db import payouts
from db.engine import Row
from db.promises import TryAgain
from payments.bolt11 import Invoice
from payments.lnurl import BadDestination
from payments.public_http import Away, Refused
from pricing.money import Msat
from statemachine.payout import MOST_FAILURES, PayoutState

log = structlog.get_logger("boltwork.destinations")

MOST_AWAY = 12  # tries without an answer that count as one failure: more than half an hour
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
BUSY_PAUSE_S = 2.0


class Courier:
    """Keeps the promise FetchInvoice. May do it twice: the law takes one invoice of two."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asking = 0
        # Destinations are strangers, and slow ones must not hold up the work of everybody.
        self._most_at_once = max(1, parts.settings.worker_concurrency // 4)

    async def fetch(self, payout_id: str, failures: int, tries: int) -> None:
        """Ask the payout's destination for an invoice and send to it; TryAgain while it is away."""
        row = await payouts.get(self._parts.db, payout_id)
        if row is None or row["state"] != PayoutState.OWED or row["failures"] != failures:
            return
        refund_to: str | None = row["refund_to"]
        if refund_to is None:
            return
        if self._asking >= self._most_at_once:
            raise TryAgain("other destinations are being asked", BUSY_PAUSE_S)
        self._asking += 1
        try:
            answer = await self._ask(row, refund_to)
        finally:
            self._asking -= 1
        if isinstance(answer, Away) and tries + 1 < MOST_AWAY:
            log.info("destination_away", payout=payout_id, tries=tries + 1)
            raise TryAgain(answer.reason, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries, 10)))
        if isinstance(answer, Invoice):
            sent = await send(self._parts, row, answer, asked_of=refund_to)
            if not isinstance(sent, Unpayable):
                return
            answer = Refused(f"The destination gave a wrong invoice. {sent.sentence}")
        log.info("destination_refused", payout=payout_id, failures=failures + 1)
        await refuse(self._parts, row, refund_to, _told(answer.reason, failures + 1))

    async def _ask(self, row: Row, refund_to: str) -> Invoice | Refused | Away:
        destination = self._parts.destinations.parse(refund_to)
        if isinstance(destination, BadDestination):  # it was a good one under other settings
            return Refused(destination.sentence)
        bears = await share_of(self._parts, row)
        if not bears.sendable_msat:
            return Away("It is less than sending it may cost.")
        return await self._parts.destinations.fetch_invoice(
            destination, Msat(bears.sendable_msat), refund_title(row["id"])
        )


def _told(reason: str, failures: int) -> str:
    """Return what the payee reads: why, and what happens next."""
    what = "Name another destination" if failures >= MOST_FAILURES else "It is tried again"
    return f"{reason} {what}."
