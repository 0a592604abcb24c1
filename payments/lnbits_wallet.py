"""One wallet of LNbits (its HTTP API as of 1.6.2, and the wallet's admin key).

Nothing it says is believed by its form alone: an invoice counts when its BOLT11 says what was
asked, and a payment when its preimage hashes to its name. Whatever else comes is Unknown.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from payments.bolt11 import BadInvoice, Invoice, decode
from payments.lnbits_http import (
    LARGEST_ANSWER_BYTES,
    LnbitsClient,
    LnbitsHttp,
    NoAnswer,
    Told,
    not_lnbits,
    read_payment,
    read_push,
)
from payments.rail import (
    Absent,
    Failed,
    GivenUp,
    Opened,
    Outcome,
    Pending,
    Settled,
    Unavailable,
    Unknown,
    Unsent,
)
from pricing.money import Msat, ceil_div, msat_to_sats

# LNbits lets its node spend max(2 sats, 1 %) on routing unless its operator says otherwise
# (LNBITS_RESERVE_FEE_MIN, in msat). A lower limit makes it refuse small payments.
LEAST_FEE_LIMIT_MSAT: Final = Msat(2_000)

PAYMENTS: Final = "/api/v1/payments"
WALLET: Final = "/api/v1/wallet"
MEMO_BYTES: Final = 639  # the most that a BOLT11 description holds
RESERVE_KEPT_S: Final = 600
RECONNECT_FIRST_S: Final = 0.5
RECONNECT_LONGEST_S: Final = 30.0

# What LNbits says before it writes a payment down or asks its node (core/services/payments.py).
# Each is raised before anything is sent; "Payment failed: …" is not among them, for a node that
# says failed right after sending may be wrong.
_SAID_BEFORE_SENDING: Final = (
    "Only incoming payments allowed.",
    "Bolt11 decoding failed.",
    "Amountless invoices not supported.",
    "Invoice amount ",
    "Could not fetch wallet ",
    "Wallet does not have permission to pay invoices.",
    "The time limit of ",
    "Daily withdrawal limit of ",
    "It is not allowed to spend funds from this server.",
    "Internal payment not found.",
    "Internal invoice already paid.",  # by another wallet, when ours has no such payment
    "Invalid invoice. Bolt11 changed.",
    "Insufficient balance.",
    "You must reserve at least ",
)

_SAID_WHEN_NOT_KNOWN: Final = "Payment does not exist."
_SAID_WHEN_DELETED: Final = "Wallet not found."

# At DEBUG the websockets library logs the path it asks for, and the path is the key.
_push_logger = logging.getLogger("payments.lnbits.push")
_push_logger.setLevel(logging.INFO)


class LnbitsWallet:
    """One LNbits wallet. It costs one call to make an invoice and one to pay; being paid is pushed.

    LNbits must not be reachable by the public: without any key it gives the preimage of a paid
    hash to whoever asks. Run one LNbits process for a wallet, and let us be the only ones who
    spend from it.
    """

    def __init__(
        self,
        client: LnbitsClient,
        api_key: str,
        *,
        clock: Callable[[], datetime],
        network: str,
    ) -> None:
        self.network = network
        self._clock = clock
        self._timeout_s = client.timeout_s
        self._push_url = f"ws{client.url.rstrip('/')[4:]}/api/v1/ws/{api_key.strip()}"
        self._http = LnbitsHttp(client, "X-Api-Key", api_key.strip())
        self.push_is_up = False
        # The key names the wallet, wherever LNbits is moved to; its hash opens nothing.
        self.identity = hashlib.sha256(f"lnbits {api_key.strip()}".encode()).hexdigest()[:16]
        self._paying: set[str] = set()
        self._perhaps_sent: set[str] = set()  # payment hashes that LNbits was asked to pay
        self._reserves: dict[int, tuple[int, float]] = {}  # amount → fee reserve, when asked

    async def create_invoice(
        self, key: str, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened | Unavailable:
        """Ask for an invoice, and check that the BOLT11 which comes back is the one asked for.

        The answer holds the preimage of the unpaid invoice: it is neither kept nor logged.
        """
        amount_sat = msat_to_sats(amount_msat)
        if amount_sat < 1:
            raise ValueError("an invoice asks for at least one sat")
        memo = memo.encode()[:MEMO_BYTES].decode(errors="ignore")
        asked = {"out": False, "amount": amount_sat, "memo": memo, "expiry": expiry_s}
        shown = shown_key(key)
        try:
            answer = await self._http.ask("POST", PAYMENTS, {**asked, "extra": {"key": shown}})
        except NoAnswer as lost:
            return Unavailable(str(lost))
        if answer.status != 201:
            return self._http.unavailable(answer)
        try:
            invoice = decode(answer.text("bolt11"))
        except BadInvoice as bad:
            return Unavailable(f"LNbits gave no valid invoice: {bad}")
        told = read_payment(answer.body, invoice.payment_hash)
        if (
            told is None
            or told.status != "pending"
            or told.amount_msat != amount_msat
            or invoice.amount_msat != amount_msat
            # It echoes what it was sent: an answer to another request is told by that.
            or told.key != shown
        ):
            return Unavailable("LNbits gave another invoice than was asked for")
        if invoice.network != self.network:
            return Unavailable(
                f"LNbits is on the network {invoice.network}, and we are set to {self.network}", 60
            )
        if invoice.expires_at <= self._clock():
            return Unavailable("LNbits gave an expired invoice: compare the clocks")
        return Opened(
            invoice.bolt11, invoice.payment_hash, amount_msat, invoice.expires_at, self.identity
        )

    async def look_up_invoice(self, payment_hash: str) -> Outcome:
        """Say whether somebody paid us. Never Failed.

        LNbits marks an invoice failed when it expires, and an open one of its built-in wallet when
        it restarts; its node may be paid all the same. That is Unknown, as is a hash it has not.
        A settled one may carry a fee: what receiving it cost us (some nodes charge for that).
        """
        told = await self._look_up(payment_hash)
        if isinstance(told, Unknown):
            return told
        if told.amount_msat <= 0:
            return Unknown("LNbits tells of a payment of ours with the same hash")
        if told.status == "failed":
            return GivenUp("LNbits gave the invoice up; it may still have been paid")
        if told.status == "pending":
            return Pending()
        return told.settled() or Unknown("LNbits says paid, and shows no preimage of this hash")

    async def pay(self, bolt11: str, fee_limit_msat: Msat) -> Outcome:
        """Pay an invoice, once, however often it is asked.

        LNbits (1.6.2) writes the payment down under its hash before it asks its node, and never
        sends for a hash it has written down: asked again, it says so, and asks its node what
        became of a failed one. So paying again is safe, and is how a payment that nobody can tell
        about is cleared up. Run it on a node that refuses a hash twice as well; all do.

        Failed is returned only when this process sent nothing for the hash and LNbits knows
        nothing of it, or could not be reached at all. It cannot speak for a request that another
        process sent a moment ago: resume that one with `look_up_payment`.

        An expired invoice is not sent: whoever asks that late may have stood still meanwhile.

        LNbits takes no fee limit with a payment; it gives its node its own reserve. So the reserve
        is asked for first (see `_reserve_msat`), and a payment with a higher one is not begun.
        """
        try:
            invoice = decode(bolt11)
        except BadInvoice as bad:
            return Failed(str(bad))
        if invoice.amount_msat is None or invoice.network != self.network:
            return Failed(f"nothing was sent: the invoice is not for an amount on {self.network}")
        if invoice.payment_hash in self._paying:
            return Unknown("another call is paying this invoice just now")
        self._paying.add(invoice.payment_hash)
        try:
            return await self._pay(invoice, invoice.amount_msat, fee_limit_msat)
        finally:
            self._paying.discard(invoice.payment_hash)

    async def look_up_payment(self, payment_hash: str) -> Outcome:
        """Say what became of a payment of ours. A hash LNbits does not know is Absent.

        Failed is what LNbits says, explicitly; of a payment sent a moment ago it can be wrong (a
        node has said so of one that then settled). The caller believes it once the invoice has
        expired, and not before.
        """
        told = await self._look_up(payment_hash)
        return told if isinstance(told, Unknown) else _outgoing(told)

    async def balance_msat(self) -> Msat | Unknown:
        """Return what the wallet holds, without payments under way and their fee reserves."""
        try:
            answer = await self._http.ask("GET", WALLET)
        except NoAnswer as lost:
            return Unknown(str(lost))
        if answer.status != 200:
            return Unknown(self._http.unavailable(answer).reason)
        balance_msat = answer.body.get("balance") if isinstance(answer.body, dict) else None
        if type(balance_msat) is not int or balance_msat < 0:
            return Unknown("LNbits gave no balance that can be read")
        return Msat(balance_msat)

    async def wallet_id(self) -> str | Unavailable:
        """Return the name that LNbits has for this wallet; "" when its key opens none any more."""
        try:
            answer = await self._http.ask("GET", WALLET)
        except NoAnswer as lost:
            return Unavailable(str(lost))
        if answer.status == 200 and answer.text("id"):
            return answer.text("id")
        gone = answer.status == 404 and answer.text("detail") == _SAID_WHEN_DELETED
        return "" if gone else self._http.unavailable(answer)

    async def pushes(self) -> AsyncGenerator[Settled | None, None]:
        """Yield payments as LNbits' websocket tells of them, within about 40 ms, and often twice.

        The message brings its own proof, so no call is spent on looking it up. Whoever knows the
        key could write to this channel, but not the preimage of an unpaid invoice.
        """
        loop, wait_s = asyncio.get_running_loop(), RECONNECT_FIRST_S
        while True:
            began_s = loop.time()
            try:
                async with connect(
                    self._push_url,
                    max_size=LARGEST_ANSWER_BYTES,
                    open_timeout=self._timeout_s,
                    proxy=None,
                    logger=_push_logger,
                ) as channel:
                    self.push_is_up = True
                    yield None
                    async for message in channel:
                        if (settled := read_push(message)) is not None:
                            yield settled
            except (OSError, WebSocketException) as gone:
                _push_logger.info("LNbits' push channel is gone: %s", type(gone).__name__)
            finally:
                self.push_is_up = False
            if loop.time() - began_s > RECONNECT_LONGEST_S:
                wait_s = RECONNECT_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RECONNECT_LONGEST_S)

    async def healthy(self) -> Unavailable | None:
        """Return None when LNbits answers and the key is the admin key of a wallet."""
        try:
            answer = await self._http.ask("GET", WALLET)
        except NoAnswer as lost:
            return Unavailable(str(lost))
        if answer.status != 200:
            return self._http.unavailable(answer)
        if not isinstance(answer.body, dict) or "balance" not in answer.body:
            return not_lnbits("something else than a wallet")
        if not answer.text("id"):  # told to the admin key only
            return Unavailable("LNBITS_API_KEY cannot pay: set the wallet's admin key", 60)
        return None

    # ------------------------------------------------------------------ within

    async def _pay(self, invoice: Invoice, amount_msat: Msat, limit_msat: Msat) -> Outcome:
        not_sent = Unknown if invoice.payment_hash in self._perhaps_sent else Unsent
        if invoice.expires_at <= self._clock():
            return await self._too_late(invoice.payment_hash)
        try:
            reserve_msat = await self._reserve_msat(invoice, amount_msat, limit_msat)
        except NoAnswer as lost:
            return not_sent(f"nothing was sent: no fee reserve was learnt: {lost}")
        if reserve_msat > limit_msat:
            return not_sent(
                f"nothing was sent: LNbits would let routing cost {reserve_msat} msat, and the"
                f" limit is {limit_msat}: see LNBITS_RESERVE_FEE_MIN of your LNbits"
            )
        self._perhaps_sent.add(invoice.payment_hash)
        outcome = await self._send(invoice, not_sent)
        if isinstance(outcome, Settled | Failed):
            self._perhaps_sent.discard(invoice.payment_hash)
        return outcome

    async def _too_late(self, payment_hash: str) -> Outcome:
        """Send nothing any more: LNbits would, and another invoice may have been paid by now."""
        told = await self._look_up(payment_hash)
        if told is _NOT_KNOWN and payment_hash not in self._perhaps_sent:
            return Failed("nothing was sent: the invoice has expired")
        outcome = told if isinstance(told, Unknown) else _outgoing(told)
        return Unknown(outcome.reason) if isinstance(outcome, Failed) else outcome

    async def _send(self, invoice: Invoice, not_sent: type[Unsent] | type[Unknown]) -> Outcome:
        try:
            answer = await self._http.ask("POST", PAYMENTS, {"out": True, "bolt11": invoice.bolt11})
        except NoAnswer as lost:
            return Unknown(str(lost)) if lost.sent else not_sent(f"nothing was sent: {lost}")
        if answer.status in {401, 403, 404, 429}:  # said before the invoice is even read
            return not_sent(f"nothing was sent: {self._http.unavailable(answer).reason}")
        if answer.status == 201:
            told = read_payment(answer.body, invoice.payment_hash)
            if told is None or told.amount_msat != -(invoice.amount_msat or 0):
                return Unknown("LNbits answered about something else")
            outcome = _outgoing(told)
        elif answer.status in {400, 520}:  # LNbits itself speaks: what does it have written down?
            looked_up = await self._look_up(invoice.payment_hash)
            if not isinstance(looked_up, Unknown):
                outcome = _outgoing(looked_up)
            elif looked_up is _NOT_KNOWN and answer.text("detail").startswith(_SAID_BEFORE_SENDING):
                return not_sent(f"nothing was sent: {self._http.unavailable(answer).reason}")
            else:
                return Unknown(self._http.unavailable(answer).reason)
        else:
            return Unknown(self._http.unavailable(answer).reason)
        # "Failed" right after sending is not proof: `look_up_payment` says it again, later.
        return Unknown(outcome.reason) if isinstance(outcome, Failed) else outcome

    async def _look_up(self, payment_hash: str) -> Told | Unknown:
        try:
            answer = await self._http.ask("GET", f"{PAYMENTS}/{payment_hash}")
        except NoAnswer as lost:
            return Unknown(str(lost))
        if answer.status == 404:
            # Whatever stands before LNbits says 404 too, when it does not find LNbits.
            says_so = answer.text("detail") == _SAID_WHEN_NOT_KNOWN
            return _NOT_KNOWN if says_so else Unknown(self._http.unavailable(answer).reason)
        if answer.status != 200:
            return Unknown(self._http.unavailable(answer).reason)
        if not isinstance(answer.body, dict) or "details" not in answer.body:
            # Without them it answered a stranger: about any wallet's payment of that hash.
            return Unknown("LNbits does not tell details: check LNBITS_API_KEY")
        told = read_payment(answer.body["details"], payment_hash)
        if told is None or answer.body.get("paid") is not (told.status == "success"):
            return Unknown("LNbits answered something that contradicts itself")
        return told

    async def _reserve_msat(self, invoice: Invoice, amount_msat: int, limit_msat: int) -> int:
        """Return the most LNbits would let this payment cost, at worst.

        It is max(a minimum, a share) plus a service fee, so it grows with the amount, and more
        slowly than it: one reserve once learnt bounds those of other amounts, and with the usual
        settings one call in ten minutes is enough for all payments.
        """
        now_s = asyncio.get_running_loop().time()
        bounds_msat = []
        for known_msat, (reserve_msat, asked_s) in list(self._reserves.items()):
            if now_s - asked_s > RESERVE_KEPT_S:
                del self._reserves[known_msat]
            elif known_msat >= amount_msat:
                bounds_msat.append(reserve_msat)
            else:
                bounds_msat.append(ceil_div(reserve_msat * amount_msat, known_msat))
        if bounds_msat and min(bounds_msat) <= limit_msat:
            return min(bounds_msat)
        answer = await self._http.ask(
            "GET", f"{PAYMENTS}/fee-reserve", params={"invoice": invoice.bolt11}
        )
        learnt = answer.body.get("fee_reserve") if isinstance(answer.body, dict) else None
        if answer.status != 200 or type(learnt) is not int or learnt < 0:
            raise NoAnswer(self._http.unavailable(answer).reason, sent=False)
        self._reserves[amount_msat] = (learnt, now_s)
        return learnt


_NOT_KNOWN: Final = Absent("LNbits knows no such payment")


def shown_key(key: str) -> str:
    """Return the name of an invoice as LNbits sees it: the same each time, and no id of ours.

    Whoever reads its wallet can't find a job or a session by that.
    """
    return hashlib.sha256(f"boltwork invoice {key}".encode()).hexdigest()[:32]


def _outgoing(told: Told) -> Outcome:
    if told.amount_msat > 0:
        return Unknown("LNbits tells of an invoice of ours with the same hash")
    if told.status == "failed":
        return Failed("LNbits says that the payment failed")
    if told.status == "pending":
        return Pending()
    return told.settled() or Unknown("LNbits says paid, and shows no preimage of this hash")
