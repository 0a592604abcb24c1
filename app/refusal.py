"""Why a request is not served: a reason of the house, a clear sentence, and what to do next.

No reason is a status or a code: each surface has a dialect, which says them in its own words.
"""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

LEAST_RETRY_S, LONGEST_RETRY_S = 5, 300  # when a buyer is asked to come back


class Why(Enum):
    """Every reason for which a request is not served."""

    BAD_INPUT = "what was sent can't be read as what it should be"
    TOO_SLOW = "the body did not arrive in time"
    TOO_LARGE = "the body is too large"
    UNKNOWN = "there is no such thing, or it belongs to another caller"
    NO_SUCH_ADDRESS = "there is nothing at this address"
    NO_SUCH_TIER = "there is no tier of this name"
    OVER_TIER = "the picture is larger than its tier allows"
    NO_SUCH_RANGE = "the file has no bytes there"
    DELETED = "it was kept for its time, and is deleted"
    NO_SUCH_METHOD = "this address does not answer this method"
    CREDENTIAL_NEEDED = "a credential is needed, and none was sent"
    CREDENTIAL_INVALID = "the credential isn't valid"
    CREDENTIAL_EXPIRED = "the credential has expired"
    PROOF_INVALID = "the proof of payment isn't valid"
    METHOD_UNSUPPORTED = "the payment was made by a method that is not offered"
    NOT_ALLOWED = "the credential does not allow this"
    FORM_NOT_OURS = "the form was sent from a page of another site, or is too old"
    PRICED = "this has a price, and is not paid for"
    BALANCE_TOO_LOW = "the session's balance is too low"
    BUDGET_TOO_LOW = "the macaroon's budget is too low"
    OVER_MACAROON_LIMIT = "it may cost more than the macaroon allows for one request"
    OVER_MAX_SATS = "it may cost more than the buyer's own limit"
    KEY_REUSED = "the Idempotency-Key was used for something else"
    NO_ANSWER_KEPT = "this was sent before, and has no answer to send again"
    PAID_ALREADY = "what the Idempotency-Key names is paid for"
    OFFER_EXPIRED = "the offer that the Idempotency-Key names has expired"
    NOT_CANCELLABLE = "the job is paid for, or has ended"
    NOT_FINISHED = "the job has not ended yet"
    NOT_PAID = "the session's deposit is not paid yet"
    PAUSED = "the session is paused"
    CLOSED = "the session is closed"
    CLOSED_FOR_TOP_UP = "a closed session takes no top-up"
    TOP_UP_PENDING = "the session waits for another top-up"
    NOT_READY = "it changed at the same moment"
    NOTHING_OWED = "no refund is owed"
    REFUND_IN_FLIGHT = "the refund is on its way"
    REFUND_PAID = "the refund was paid"
    REFUND_FAILED = "the refund could not be sent, and is still owed"
    PAYMENT_FAILED = "the payment failed"
    NOT_POSSIBLE_NOW = "its state does not allow this"
    FULL = "there is room for no more"
    TOO_MUCH_UNDER_WAY = "the payer has too much under way"
    DECLINED = "the model declines it"
    LEASE_UNKNOWN = "the worker has no lease of this name"
    LEASE_LOST = "the lease has ended, and its item is another's"
    BROUGHT_OTHERWISE = "the lease has brought other bytes before"
    JOB_OVER = "the item has ended without this"
    RESULT_REFUSED = "the result is not what was asked for"
    MEDIA_UNKNOWN = "no file of this type can be a result"
    WORKER_UNKNOWN = "no worker has this token"
    WORKER_PAUSED = "the worker is given nothing in the state that it is in"
    TOO_MANY = "too many requests"
    TOO_MANY_FAILURES = "too many of the payer's requests have failed today"
    FREE_SPENT = "what is given away in one day is used up"
    NOTHING_FREE = "nothing is given away here"
    NOT_SELLING = "the operator has stopped selling"
    BUSY = "there is no room for more just now"
    RESTARTING = "the server is being restarted"
    UNCONFIRMED = "the payment is not confirmed yet"
    NO_PRICE = "there is no bitcoin price"
    NO_AGENT = "no agent can be asked"
    NO_INVOICE = "the Lightning wallet makes no invoice"
    NOT_WELL = "a part of the server does not work"
    DATABASE_AWAY = "the database can't be reached"
    FAULT = "something broke on our side"


class Refusal(Exception):
    """A request that is not served, with the reason for its sender."""

    def __init__(
        self,
        why: Why,
        sentence: str,
        next_step: str | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(sentence)
        self.why, self.sentence, self.next_step = why, sentence, next_step
        self.headers, self.facts = dict(headers or {}), facts


class Spent(Refusal):
    """A failure that its request may have brought about: a model has answered, and was paid."""


def patience_s(lasted_s: float, least_s: int = LEAST_RETRY_S) -> int:
    """Return when to come back to what has been ill for so long: after as long again, or nearly.

    So a trouble that lasts is asked about ever less often.
    """
    return max(least_s, min(math.ceil(lasted_s), LONGEST_RETRY_S))


def unavailable(why: Why, sentence: str, retry_after_s: int) -> Refusal:
    """Return a refusal that says when to come back."""
    return Refusal(
        why,
        sentence,
        f"Send the same request again in {retry_after_s} seconds.",
        {"Retry-After": str(retry_after_s)},
    )
