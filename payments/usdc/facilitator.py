"""A facilitator over HTTP, as x402 v2 speaks to one.

Its body is read whatever its status: some tell of a settlement that is under way with a 500. What
is no plain "yes" about our payer, our amount and our chain is Unknown. Nothing is asked twice by
itself.
"""

import re
from typing import Any, Final

import httpx2

from payments.rail import Unavailable
from payments.usdc.json_http import Answer, JsonHttp
from payments.usdc.network import Network
from payments.usdc.outcome import Declined, Settled, Unknown, Used, Valid
from payments.usdc.payment import SCHEME, VERSION, Payment

NONCE_USED: Final = "nonce_already_used"  # how the reason ends
PENDING: Final = "settlement_pending"
# What facilitators find before they send anything, by how their reasons end.
EARLY: Final = (
    "_signature",
    "_authorization_value_mismatch",
    "_recipient_mismatch",
    "_valid_before",
    "_valid_after",
    "_insufficient_balance",
    "insufficient_funds",
    "_undeployed_smart_wallet",
    "unsupported_scheme",
    "network_mismatch",
)
_TRANSACTION: Final = re.compile(r"0x[0-9a-fA-F]{64}")


class HttpFacilitator:
    """One facilitator at an address, with the header that it wants from us."""

    def __init__(
        self,
        url: str,
        network: Network,
        *,
        timeout_s: float,
        authorization: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.identity = url.rstrip("/")
        self._network = network
        self._secret = authorization
        self._http = JsonHttp(
            "the facilitator",
            url,
            timeout_s=timeout_s,
            header=("Authorization", authorization) if authorization else None,
            transport=transport,
        )

    async def verify(self, payment: Payment) -> Valid | Unknown:
        """See Facilitator."""
        answer = await self._http.ask("/verify", payment.asked())
        if isinstance(answer, str):
            return Unknown(answer)
        said = answer.body.get("isValid") if isinstance(answer.body, dict) else None
        if said is True and answer.status == 200:
            return Valid() if _is_of(answer, payment) else Unknown("it verified another payer")
        if said is False:
            return self._declined(answer, answer.text("invalidReason"))
        return Unknown(self._unread(answer))

    async def settle(self, payment: Payment) -> Settled | Unknown:
        """See Facilitator."""
        answer = await self._http.ask("/settle", payment.asked())
        if isinstance(answer, str):
            return Unknown(answer)
        said = answer.body.get("success") if isinstance(answer.body, dict) else None
        if said is True and answer.status == 200:
            return _settled(answer, payment)
        if said is False:
            return self._declined(answer, answer.text("errorReason"))
        return Unknown(self._unread(answer))

    async def healthy(self) -> Unavailable | None:
        """See Facilitator."""
        answer = await self._http.ask("/supported")
        if isinstance(answer, str):
            return Unavailable(answer)
        if answer.status in (401, 403):
            return Unavailable(
                "the facilitator does not accept the header FACILITATOR_AUTHORIZATION", 60
            )
        if answer.status != 200:
            return Unavailable(self._unread(answer), 60)
        if not _takes(answer.body, self._network):
            return Unavailable(f"the facilitator does not take USDC on {self._network.title}", 60)
        return None

    async def close(self) -> None:
        """See Facilitator."""
        await self._http.close()

    def _declined(self, answer: Answer, code: str) -> Unknown:
        code = self._without_secret(code)
        if code == PENDING:
            return Unknown("the facilitator says that the settlement is under way")
        reason = f"the facilitator declined: {code or 'it gave no reason'}"
        if code.endswith(NONCE_USED):
            return Used(reason, code)
        return Declined(reason, code, code.endswith(EARLY) and not answer.body.get("transaction"))

    def _unread(self, answer: Answer) -> str:
        said = self._without_secret(answer.text("error") or answer.text("message"))
        return f"the facilitator answered HTTP {answer.status}" + (f": {said}" if said else "")

    def _without_secret(self, said: str) -> str:
        for secret in (self._secret or "").split():
            said = said.replace(secret, "…") if len(secret) > 6 else said
        return said


def _is_of(answer: Answer, payment: Payment) -> bool:
    """Say whether an answer speaks of this payer, where it names one."""
    payer = answer.body.get("payer")
    if payer is None:
        return True
    return isinstance(payer, str) and payer.lower() == payment.authorization.payer.lower()


def _settled(answer: Answer, payment: Payment) -> Settled | Unknown:
    """Return what a "yes" proves: nothing, when it is about something else."""
    told: dict[str, Any] = answer.body
    transaction, network, amount = (told.get(n) for n in ("transaction", "network", "amount"))
    if not isinstance(transaction, str) or not _TRANSACTION.fullmatch(transaction):
        return Unknown("the facilitator names no transaction")
    if network != payment.network.caip2:
        return Unknown("the facilitator settled on another network")
    if not _is_of(answer, payment):
        return Unknown("the facilitator settled for another payer")
    wanted_microusdc = payment.authorization.amount_microusdc
    if amount not in (None, "", str(wanted_microusdc)):
        return Unknown("the facilitator settled another amount")
    return Settled(transaction.lower(), wanted_microusdc)


def _takes(told: Any, network: Network) -> bool:
    kinds = told.get("kinds") if isinstance(told, dict) else None
    return isinstance(kinds, list) and any(
        isinstance(kind, dict)
        and kind.get("x402Version") == VERSION
        and kind.get("scheme") == SCHEME
        and kind.get("network") in (network.caip2, "eip155:*")
        for kind in kinds
    )
